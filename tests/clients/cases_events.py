# SPDX-License-Identifier: Apache-2.0
#
# cases_events.py - rows of cases_test.py: paths and write keys, bodies that are
# not JSON, limits, events that are not valid, and what a valid one may hold.

import gzip
import json
import time

from cases import (BATCH_BYTES, BATCH_EVENTS, EVENT_BYTES, OTHER_KEY,
                   batch_text, check_refusal, filled_batch, sized, some_bad)
from kit import LETTERS, TYPES, WRITE_KEY, basic, check, chunks, request

BOMB_BYTES = 100 << 20
CONSENT = 'Segment Consent Preference Updated'


# ---- paths and write keys ---------------------------------------------------

def every_path(c):
    paths = dict({t: t for t in TYPES}, **LETTERS)
    for name, kind in paths.items():
        for path in ('/v1/' + name, '/v1/%s/' % name, '/v1/%s?a=b' % name):
            e = c.event(groupId='g', previousId='p')
            del e['type'] # the path says it
            c.post(e, path, kind)
    for path in ('batch', 'b', 'import'):
        for path in ('/v1/' + path, '/v1/%s/' % path, '/v1/%s?a=b' % path):
            c.batch([c.event(), c.event()], path)


def path_over_type(c):
    c.post(c.event(type='identify', traits={'a': 1}), '/v1/track', 'track')


def unknown_path(c):
    for path in ('/', '/v1', '/v1/', '/v1/tracks', '/v1/track/x', '/v2/track',
                 '/v1/TRACK', '/v1//track'):
        check_refusal(c.exchange(request(path, c.event())), 'not_found', 404)


def metrics_are_dropped(c):
    c.taken(request('/v1/m', {'series': []}, key=None))


def key_unknown(c):
    c.refused(request('/v1/track', c.event(), key='nobody'),
              'invalid_write_key')
    c.refused(request('/v1/batch', {'batch': [c.event()]}, key='nobody'),
              'invalid_write_key')
    c.refused(request('/v1/track', c.event(writeKey='nobody'), key=None),
              'invalid_write_key')
    c.refused(request('/v1/track', c.event(), key=WRITE_KEY + ' '),
              'invalid_write_key')


def key_missing(c):
    for headers in ({}, {'Authorization': ''}, {'Authorization': 'Basic'},
                    {'Authorization': 'Basic '}, {'Authorization': basic('')},
                    {'Authorization': 'Basic !!!!'},
                    {'Authorization': 'Bearer ' + WRITE_KEY}):
        c.refused(request('/v1/track', c.event(), headers, key=None),
                  'invalid_write_key')
    for key in (None, '', 1, {}, [WRITE_KEY], True):
        c.refused(request('/v1/track', c.event(writeKey=key), key=None),
                  'invalid_write_key')


def key_in_header(c):
    bare = basic().split()[1]
    no_colon = 'aW50ZWdyYXRpb24ta2V5'
    for value in ('Basic ' + bare, 'basic ' + bare, 'BASIC  ' + bare,
                  'Basic ' + bare.rstrip('='), 'Basic ' + no_colon,
                  basic(WRITE_KEY + ':password')):
        c.post(c.event(), headers={'Authorization': value}, key=None)
    c.post(c.event(), key=OTHER_KEY)


def key_in_body(c):
    c.post(c.event(writeKey=WRITE_KEY), key=None)
    c.post(c.event(writeKey=WRITE_KEY), key='nobody')
    c.post(c.event(writeKey=OTHER_KEY), key=None)
    c.post(c.event(writeKey=WRITE_KEY), key=None,
           headers={'Authorization': 'Bearer of.a.token'})
    c.batch([c.event(), c.event()], writeKey=WRITE_KEY, key=None)


def key_in_events(c):
    c.batch([c.event(writeKey=WRITE_KEY), c.event(writeKey=OTHER_KEY)],
            key=None)
    good = c.event(writeKey=WRITE_KEY)
    for strange in ({}, {'writeKey': 'nobody'}):
        good = c.event(writeKey=WRITE_KEY)
        some_bad(c, [c.event(**strange), good], {0: 'invalid_write_key'},
                 key=None)


# ---- what is not JSON -------------------------------------------------------

NOT_JSON = [
    b'', b' ', b'{', b'}', b'nul', b'{"type":"track"', b"{'a':1}", b'{"a":1,}',
    b'{"a":01}', b'{"a":1} x', b'{"a":1}{"a":2}', b'{"a":"\x01"}',
    b'{"a":"\xff"}', b'{"a":"\xc3"}', b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xc0\x80"}', b'\xef\xbb\xbf', b'\x00', b'{"a":1}\x00',
    b'{"a":NaN}', b'{"a":1}\n//', b'a=b&c=d', b'<event/>',
    '{"a":1}'.encode('utf-16'), b'[' * 100000, b'{"a":' * 5000,
]


def not_json(c):
    for body in NOT_JSON:
        for path in ('/v1/track', '/v1/batch'):
            c.refused(request(path, body), 'invalid_json')


def not_an_event(c):
    for body in ('[]', '"track"', '1', 'null', 'true', '[{}]'):
        answer = c.refused(request('/v1/track', body))
        check(answer.json()['code'] in ('event_not_object',
                                        'invalid_write_key'),
              '%s gives %s' % (body, answer))
        c.refused(request('/v1/batch', body), 'batch_not_array')
    for batch in ('{}', '{"batch":null}', '{"batch":{}}', '{"batch":"x"}'):
        c.refused(request('/v1/batch', batch), 'batch_not_array')


# ---- limits -----------------------------------------------------------------

def largest_event(c):
    e = sized(c.event(), EVENT_BYTES)
    c.post(e)
    e = sized(c.event(), EVENT_BYTES)
    c.taken(request('/v1/batch', batch_text([e])))
    c.accept(e)


def event_too_large(c):
    for size in (EVENT_BYTES + 1, 33 * 1024, 100000, 2 << 20):
        c.refused(request('/v1/track', sized(c.event(), size)),
                  'payload_too_large')


def member_too_large(c):
    good = [c.event(), c.event()]
    some_bad(c, [good[0], json.loads(sized(c.event(), 33 * 1024)), good[1],
                 json.loads(sized(c.event(), EVENT_BYTES + 1))],
             {1: 'payload_too_large', 3: 'payload_too_large'})


def largest_batch(c):
    for size in (512000, BATCH_BYTES):
        text, events = filled_batch(c, size)
        c.taken(request('/v1/batch', text))
        c.accept(*events)
    text, events = filled_batch(c, BATCH_BYTES)
    c.taken(request('/v1/batch', gzip.compress(text.encode()),
                    {'Content-Encoding': 'gzip'}))
    c.accept(*events)


def batch_too_large(c):
    for size in (BATCH_BYTES + 1, 501 * 1024, 2 << 20):
        text = filled_batch(c, size)[0].encode()
        c.refused(request('/v1/batch', text), 'payload_too_large')
        c.refused(request('/v1/batch', gzip.compress(text),
                          {'Content-Encoding': 'gzip'}), 'payload_too_large')
        c.refused(request('/v1/batch', chunks(text, 65536),
                          {'Transfer-Encoding': 'chunked'}),
                  'payload_too_large')


def gzip_bomb(c):
    bomb = gzip.compress(bytes(BOMB_BYTES), 9)
    began = time.monotonic()
    c.refused(request('/v1/batch', bomb, {'Content-Encoding': 'gzip'}),
              'payload_too_large')
    check(time.monotonic() - began < 2, 'a bomb was unpacked')


def most_events(c):
    events = [c.event() for _ in range(BATCH_EVENTS)]
    c.batch(events)
    c.refused(request('/v1/batch', {'batch': [c.event() for _ in range(
        BATCH_EVENTS + 1)]}), 'too_many_events')
    c.refused(request('/v1/batch', '{"batch":[%s]}' % ','.join(
        ['1'] * 100000)), 'too_many_events')


def empty_batch(c):
    c.batch([])


def envelope_too_large(c):
    """What the batch says of all its events is kept with each of them."""
    for member in ('context', 'integrations'):
        c.refused(request('/v1/batch', {
            'batch': [c.event() for _ in range(1000)],
            member: {'pad': 'x' * (EVENT_BYTES + 1)}}), 'payload_too_large')
        c.refused(request('/v1/batch', {
            'batch': [c.event()], member: {'pad': 'x' * EVENT_BYTES}}),
            'payload_too_large')
        c.refused(request('/v1/batch', {
            'batch': [c.event() for _ in range(200)],
            member: {'pad': 'x' * 30000}}), 'payload_too_large')
        c.refused(request('/v1/batch', {
            'batch': [c.event()], member: {'k%d' % i: i for i in range(200)}}),
            'too_many_members')
    c.batch([c.event(), json.loads(sized(c.event(), EVENT_BYTES))],
            context={'pad': 'x' * 30000})
    c.batch([c.event() for _ in range(BATCH_EVENTS)],
            context={'library': {'name': 'x' * 100, 'version': '1.0.0'}})


# ---- events that are not valid ----------------------------------------------

NOT_VALID = [
    # path, what the event has besides or None for what it lacks, code
    ('track', {'userId': None}, 'no_user_anon_id'),
    ('track', {'userId': ''}, 'no_user_anon_id'),
    ('track', {'userId': '', 'anonymousId': ''}, 'no_user_anon_id'),
    ('track', {'userId': {}}, 'id_not_string'),
    ('track', {'userId': ['u']}, 'id_not_string'),
    ('track', {'userId': True}, 'id_not_string'),
    ('identify', {'userId': None}, 'no_user_anon_id'),
    ('page', {'userId': None}, 'no_user_anon_id'),
    ('screen', {'userId': None}, 'no_user_anon_id'),
    ('group', {'userId': None, 'groupId': 'g'}, 'no_user_anon_id'),
    ('group', {}, 'group_id_required'),
    ('group', {'groupId': ''}, 'group_id_required'),
    ('alias', {}, 'previous_id_required'),
    ('alias', {'previousId': ''}, 'previous_id_required'),
    ('alias', {'userId': None, 'previousId': 'p'}, 'id_required'),
    ('track', {'event': None}, 'event_not_defined'),
    ('track', {'event': ''}, 'event_not_defined'),
    ('track', {'event': 5}, 'event_not_string'),
    ('track', {'event': {}}, 'event_not_string'),
    ('track', {'properties': 'x'}, 'properties_not_object'),
    ('track', {'properties': [1]}, 'properties_not_object'),
    ('identify', {'traits': 1}, 'traits_not_object'),
    ('track', {'context': 'x'}, 'context_not_object'),
    ('track', {'integrations': True}, 'integrations_not_object'),
    ('page', {'name': 1}, 'name_not_string'),
    ('page', {'category': {}}, 'category_not_string'),
    ('track', {'messageId': 'm' * 101}, 'message_id_too_long'),
    ('track', {'messageId': {}}, 'message_id_not_string'),
    ('track', {'x%d' % i: i for i in range(200)}, 'too_many_members'),
    ('track', {'event': CONSENT, 'context': {}},
     'consent_categorypreferences_should_exist'),
    ('track', {'event': CONSENT, 'context': {'consent': {
        'categoryPreferences': {'ads': 'yes'}}}},
     'consent_categorypreferences_fields_should_be_bool'),
]


def not_valid(c):
    for path, change, code in NOT_VALID:
        e = c.event(**change)
        gone = {k: v for k, v in e.items() if v is not None}
        for e in (e, gone):
            c.refused(request('/v1/' + path, e), code)
            some_bad(c, [dict(e, type=path)], {0: code})


def unknown_type(c):
    for kind in ('shout', '', 'Track', 1, None, {}):
        some_bad(c, [c.event(type=kind)], {0: 'invalid_type'})
    e = c.event()
    del e['type']
    some_bad(c, [e], {0: 'invalid_type'})


def bad_members(c):
    nobody = c.event(userId=None)
    some_bad(c, [c.event(), None, c.event(), 1, 'x', [], {}, nobody,
                 c.event(event=None), c.event(type='shout'), c.event()],
             {1: 'event_not_object', 3: 'event_not_object',
              4: 'event_not_object', 5: 'event_not_object',
              6: 'invalid_type', 7: 'no_user_anon_id',
              8: 'event_not_defined', 9: 'invalid_type'})
    some_bad(c, [1] * BATCH_EVENTS,
             {i: 'event_not_object' for i in range(BATCH_EVENTS)})


# ---- what a valid event may look like ---------------------------------------

VALID = [
    {'userId': None, 'anonymousId': 'a'},
    {'anonymousId': None},
    {'anonymousId': ''},
    {'userId': '', 'anonymousId': 'a'},
    {'userId': 42},
    {'userId': 12345678901234567890123, 'anonymousId': 7},
    {'integrations': {}, 'context': {}, 'properties': {}, 'traits': {}},
    {'integrations': None, 'context': None, 'properties': None},
    {'integrations': [], 'context': [], 'properties': [], 'traits': []},
    {'properties': {'a': None, 'b': [], 'c': {}, '': 0, 'd.e': 1, '$f': 2}},
    {'properties': {'text': '\u0000\u001f"\\/\u2028\u2029\uffff\U0001f680'}},
    {'properties': {'list': [[[[[[]]]]], {}, None, True, False, 1.5]}},
    {'properties': {'ключ\U0001f511': 'Zoë ñandú 日本語 한국어 العربية'}},
    {'channel': 'server', 'version': 2, 'projectId': 'x', '_metadata': {},
     'anything': [1, {'b': 2}]},
    {'name': 'Home', 'category': 'Docs'},
    {'event': 'Zoë \U0001f680 "quoted"'},
    {'event': ' '},
    {'messageId': 'm' * 100},
    {'messageId': 'é' * 99},
    {'messageId': 987654321},
    {'context': {'ip': '203.0.113.7', 'library': {'name': 'x'},
                 'traits': {'a': 1}, 'custom': [1, {'two': 2}]}},
    {'integrations': {'All': True, 'Mixpanel': {'a': 1}, 'X': False}},
    {'event': CONSENT, 'context': {'consent': {
        'categoryPreferences': {'ads': False, 'use': True}, 'version': 2}}},
    {'_metadata': {'bundled': ['Segment.io'], 'unbundled': [],
                   'bundledIds': []}, 'context': {'direct': True}},
]


def valid(c):
    for change in VALID:
        c.post(c.event(**change))
        e = c.event()
        if 'messageId' in change:
            change = dict(change, messageId=str(change['messageId'])[1:])
        c.batch([dict(e, **change)])


NUMBERS = ['0', '-0', '1.0', '-1.50', '1e5', '1E+5', '1e-7', '1e400', '1e-400',
           '9007199254740993', '18446744073709551616', '0.1000000000000000055',
           '123456789012345678901234567890.123456789']


def numbers(c):
    text = json.dumps(c.event(properties={'v': 0}))
    c.post(text.replace('{"v": 0}', '{"v": [%s]}' % ', '.join(NUMBERS)))


def escaped_names(c):
    e = json.dumps(c.event(anonymousId='a', context={'k': {}}))
    for name in ('messageId', 'userId', 'event', 'context'):
        e = e.replace('"%s"' % name,
                      '"\\u%04x%s"' % (ord(name[0]), name[1:]))
    c.post(e)


def names_twice(c):
    """The last one counts, for every reader."""
    e = json.dumps(c.event(userId='last', properties={'last': True}))
    c.post('{"userId": {}, "event": 1, "properties": 2, "type": 3, ' + e[1:])


def no_message_id(c):
    for value in (None, ''):
        c.post(c.event(messageId=value))
        e = c.event(messageId=value)
        if value is None:
            del e['messageId']
        c.batch([e, c.event()])


def merged(c):
    c.batch([c.event(), c.event(context=None, integrations=None),
             c.event(context={'library': {'name': 'own'}, 'b': [1]}),
             c.event(context=[], integrations={'X': False}),
             c.event(context={'a': None}, integrations={'Y': {}})],
            context={'library': {'name': 'outer', 'version': '1'}, 'a': 1,
                     '"é"': 2},
            integrations={'X': True})
    c.batch([c.event(), c.event(context={'b': 1})], context=[],
            integrations={})
    c.batch([c.event(context={'b': 1})], context=None, integrations=None)
    own = '{"caf\\u00e9": "own"}'
    e = json.dumps(c.event())[:-1] + ', "context": ' + own + '}'
    outer = '{"café": "outer", "d": 1}'
    c.taken(request('/v1/batch', '{"context": %s, "batch": [%s]}' %
                    (outer, e)))
    c.accept(e, envelope={'context': json.loads(outer)})


TIMES = [ # of the event, when it was sent
    ('2026-01-01T00:00:00.000Z', '2026-01-01T00:00:05.000Z'),
    ('2026-01-01T00:00:00Z', '2026-01-01T01:00:00+01:00'),
    ('2026-01-01T00:00:00.123456Z', '2026-01-01T00:00:00.1234567Z'),
    ('2026-01-01T00:00:00.123456789Z', '2026-01-01T05:30:00.5+05:30'),
    ('2026-01-01T00:00:00.000+0000', '2025-12-31T20:00:00-04:00'),
    ('2031-06-01T00:00:00.000Z', '2031-06-01T00:00:00.250Z'),
    ('1970-01-01T00:00:00.000Z', '1970-01-01T00:00:00.000Z'),
    ('2026-01-01T00:00:10.000Z', '2026-01-01T00:00:00.000Z'),
    ('2026-01-01T00:00:00.000Z', None),
    (None, '2026-01-01T00:00:00.000Z'),
    ('not a time', '2026-01-01T00:00:00.000Z'),
    ('2026-01-01T00:00:00.000Z', 'not a time'),
    ('2026-13-45T99:99:99Z', None),
    (1767225600000, 1767225600000),
]


def clocks(c):
    for at, sent in TIMES:
        c.post(c.event(timestamp=at, sentAt=sent))
        c.post(c.event(originalTimestamp=at, sentAt=sent))
        c.batch([c.event(timestamp=at)], sentAt=sent)
        c.batch([c.event(timestamp=at, sentAt=sent)],
                sentAt='2020-01-01T00:00:00.000Z')


ROWS = [
    every_path, path_over_type, unknown_path, metrics_are_dropped,
    key_unknown, key_missing, key_in_header, key_in_body, key_in_events,
    not_json, not_an_event,
    largest_event, event_too_large, member_too_large, largest_batch,
    batch_too_large, gzip_bomb, most_events, empty_batch, envelope_too_large,
    not_valid, unknown_type, bad_members,
    valid, numbers, escaped_names, names_twice, no_message_id, merged, clocks,
]
