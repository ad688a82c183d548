#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# braze.py - the plugin braze by the real host, against a server that takes
# /users/track as Braze documents it: 75 objects of a kind, the good ones of a
# batch, 429 with the time when the rate begins anew. Each event arrives once,
# orders that together have too many products go in several requests, and what
# Braze refuses is a dead letter with Braze's reason.

import collections
import time

from harness import Api, arguments, check, run, say, until

KEY = 'rest-api-key'
MOST = 75
EVENTS = 400


class Braze(Api):
    """Counts what it took by the id that each object has as a property."""

    def __init__(self, net):
        self.taken = collections.Counter()
        self.sizes = []     # objects in each request
        self.limited = None # when the rate begins anew, Unix time
        self.early = 0      # requests that did not wait for it
        self.faults = 2     # answers that are 500, to begin with
        self.wrong = []     # what no client should have sent
        super().__init__(net)

    def limit(self, seconds):
        self.limited = int(time.time()) + seconds

    def reply(self, method, path, headers, data):
        if headers.get('authorization') != 'Bearer ' + KEY:
            return 401, {'message': 'Invalid API key'}
        if method != 'POST' or path != '/users/track' or data is None:
            self.wrong.append((method, path))
            return 404, {'message': 'Not Found'}
        if self.limited and time.time() < self.limited:
            self.early += 1
            return 429, {'message': 'Rate limit exceeded'}, {
                'X-RateLimit-Reset': self.limited}
        if self.faults:
            self.faults -= 1
            return 500, {'message': 'Internal Server Error'}
        (kind, objects), = data.items()
        self.sizes.append(len(objects))
        batch = headers.get('x-braze-batch') == 'true'
        if len(objects) > MOST or batch != (len(objects) > 1):
            self.wrong.append((kind, len(objects), batch))
            return 400, {'message': 'too many objects'}
        errors = []
        for i, o in enumerate(objects):
            if o.get('name') == 'Bad':
                errors.append({'type': 'the name is not allowed',
                               'input_array': kind, 'index': i})
            else:
                self.taken[self.id_of(kind, o)] += 1
        answer = {'message': 'success'}
        if errors:
            answer['errors'] = errors
        return 201, answer

    @staticmethod
    def id_of(kind, o):
        if kind == 'attributes':
            return o['nickname']
        if kind == 'purchases':
            return o['properties']['id'] + o['product_id']
        return o['properties']['id']


def send(host, events):
    for at in range(0, len(events), 100):
        status, answer = host.ingest('/v1/batch',
                                     {'batch': events[at:at + 100]})
        check(status == 200 and answer == {'success': True},
              'the batch gives %d %s' % (status, answer))


def track(name, ident, **properties):
    return {'type': 'track', 'event': name, 'userId': 'u' + ident,
            'properties': dict(properties, id=ident)}


def order(ident, products):
    return track('Order Completed', ident, products=[
        {'product_id': '-%d' % n, 'price': 1} for n in range(products)])


def arrive(host, server, wanted):
    until(lambda: wanted <= set(server.taken), 30,
          lambda: '%d missing, for instance %s; the last error is %s' %
          (len(wanted - set(server.taken)),
           sorted(wanted - set(server.taken))[:3],
           host.destination('braze')['last_error']))
    twice = [i for i, n in server.taken.items() if n > 1]
    check(not twice, 'twice: %s' % twice)
    check(not server.wrong, 'wrong: %s' % server.wrong)


def dead(host, count):
    until(lambda: host.destination('braze')['dead'] == count, 20,
          lambda: '%d dead letters, there are %d' %
          (count, host.destination('braze')['dead']))
    return host.get('/v1/destinations/braze/dead')['dead']


def everything(host, server):
    events = [track('Seen', 'e%d' % n) for n in range(EVENTS)]
    events += [order('o%d' % n, 20) for n in range(12)]
    events += [{'type': 'identify', 'userId': 'u%d' % n,
                'traits': {'nickname': 'n%d' % n}} for n in range(20)]
    send(host, events)
    arrive(host, server, {'e%d' % n for n in range(EVENTS)} |
           {'o%d-%d' % (n, k) for n in range(12) for k in range(20)} |
           {'n%d' % n for n in range(20)})
    check(max(server.sizes) > 1, 'nothing went in a batch')
    say('%d objects in %d requests, the largest of %d' %
        (sum(server.sizes), len(server.sizes), max(server.sizes)))


def refused(host, server):
    send(host, [track('Seen', 'g%d' % n) for n in range(5)] +
         [track('Bad', 'b1'), track('Bad', 'b2'), order('o-all', 76)])
    arrive(host, server, {'g%d' % n for n in range(5)})
    letters = dead(host, 3)
    check(sorted(d['result'] for d in letters) == [400, 400, 413],
          'the results are %s' % [d['result'] for d in letters])
    check(sum('the name is not allowed' in d['error'] for d in letters) == 2,
          'the reasons are %s' % [d['error'] for d in letters])
    say('two events that Braze names and an order that is too long are dead')


def limited(host, server):
    server.limit(3)
    send(host, [track('Seen', 'l%d' % n) for n in range(3)])
    arrive(host, server, {'l%d' % n for n in range(3)})
    check(1 <= server.early <= 8, '%d requests before the rate began anew' %
          server.early)
    say('a limited rate was waited for: %d requests too early' % server.early)


def test(box):
    server = Braze(box.net)
    box.install('braze')
    box.write_config(box.config({'braze': {
        'plugin': 'braze', 'allow_private': True, 'batch_wait': '50ms',
        'endpoint': 'http://127.0.0.1:%d' % server.port,
        'settings': {'api_key': KEY},
        'subscriptions': [
            {'action': 'trackEvent',
             'subscribe': 'type = "track" and event != "Order Completed"'},
            {'action': 'trackPurchase',
             'subscribe': 'event = "Order Completed"'},
            {'action': 'updateUserProfile',
             'subscribe': 'type = "identify"'},
        ]}}))
    host = box.host()
    host.start()
    everything(host, server)
    refused(host, server)
    limited(host, server)
    for d in host.get('/v1/destinations/braze/dead')['dead']:
        check(KEY not in str(d), 'a dead letter shows the key')


if __name__ == '__main__':
    run(test, arguments())
