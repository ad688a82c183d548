# SPDX-License-Identifier: Apache-2.0
#
# cases_repeated.py - rows of cases_test.py: events that come more than once, as
# SDKs send again what they got no answer for; each is stored once.

import json

from kit import Wire, check, request

AT_ONCE = 20


def three_times(c):
    e = c.event()
    for _ in range(3):
        c.taken(request('/v1/track', e))
    c.accept(e)


def in_one_batch(c):
    e, other = c.event(), c.event()
    c.taken(request('/v1/batch', {'batch': [e, other, e, dict(e)]}))
    c.accept(e, other)
    c.taken(request('/v1/batch', {'batch': [other, e]}))


def all_at_once(c):
    e = c.event()
    wires = [Wire(c.host) for _ in range(AT_ONCE)]
    for i, wire in enumerate(wires):
        wire.write(request('/v1/track', e) if i % 2 else
                   request('/v1/batch', {'batch': [e]}))
    for wire in wires:
        answer = wire.read()
        check(answer and answer.status == 200, 'one of many: %s' % answer)
        wire.socket.close()
    c.accept(e)


def lost_answer(c):
    """The connection goes before the answer comes; the SDK sends again."""
    e = c.event()
    for last in (0, 1):
        with Wire(c.host) as wire:
            data = request('/v1/track', e)
            wire.write(data[:len(data) - last])
    c.taken(request('/v1/track', e, {'X-Retry-Count': '1'}))
    c.accept(e)


def other_content(c):
    """It is the messageId that says which event it is."""
    e = c.event()
    c.taken(request('/v1/track', e))
    c.taken(request('/v1/track', dict(e, event='Another', userId='v')))
    c.taken(request('/v1/identify', json.dumps(e)))
    c.accept(e)


ROWS = [three_times, in_one_batch, all_at_once, lost_answer, other_content]
