#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# segment.py - events forwarded to another workspace. First the host is its own
# other workspace: what comes in at one source goes out by the plugin, in again
# at another source, and into a file. Then a Tracking API that is overloaded,
# refuses one event of a batch, and does not know the write key.

import base64
import collections
import json
import os
import time

from harness import Api, Load, arguments, check, run, say, until

OTHER_KEY = 'key-of-the-other-workspace'
TYPES = {
    'track': {'event': 'Rented', 'properties': {'km': 12}},
    'identify': {'traits': {'email': 'ada@example.com'}},
    'page': {'name': 'Home'},
    'screen': {'name': 'Start'},
    'group': {'groupId': 'g-1'},
    'alias': {'previousId': 'a-1'},
}


class Tracking(Api):
    """Takes batches of events; events named Bad it rejects one by one."""

    def __init__(self, net):
        self.taken = collections.Counter()
        self.overloaded = 2
        self.requests = 0
        super().__init__(net)

    def reply(self, method, path, headers, data):
        key = base64.b64encode(b'good-key:').decode()
        self.requests += 1
        if (method, path) != ('POST', '/v1/batch'):
            return 404, {}
        if headers.get('authorization') != 'Basic ' + key:
            return 400, {'success': False, 'code': 'invalid_write_key'}
        if self.overloaded:
            self.overloaded -= 1
            return 429, {'success': False}, {'Retry-After': '1'}
        bad = [i for i, e in enumerate(data['batch'])
               if e.get('event') == 'Bad']
        self.taken.update(e['messageId'] for i, e in enumerate(data['batch'])
                          if i not in bad)
        return 200, {'success': True, 'rejected': [
            {'index': i, 'code': 'not_wanted'} for i in bad]}


def destination(address, key, **more):
    return dict({'plugin': 'segment', 'allow_private': True,
                 'endpoint': 'http://' + address, 'batch_wait': '200ms',
                 'settings': {'source_write_key': key,
                              'region': 'api.segment.io'}}, **more)


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f]


def own_workspace(box, host):
    """Once through the plugin and back in."""
    path = os.path.join(box.out, 'copy.ndjson')
    for name, fields in TYPES.items():
        status, _ = host.ingest('/v1/' + name,
                                dict(fields, userId='u-1',
                                     messageId='one-' + name,
                                     timestamp='2026-03-01T09:30:00.000Z',
                                     context={'own': {'list': [1, 'b']}}))
        check(status == 200, '/v1/%s gives %d' % (name, status))
    until(lambda: len(lines(path)) == len(TYPES), 15,
          lambda: 'all types, there are %s, the last error: %s' %
          ([e['type'] for e in lines(path)],
           host.destination('around')['last_error']))
    for e in lines(path):
        want = dict(TYPES[e['type']], userId='u-1',
                    messageId='one-' + e['type'],
                    timestamp='2026-03-01T09:30:00.000Z')
        check(all(e.get(k) == v for k, v in want.items()) and
              e['context']['own'] == {'list': [1, 'b']},
              '%s came as %s' % (want, e))
    load = Load(box.net, host, 1000, batch=10, limit=2000)
    load.end()
    until(lambda: len(lines(path)) >= len(TYPES) + 2000, 20,
          lambda: '2,000 more, there are %d' % len(lines(path)))
    seen = collections.Counter(e['messageId'] for e in lines(path))
    check(set(seen.values()) == {1} and load.acknowledged <= set(seen),
          'not once each')
    say('six types and 2,000 events went round, once each')


def far_side(host, tracking):
    batch = [{'type': 'track', 'event': 'Bad' if i == 3 else 'Good',
              'userId': 'u', 'messageId': 'f-%d' % i} for i in range(10)]
    check(host.ingest('/v1/batch', {'batch': batch})[0] == 200, 'refused')
    until(lambda: host.destination('far')['delivered'] == 9 and
          host.destination('far')['dead'] == 1, 15,
          lambda: 'nine arrive: %s' % host.destination('far'))
    dead = until(lambda: host.get('/v1/destinations/far/dead')['dead'], 5,
                 'a dead letter')
    check(dead[0]['message_id'] == 'f-3' and 'not_wanted' in dead[0]['error'],
          'the dead letter is %s' % dead[0])
    check(tracking.overloaded == 0 and set(tracking.taken.values()) == {1},
          'taken: %s' % tracking.taken)
    until(lambda: host.destination('stranger')['dead'] == 10, 15,
          'all are dead with a wrong write key')
    say('429 waited for, one of ten rejected, a wrong key refused: '
        '%d requests' % tracking.requests)


def test(box):
    began = time.monotonic()
    tracking = Tracking(box.net)
    box.install('segment', 'file')

    def configure(destinations, web):
        c = box.config(dict(destinations, copy=box.file('copy.ndjson')))
        c['sources'] = {'web': dict(c['sources']['web'], destinations=web),
                        'other': {'write_key': OTHER_KEY,
                                  'destinations': ['copy']}}
        box.write_config(c)

    configure({'idle': box.file('idle.ndjson')}, ['idle'])
    host = box.host()
    host.start()
    configure({'around': destination(host.addresses['ingest'][0],
                                     OTHER_KEY)}, ['around'])
    outcome = host.hangup()
    check(outcome['done'] and not outcome['refused'], str(outcome))
    own_workspace(box, host)
    far = '127.0.0.1:%d' % tracking.port
    configure({'far': destination(far, 'good-key'),
               'stranger': destination(far, 'bad-key')}, ['far', 'stranger'])
    outcome = host.hangup()
    check(outcome['done'] and not outcome['refused'], str(outcome))
    far_side(host, tracking)
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    shown = '\n'.join(host.log)
    check(OTHER_KEY not in shown and 'bad-key' not in shown, 'a key is shown')
    say('%.1f s' % (time.monotonic() - began))


if __name__ == '__main__':
    run(test, arguments())
