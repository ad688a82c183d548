#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# limits.py - what comes in too fast, too slowly or wrongly: rates of sources
# and limits of connections by a reload, faults of HTTP in status and metrics,
# and a flood of invalid events while the supervisor does not read, which must
# cost memory of a known size and lose nothing that was answered with 200.

import http.client
import json
import os
import re
import signal
import socket
import base64

from harness import (WRITE_KEY, arguments, check, children, role, run, say,
                     until)

FLOOD, EACH = 200, 12 # batches, and events of each, some 40 KB: 96 MB
HELD = 40 << 20       # of that ingest may hold 8 MiB, and the room for more


def post(host, body, path='/v1/track'):
    """(status, Retry-After, JSON)"""
    c = http.client.HTTPConnection(host.addresses['ingest'][0], timeout=30)
    auth = base64.b64encode((WRITE_KEY + ':').encode()).decode()
    try:
        c.request('POST', path, json.dumps(body),
                  {'Authorization': 'Basic ' + auth})
        r = c.getresponse()
        return r.status, r.getheader('Retry-After'), json.loads(r.read())
    finally:
        c.close()


def track(n):
    return {'type': 'track', 'event': 'Paid', 'userId': 'u1',
            'messageId': 'm-%s' % n}


def metric(host, name):
    """Its rows: {labels: value}."""
    text = host.admin('GET', '/metrics')[1]
    return {m.group(1): float(m.group(2)) for m in re.finditer(
        r'^manifold_%s(?:\{(.*)\})? (\S+)$' % name, text, re.M)}


def set_source(box, host, config, **more):
    config['sources']['web'] = dict(
        {k: v for k, v in config['sources']['web'].items()
         if k not in ('rate', 'burst')}, **more)
    box.write_config(config)
    host.hangup()


# ---- rates ------------------------------------------------------------------

def rates(box, host, config):
    """Rates of one an hour, so that how long it takes does not matter."""
    set_source(box, host, config, rate='1/h', burst=5)
    got = [post(host, track('r%d' % n)) for n in range(8)]
    check([s for s, _, _ in got] == [200] * 5 + [429] * 3,
          'answers: %s' % [s for s, _, _ in got])
    for _, after, answer in got[5:]:
        check(answer['code'] == 'rate_limited' and 3500 <= int(after) <= 3600,
              '%s, Retry-After: %s' % (answer, after))
    set_source(box, host, config, rate='2/h', burst=5)
    status, after, _ = post(host, track('r5'))
    check(status == 429 and 1700 <= int(after) <= 1800,
          'a reload gave something: %s, %s' % (status, after))
    batch = {'batch': [track('b%d' % n) for n in range(20)]}
    status, after, _ = post(host, batch, '/v1/batch')
    check(status == 429 and 8900 <= int(after) <= 9000,
          'a batch of more than the burst: %s, %s' % (status, after))
    want = {'source="web",code="rate_limited"': 3 + 1 + 20}
    until(lambda: metric(host, 'events_rejected_total') == want, 5,
          lambda: 'counted: %s' % metric(host, 'events_rejected_total'))
    check(metric(host, 'ingest_overloads_total')[None] == 5, 'overloads')
    set_source(box, host, config, rate='1000/s')
    until(lambda: post(host, batch, '/v1/batch')[0] == 200, 5,
          'a batch goes when there is room')
    set_source(box, host, config)
    for n in range(8):
        check(post(host, track('r%d' % n))[0] == 200, 'no limit any more')
    for line in host.log:
        if 'sends more than its rate allows' in line:
            check('source web' in line, line)
            break
    else:
        check(False, 'the log says nothing of it')
    say('a rate holds over reloads, and what is over it is counted')


# ---- connections ------------------------------------------------------------

def connect(host):
    address, port = host.addresses['ingest'][0].rsplit(':', 1)
    s = socket.create_connection((address, int(port)))
    s.settimeout(20)
    return s


def answer(s):
    data = b''
    while True:
        try:
            more = s.recv(4096)
        except ConnectionResetError:
            more = b''
        if not more:
            return data
        data += more


def connections(box, host, config):
    config['ingest'].update(header_timeout='1s', idle_timeout='1s',
                            max_connections_per_peer=4)
    box.write_config(config)
    host.hangup()
    slow, idle = connect(host), connect(host)
    slow.send(b'POST /v1/track HTTP/1.1\r\nHo')
    bad = connect(host)
    bad.send(b'POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n'
             b'Content-Length: 3\r\n\r\n{}')
    check(b' 400 ' in answer(bad), 'two lengths')
    check(b' 408 ' in answer(slow), 'slow headers')
    check(answer(idle) == b'', 'an idle connection is told something')
    for s in (slow, idle, bad):
        s.close() # else the server waits for what may still come
    many = [connect(host) for _ in range(8)]
    told = [answer(s) for s in many]
    for s in many:
        s.close()
    check([b' 503 ' in t and b'Retry-After' in t for t in told] ==
          [False] * 4 + [True] * 4, 'answers: %s' % told)
    until(lambda: metric(host, 'http_connections') ==
          {'state="idle"': 0, 'state="busy"': 0}, 10,
          lambda: 'open: %s' % metric(host, 'http_connections'))
    faults = {k: v for k, v in metric(host, 'http_faults_total').items() if v}
    check(faults == {'kind="slow_headers"': 1,
                     'kind="invalid_content_length"': 1}, faults)
    check(metric(host, 'http_connections_refused_total') ==
          {'reason="full"': 0, 'reason="peer"': 4}, 'refused')
    check(metric(host, 'http_connections_closed_total')['reason="idle"'] == 5,
          'closed: %s' % metric(host, 'http_connections_closed_total'))
    check(metric(host, 'http_buffer_bytes')[None] == 0, 'buffers are held')
    config['ingest'] = {'listen': ['127.0.0.1:0']}
    box.write_config(config)
    host.hangup()
    say('limits of connections by a reload; each fault is counted')


# ---- a flood ----------------------------------------------------------------

def rss(pid):
    with open('/proc/%d/statm' % pid) as f:
        return int(f.read().split()[1]) * 4096


def flood(host):
    pid = [p for p in children(host.pid) if 'ingest' in role(p)][0]
    before = rss(pid)
    c = http.client.HTTPConnection(host.addresses['ingest'][0], timeout=30)
    auth = base64.b64encode((WRITE_KEY + ':').encode()).decode()
    answers = {200: 0, 429: 0}
    host.signal(signal.SIGSTOP)
    try:
        for n in range(FLOOD):
            batch = [dict(track('f%d-%d' % (n, i)), pad='x' * 40000)
                     for i in range(EACH)]
            c.request('POST', '/v1/batch', json.dumps({'batch': batch}),
                      {'Authorization': 'Basic ' + auth})
            r = c.getresponse()
            text = r.read()
            check(r.status in answers, text)
            check(r.status == 200 or r.getheader('Retry-After') == '1', text)
            answers[r.status] += 1
        after = rss(pid)
        check(post(host, {'batch': [track('good')]}, '/v1/batch')[0] == 200,
              'a good batch was refused')
    finally:
        host.signal(signal.SIGCONT)
    check(answers[200] and answers[429], 'answers: %s' % answers)
    check(after - before < HELD, 'ingest holds %.1f MiB' %
          ((after - before) / 2**20))
    until(lambda: host.get('/v1/sources/web/dead?brief=true')['letters'] ==
          EACH * answers[200], 20, lambda: '%d letters, %s' % (host.get(
              '/v1/sources/web/dead?brief=true')['letters'], answers))
    # When its allowance of letters has come back: that is by the second.
    until(lambda: post(host, {'batch': [dict(track('f'), pad='x' * 40000)]},
                       '/v1/batch')[0] == 200, 20, 'it goes on')
    say('a flood of invalid events: %s; ingest held %.1f MiB' %
        (answers, (after - before) / 2**20))


def test(box):
    # What a sanitizer keeps of freed memory is not held by anybody.
    plain = box.environment
    box.environment = lambda: dict(plain(), ASAN_OPTIONS=os.environ.get(
        'ASAN_OPTIONS', '') + ':quarantine_size_mb=1')
    config = box.config({'out': box.file('out')})
    box.install('file')
    box.write_config(config)
    host = box.host()
    host.start()
    rates(box, host, config)
    connections(box, host, config)
    # Its port changed with the reloads.
    with open(os.path.join(box.data, 'run', 'addresses.json')) as f:
        host.addresses = json.load(f)
    flood(host)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


if __name__ == '__main__':
    run(test, arguments())
