# SPDX-License-Identifier: Apache-2.0
#
# cases_http.py - rows of cases_test.py: content types and encodings, how the
# bytes come, what is no request, other methods, and what browsers ask for.

import gzip
import json
import time

from cases import batch_text, check_refusal, sized
from kit import WRITE_KEY, Wire, check, chunks, request

STALLED = 60
STALLED_SECONDS = 2
ORIGIN = 'https://shop.example.com'


# ---- content types and encodings --------------------------------------------

CONTENT_TYPES = [
    None, 'application/json', 'application/json; charset=utf-8',
    'application/json;charset=UTF-8', 'text/plain', 'text/plain;charset=UTF-8',
    'application/x-www-form-urlencoded', 'application/xml', 'text/html',
    'application/octet-stream', 'multipart/form-data; boundary=x', 'nonsense',
]


def content_types(c):
    for t in CONTENT_TYPES:
        c.post(c.event(), headers={'Content-Type': t})
        c.batch([c.event()], headers={'Content-Type': t})
        packed(c, {'Content-Type': t, 'Content-Encoding': 'gzip'})


def packed(c, headers, path='/v1/track'):
    e = c.event()
    c.taken(request(path, gzip.compress(json.dumps(e).encode()), headers))
    c.accept(e)


def gzipped(c):
    for name in ('gzip', 'GZIP', 'Gzip', 'x-gzip'):
        packed(c, {'Content-Encoding': name})
    c.post(c.event(), headers={'Content-Encoding': 'identity'})
    e = c.event()
    text = json.dumps(e).encode()
    c.taken(request('/v1/track', chunks(gzip.compress(text), 7), {
        'Transfer-Encoding': 'chunked', 'Content-Encoding': 'gzip'}))
    c.accept(e)


def bad_gzip(c):
    text = json.dumps(c.event()).encode()
    good = gzip.compress(text)
    bad = [b'', good[:-1], good[:10], good[:len(good) // 2], good[1:], text,
           good[:-8] + b'\0\0\0\0' + good[-4:], good + b'rest',
           good[:20] + b'\xff\xff' + good[22:], gzip.compress(good)]
    for body in bad:
        c.refused(request('/v1/track', body, {'Content-Encoding': 'gzip'}))
    c.refused(request('/v1/track', good, {}))
    for name in ('br', 'zstd', 'compress', 'nonsense', 'gzip, br'):
        c.refused(request('/v1/track', good, {'Content-Encoding': name}))


# ---- the wire ---------------------------------------------------------------

def chunked(c):
    for size in (1, 10, 100000):
        e = c.event()
        c.taken(request('/v1/track', chunks(json.dumps(e).encode(), size),
                        {'Transfer-Encoding': 'chunked'}))
        c.accept(e)
    e = c.event()
    text = json.dumps(e).encode()
    c.taken(request('/v1/track', b'%X;name=value\r\n%s\r\n000\r\nA: b\r\n\r\n'
                    % (len(text), text), {'Transfer-Encoding': 'Chunked'}))
    c.accept(e)


def pipelined(c):
    events = [c.event() for _ in range(5)]
    with Wire(c.host) as wire:
        wire.write(b''.join(request('/v1/track', e) for e in events))
        for e in events:
            answer = wire.read()
            check(answer and answer.status == 200, 'pipelined: %s' % answer)
            c.accept(e)


def pipelined_with_refusals(c):
    good = [c.event(), c.event()]
    with Wire(c.host) as wire:
        wire.write(request('/v1/track', good[0]) +
                   request('/v1/track', '{') +
                   request('/v1/nothing', '{}') +
                   request('/v1/track', c.event(), key='nobody') +
                   request('/v1/track', good[1]))
        got = [wire.read() for _ in range(5)]
    check([a and a.status for a in got] == [200, 400, 404, 400, 200],
          'pipelined: %s' % [str(a) for a in got])
    c.accept(*good)


def kept_alive(c):
    with Wire(c.host) as wire:
        for _ in range(50):
            e = c.event()
            wire.write(request('/v1/track', e))
            answer = wire.read()
            check(answer and answer.status == 200, 'kept: %s' % answer)
            c.accept(e)


def small_writes(c):
    e = c.event()
    data = request('/v1/track', e)
    with Wire(c.host) as wire:
        for i in range(0, len(data), 3):
            wire.write(data[i:i + 3])
        check(wire.read().status == 200, 'in three bytes')
    c.accept(e)


def slow_body(c):
    e = c.event()
    data = request('/v1/track', e)
    with Wire(c.host) as wire:
        for i in range(0, len(data), 40):
            wire.write(data[i:i + 40])
            time.sleep(0.1) # being slow is what is tested
        check(wire.read().status == 200, 'a slow body')
    c.accept(e)


def closes(c):
    for version, headers, ends in (
            ('1.0', {}, True), ('1.0', {'Host': None}, True),
            ('1.0', {'Connection': 'keep-alive'}, False),
            ('1.1', {'Connection': 'close'}, True),
            ('1.1', {'Connection': 'Close'}, True),
            ('1.1', {}, False)):
        e = c.event()
        with Wire(c.host) as wire:
            wire.write(request('/v1/track', e, headers, version=version))
            check(wire.read().status == 200, 'HTTP/' + version)
            c.accept(e)
            if ends:
                check(wire.read() is None, '%s stays open' % headers)
                continue
            e = c.event()
            wire.write(request('/v1/track', e, headers, version=version))
            check(wire.read().status == 200, '%s is closed' % headers)
            c.accept(e)


def expects(c):
    e = c.event()
    data = request('/v1/track', e, {'Expect': '100-continue'})
    head, body = data.split(b'\r\n\r\n', 1)
    with Wire(c.host) as wire:
        wire.write(head + b'\r\n\r\n')
        check(wire.read().status == 100, 'no 100 Continue')
        wire.write(body)
        check(wire.read().status == 200, 'after 100 Continue')
    c.accept(e)


def stalled_uploads(c):
    """Others do not wait for those who send no more."""
    wires = [Wire(c.host) for _ in range(STALLED)]
    half = request('/v1/batch', batch_text([sized(c.event(), 30000)]))[:20000]
    for wire in wires:
        wire.write(half)
    began = time.monotonic()
    c.post(c.event())
    took = time.monotonic() - began
    for wire in wires:
        wire.socket.close()
    check(took < STALLED_SECONDS, 'the next request took %.1f s' % took)


def smuggling(c):
    """Refused or closed; what is inside is never taken for a request."""
    inner = request('/v1/track', c.event())
    e = json.dumps(c.event())
    n = len(e)
    for headers, body in (
            ({'Content-Length': n, 'Transfer-Encoding': 'chunked'},
             e.encode()),
            ({'Content-Length': 4, 'Transfer-Encoding': 'chunked'},
             b'0\r\n\r\n' + inner),
            ({'Content-Length': '%d\r\nContent-Length: %d' % (n, n + 1)}, e),
            ({'Content-Length': '%d, %d' % (n, n + 1)}, e),
            ({'Content-Length': '-1'}, e), ({'Content-Length': '+%d' % n}, e),
            ({'Content-Length': 'x'}, e), ({'Content-Length': ''}, e),
            ({'Content-Length': '1' * 40}, e),
            ({'Transfer-Encoding': 'chunked, identity'}, e),
            ({'Transfer-Encoding': 'xchunked'}, e),
            ({'Transfer-Encoding': 'chunked'}, b'x\r\n\r\n' + inner),
            ({'Transfer-Encoding': 'chunked'}, b'-1\r\n' + inner),
            ({'Transfer-Encoding': 'chunked'}, b'5\r\nabcdefgh\r\n0\r\n\r\n'),
            ({'Transfer-Encoding': 'chunked'}, b'f' * 20 + b'\r\n' + inner),
            ({'Content-Length ': n}, e), ({'Host': None}, e),
            ({'A': 'x' * 20000}, e), ({'A\0': 'x'}, e)):
        with Wire(c.host) as wire:
            wire.write(request('/v1/track', body, headers))
            answer = wire.read()
            check(answer is None or 400 <= answer.status < 500,
                  '%.60s: %s' % (headers, answer))
            check(answer is None or wire.read() is None,
                  '%.60s: the connection stays' % headers)


def not_http(c):
    for data in (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'x' * 200,
                 b'hello\r\n\r\n', b'POST\r\n\r\n', b'\0' * 100 + b'\r\n\r\n',
                 b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
                 b'POST /v1/track HTTP/9.9\r\nHost: x\r\n\r\n',
                 b'POST /v1/track\r\n\r\n', b'{"type":"track"}\r\n\r\n'):
        with Wire(c.host) as wire:
            wire.write(data)
            answer = wire.read()
            check(answer is None or 400 <= answer.status < 600,
                  '%r: %s' % (data[:30], answer))


# ---- methods and browsers ---------------------------------------------------

def other_methods(c):
    for path in ('/v1/track', '/v1/batch', '/v1/m'):
        for method in ('HEAD', 'GET', 'PUT', 'DELETE', 'PATCH'):
            with Wire(c.host) as wire:
                wire.write(request(path, c.event(), method=method))
                answer = wire.read(method == 'HEAD')
                check(answer and answer.status == 405 and
                      answer.header('Allow') == 'POST, OPTIONS',
                      '%s %s: %s' % (method, path, answer))
                e = c.event()
                wire.write(request('/v1/track', e))
                after = wire.read()
                check(after and after.status == 200,
                      'after %s: %s' % (method, after))
                c.accept(e)


def listed(answer, header):
    return {n.strip().lower() for n in (answer.header(header) or '').split(',')}


def preflight(c):
    for asked in ('authorization', 'authorization,content-type',
                  'authorization,x-retry-count', 'anonymousid,authorization',
                  'authorization,content-type,sentat', None):
        for path in ('/v1/track', '/v1/t', '/v1/b', '/v1/batch', '/v1/m',
                     '/v1/projects/%s/settings' % WRITE_KEY):
            headers = {'Origin': ORIGIN, 'Content-Type': None,
                       'Access-Control-Request-Method': 'POST',
                       'Access-Control-Request-Headers': asked}
            answer = c.exchange(request(path, b'', headers, 'OPTIONS', None))
            check(answer.status in (200, 204) and
                  answer.header('Access-Control-Allow-Origin') == ORIGIN and
                  answer.header('Access-Control-Allow-Credentials') ==
                  'true' and answer.header('Access-Control-Max-Age') and
                  'post' in listed(answer, 'Access-Control-Allow-Methods'),
                  '%s: %s' % (path, answer.head))
            names = listed(answer, 'Access-Control-Allow-Headers')
            wanted = set((asked or 'authorization,content-type').split(','))
            check(wanted <= names, 'asked %s, told %s' % (asked, names))


def browsers(c):
    """A refusal that a page may not read is a network error, and is sent
    again; so is one whose Retry-After it may not read."""
    origin = {'Origin': ORIGIN}
    answers = [c.post(c.event(), headers=origin),
               c.refused(request('/v1/track', '{', origin)),
               c.refused(request('/v1/track', c.event(), origin, key='no')),
               c.refused(request('/v1/track', sized(c.event(), 2 << 20),
                                 origin)),
               c.exchange(request('/v1/nothing', '{}', origin)),
               c.exchange(request('/v1/track', '', origin, 'GET'))]
    for a in answers:
        check(a.header('Access-Control-Allow-Origin') == ORIGIN and
              a.header('Access-Control-Allow-Credentials') == 'true' and
              'retry-after' in listed(a, 'Access-Control-Expose-Headers') and
              'origin' in listed(a, 'Vary'), '%s: %s' % (a, a.head))
    a = c.post(c.event())
    check(a.header('Location') is None, 'a redirect')


def settings(c):
    path = '/v1/projects/%s/settings'
    answer = c.exchange(request(path % WRITE_KEY, b'', {'Origin': ORIGIN},
                                'GET', None))
    check(answer.status == 200 and
          answer.header('Access-Control-Allow-Origin') == ORIGIN,
          'settings: %s' % answer)
    told = answer.json()
    check(list(told['integrations']) == ['Segment.io'] and
          told['integrations']['Segment.io'] ==
          {'apiKey': WRITE_KEY, 'apiHost': 'test/v1', 'protocol': 'http'} and
          told['metrics']['sampleRate'] == 0 and
          told['plan']['track']['__default']['enabled'] is True,
          'settings: %s' % told)
    answer = c.exchange(request(path % WRITE_KEY, b'',
                                {'X-Forwarded-Proto': 'https'}, 'GET', None))
    check(answer.json()['integrations']['Segment.io']['protocol'] == 'https',
          'behind TLS: %s' % answer)
    for key in ('nobody', '', '%22', 'a/b'):
        check_refusal(c.exchange(request(path % key, b'', None, 'GET', None)),
                      None, 404)


ROWS = [
    content_types, gzipped, bad_gzip,
    chunked, pipelined, pipelined_with_refusals, kept_alive, small_writes,
    slow_body, closes, expects, stalled_uploads, smuggling, not_http,
    other_methods, preflight, browsers, settings,
]
