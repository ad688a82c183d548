# SPDX-License-Identifier: Apache-2.0
#
# cases.py - what the rows of cases_test.py are written with: requests that are
# accepted or refused, and the memory of what must be stored of them.

import itertools
import json

from kit import WRITE_KEY, Wire, check, parse, request

EVENT_BYTES = 32768   # the documented limits
BATCH_BYTES = 513000
BATCH_EVENTS = 2500
OTHER_KEY = 'second/key+with=signs'


class Cases:
    """Sends, and remembers what must be stored."""

    def __init__(self, host):
        self.host = host
        self.numbers = itertools.count()
        self.expected = {}  # messageId: (event, envelope, kind)
        self.nameless = []  # without one: told by the event's name
        self.wire = None

    def event(self, **more):
        """A valid event with a messageId of its own. Members of None stay."""
        n = next(self.numbers)
        return {'type': 'track', 'event': 'Tested %d' % n, 'userId': 'u',
                'messageId': 'case-%d' % n, **more}

    def accept(self, *events, envelope=None, kind=None):
        for e in events:
            e = parse(json.dumps(e)) if isinstance(e, dict) else parse(e)
            if e.get('messageId'):
                self.expected[str(e['messageId'])] = (e, envelope, kind)
            else:
                self.nameless.append((e, envelope, kind))

    def accepted(self):
        """How many events are to be stored."""
        return len(self.expected) + len(self.nameless)

    def exchange(self, data, to_head=False):
        with Wire(self.host) as wire:
            wire.write(data)
            answer = wire.read(to_head)
        check(answer, 'closed without an answer')
        return answer

    def taken(self, data):
        """The answer of every success that all SDKs take for one."""
        answer = self.exchange(data)
        check(answer.status == 200 and answer.json() == {'success': True},
              'not accepted: %s' % answer)
        return answer

    def refused(self, data, code=None, status=400):
        """The one refusal that no SDK repeats."""
        answer = self.exchange(data)
        check_refusal(answer, code, status)
        return answer

    def post(self, event, path='/v1/track', kind=None, **how):
        """One event that is accepted."""
        answer = self.taken(request(path, event, **how))
        self.accept(event, kind=kind)
        return answer

    def batch(self, events, path='/v1/batch', headers=None, key=WRITE_KEY,
              **envelope):
        """A batch that is accepted whole."""
        body = {'batch': events, **envelope}
        self.taken(request(path, body, headers, key=key))
        self.accept(*events, envelope=body)


def check_refusal(answer, code=None, status=400):
    check(answer.status == status, 'not refused: %s' % answer)
    told = answer.json()
    check(told.get('success') is False and
          all(isinstance(told.get(k), str) and told[k]
              for k in ('code', 'message', 'error')),
          'a refusal SDKs do not understand: %s' % answer)
    check(code in (None, told['code']), 'not %s: %s' % (code, answer))


def sized(event, size):
    """The event as text of so many bytes."""
    bare = dict(event, properties={'pad': ''})
    room = size - len(json.dumps(bare))
    return json.dumps(dict(event, properties={'pad': 'x' * room}))


def batch_text(events, size=None):
    """A batch as text; of so many bytes, the rest in its last event."""
    text = '{"batch":[%s]}' % ','.join(events)
    if size is None:
        return text
    last = json.loads(events[-1])
    last['properties']['pad'] += 'x' * (size - len(text))
    return batch_text(events[:-1] + [json.dumps(last)])


def filled_batch(c, size):
    """(text of so many bytes, its events), each below the limit."""
    events = [sized(c.event(), 30000) for _ in range(size // 30100)]
    events.append(sized(c.event(), 1000))
    text = batch_text(events, size)
    check(len(text) == size, 'a batch of %d bytes' % len(text))
    return text, [json.dumps(e) for e in json.loads(text)['batch']]


def some_bad(c, events, codes, key=WRITE_KEY):
    """A batch of which those with a code are refused and told."""
    body = {'batch': events}
    answer = c.exchange(request('/v1/batch', body, key=key))
    check(answer.status == 200, 'a batch with bad members: %s' % answer)
    told = answer.json()
    check(told.get('success') is True and
          [(r['index'], r['code']) for r in told.get('rejected', [])] ==
          sorted(codes.items()), 'not %s: %s' % (codes, answer))
    c.accept(*[e for i, e in enumerate(events) if i not in codes],
             envelope=body)
