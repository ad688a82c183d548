# SPDX-License-Identifier: Apache-2.0
#
# cases_pixel.py - rows of cases_test.py: events in the address of an image, and
# the paths that are RudderStack's alone.

import base64
import json
import urllib.parse

from cases import check_refusal
from kit import TYPES, WRITE_KEY, Wire, check, request

ORIGIN = 'https://shop.example.com'
WRONG = 'nobody'


def shown(c, path, method='GET', headers=None):
    """The image is the answer, whatever became of the event."""
    answer = c.exchange(request(path, b'', {'Content-Type': None,
                                            **(headers or {})}, method, None),
                        method == 'HEAD')
    check(answer.status == 200 and
          answer.header('Content-Type') == 'image/gif' and
          answer.header('Cache-Control') == 'no-store',
          '%.80s: %s' % (path, answer.head))
    check(method == 'HEAD' or answer.body.startswith(b'GIF89a\1\0\1\0') and
          answer.body.endswith(b';'), 'no image: %r' % answer.body)
    return answer


def coded(e, how=base64.urlsafe_b64encode):
    return how(json.dumps(e).encode()).decode()


def bare(c, kind, **more):
    """As an image's address has it: the path says the type."""
    e = c.event(groupId='g', previousId='p', **more)
    del e['type']
    return e


def pixel_of_data(c):
    for kind in TYPES:
        for path in ('/v1/pixel/%s', '/v1/pixel/%s/', '/pixel/v1/%s'):
            e = bare(c, kind, writeKey=WRITE_KEY, traits={'é': [1, None]})
            shown(c, path % kind + '?data=' + coded(e))
            c.accept(e, kind=kind)
    # Both alphabets, with and without padding, escaped or not.
    for how in (base64.urlsafe_b64encode, base64.b64encode):
        for finish in (str, lambda t: t.rstrip('='), urllib.parse.quote_plus):
            e = c.event(writeKey=WRITE_KEY,
                        properties={'t': '~~~???' * 3, 'é': '\u00ff\u00fe'})
            shown(c, '/v1/pixel/track?data=' + finish(coded(e, how)))
            c.accept(e)
    e = c.event()
    shown(c, '/v1/pixel/track?writeKey=%s&data=%s' % (WRITE_KEY, coded(e)))
    c.accept(e)
    e = c.event(writeKey=WRITE_KEY) # the path says nothing, the event does
    shown(c, '/v1/pixel/t?data=' + coded(e))
    c.accept(e)
    e = c.event()
    shown(c, '/v1/pixel/track?data=' + coded(e), headers={
        'Origin': ORIGIN, 'Authorization': 'Basic ' + base64.b64encode(
            WRITE_KEY.encode()).decode()})
    c.accept(e)


def pixel_of_parameters(c):
    for kind in TYPES:
        e = bare(c, kind)
        flat = dict(e, **{
            'writeKey': WRITE_KEY, 'properties.subject': 'The Daily & more',
            'properties.a.b': 'é+ü', 'properties.a.c': '', 'context.ip': '::1'})
        shown(c, '/v1/pixel/%s?%s' % (kind, urllib.parse.urlencode(flat)))
        c.accept(dict(e, properties={'subject': 'The Daily & more',
                                     'a': {'b': 'é+ü', 'c': ''}},
                      context={'ip': '::1'}), kind=kind)


def pixel_twice(c):
    """A newsletter that is opened again: told by its messageId."""
    e = c.event(writeKey=WRITE_KEY)
    for _ in range(3):
        shown(c, '/v1/pixel/track?data=' + coded(e))
    c.accept(e)


def pixel_refused(c):
    e = c.event(writeKey=WRITE_KEY)
    for path in (
            '', '?', '?data=', '?data=!', '?data=%', '?data=e30', '?data=W10',
            '?data=' + coded({**e, 'writeKey': WRONG}),
            '?data=' + coded({**e, 'event': ''}),
            '?data=' + coded({**e, 'userId': None}),
            '?data=' + coded(e)[:-20], '?data=' + coded('x'),
            '?userId=u&event=E', '?userId=u&event=E&writeKey=' + WRONG,
            '?userId=u&event=E&a=%zz&writeKey=' + WRITE_KEY,
            '?event=E&writeKey=' + WRITE_KEY):
        shown(c, '/v1/pixel/track' + path)
    shown(c, '/v1/pixel/nothing?data=' + coded(bare(c, 'track',
                                                    writeKey=WRITE_KEY)))
    shown(c, '/v1/pixel/track?data=' + coded(e), 'HEAD')
    for method in ('POST', 'PUT', 'DELETE'):
        answer = c.exchange(request('/v1/pixel/track?data=' + coded(e), b'{}',
                                    method=method))
        check_refusal(answer, 'method_not_allowed', 405)
        check(answer.header('Allow') == 'GET, HEAD, OPTIONS', answer.head)
    check_refusal(c.exchange(request('/v1/pixel', b'', method='GET')),
                  'not_found', 404)


def beacon(c):
    """RudderStack's on leaving a page: the key is in the query alone."""
    key = urllib.parse.quote(WRITE_KEY)
    body = {'batch': [c.event(), c.event()],
            'sentAt': '2026-01-01T00:00:00.000Z'}
    c.taken(request('/beacon/v1/batch?writeKey=' + key, body,
                    {'Content-Type': 'text/plain', 'Origin': ORIGIN},
                    key=None))
    c.accept(*body['batch'], envelope=body)
    for query in ('', '?', '?writeKey=', '?writeKey=' + WRONG, '?write=' + key):
        c.refused(request('/beacon/v1/batch' + query,
                          {'batch': [c.event()]}, key=None),
                  'invalid_write_key')
    # Elsewhere a query says nothing: it would be in every log of a proxy.
    c.refused(request('/v1/batch?writeKey=' + key, {'batch': [c.event()]},
                      key=None), 'invalid_write_key')
    c.refused(request('/v1/track?writeKey=' + key, c.event(), key=None),
              'invalid_write_key')


def source_config(c):
    for path, key in (('/sourceConfig/?p=npm&writeKey=' + WRITE_KEY, None),
                      ('/sourceConfig?writeKey=' + WRITE_KEY, WRONG),
                      ('/sourceConfig', WRITE_KEY)):
        a = c.exchange(request(path, b'', {'Origin': ORIGIN}, 'GET', key))
        check(a.status == 200 and
              a.header('Access-Control-Allow-Origin') == ORIGIN,
              '%s: %s' % (path, a))
        told = a.json()['source']
        check(told['writeKey'] == WRITE_KEY and told['enabled'] is True and
              told['destinations'] == [] and isinstance(told['config'], dict)
              and told['id'], 'source: %s' % told)
    for path in ('/sourceConfig', '/sourceConfig/?writeKey=' + WRONG):
        check_refusal(c.exchange(request(path, b'', None, 'GET', None)),
                      'invalid_write_key', 404)


def slashes(c):
    """Of a host that was configured with a slash at its end."""
    for path in ('//v1/track', '///v1/track/'):
        c.post(c.event(), path)
    c.batch([c.event()], '//v1/batch')
    with Wire(c.host) as wire:
        wire.write(request('//v1/projects/%s/settings' % WRITE_KEY, b'', None,
                           'GET', None))
        check(wire.read().status == 200, 'settings')


ROWS = [pixel_of_data, pixel_of_parameters, pixel_twice, pixel_refused,
        beacon, source_config, slashes]
