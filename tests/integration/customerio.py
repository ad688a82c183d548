#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# customerio.py - the plugin customerio by the real host, against a server that
# takes entities as Customer.io's Track API documents them: one or a batch, 207
# for a batch that is taken in part, 401 for wrong credentials, 429 with
# Retry-After. Each event arrives once, and what is refused is a dead letter
# with Customer.io's reason.

import base64
import collections
import time

from harness import Api, arguments, check, run, say, until

SITE, KEY = 'site-1', 'secret-key-1'
EVENTS = 300


class CustomerIo(Api):
    """Counts what it took: events by their id, people by theirs."""

    def __init__(self, net):
        self.taken = collections.Counter()
        self.requests = 0
        self.by_path = collections.Counter()
        self.limited = 0 # until then, monotonic
        self.early = 0
        self.wrong = []
        super().__init__(net)

    def reply(self, method, path, headers, data):
        auth = base64.b64encode(('%s:%s' % (SITE, KEY)).encode()).decode()
        if headers.get('authorization') != 'Basic ' + auth:
            return 401, {'meta': {'error': 'Unauthorized request'}}
        self.by_path[method + ' ' + path] += 1
        if path == '/api/v2/batch':
            entities = data['batch']
        elif path in ('/api/v2/entity', '/api/v1/metrics'):
            entities = [data]
        else:
            self.wrong.append((method, path))
            return 404, {}
        if time.monotonic() < self.limited:
            self.early += 1
            return 429, {}, {'Retry-After': 2}
        self.requests += 1
        errors = []
        for i, e in enumerate(entities):
            if path == '/api/v1/metrics':
                self.taken[e['delivery_id']] += 1
            elif not e.get('identifiers') and e['action'] != 'merge':
                errors.append({'batch_index': i, 'reason': 'required',
                               'field': 'identifiers',
                               'message': 'nobody is named'})
            else:
                self.taken[self.name(e)] += 1
        if errors and path == '/api/v2/batch':
            return 207, {'errors': errors}
        return (400, {'errors': errors}) if errors else (200, {})

    @staticmethod
    def name(e):
        if e['type'] == 'object':
            return 'object ' + e['identifiers']['object_id']
        if e['action'] == 'identify':
            return 'person ' + e['identifiers']['id']
        return e['id']


def send(host, events):
    for at in range(0, len(events), 100):
        status, answer = host.ingest('/v1/batch',
                                     {'batch': events[at:at + 100]})
        check(status == 200 and answer == {'success': True},
              'the batch gives %d %s' % (status, answer))


def track(ident, **more):
    return dict({'type': 'track', 'event': 'Seen', 'userId': 'u',
                 'messageId': ident}, **more)


def arrive(host, server, wanted):
    until(lambda: wanted <= set(server.taken), 30,
          lambda: '%d missing, for instance %s; the last error is %s' %
          (len(wanted - set(server.taken)),
           sorted(wanted - set(server.taken))[:3],
           host.destination('cio')['last_error']))
    twice = [i for i, n in server.taken.items() if n > 1]
    check(not twice, 'twice: %s' % twice)
    check(not server.wrong, 'wrong: %s' % server.wrong)


def everything(host, server):
    """By the presets."""
    send(host, [track('e%d' % n) for n in range(EVENTS)] +
         [{'type': 'identify', 'userId': 'p%d' % n, 'messageId': 'i%d' % n,
           'traits': {'plan': 'gold'}} for n in range(60)] +
         [{'type': 'group', 'userId': 'u', 'groupId': 'g1'},
          track('r', event='Report Delivery Event',
                properties={'deliveryId': 'd1', 'metric': 'opened'})])
    arrive(host, server, {'e%d' % n for n in range(EVENTS)} |
           {'person p%d' % n for n in range(60)} | {'object g1', 'd1'})
    check(server.requests < EVENTS, 'nothing went in a batch')
    say('%d entities in %d requests: %s' %
        (len(server.taken), server.requests, dict(server.by_path)))


def refused(host, server):
    """Somebody whom the mapping does not name, among others."""
    send(host, [track('k%d' % n) for n in range(5)] +
         [track('nobody', userId='', anonymousId='x',
                properties={'unnamed': True})] +
         [track('l%d' % n) for n in range(5)])
    arrive(host, server, {'k%d' % n for n in range(5)} |
           {'l%d' % n for n in range(5)})
    until(lambda: host.destination('cio')['dead'] == 1, 20, 'a dead letter')
    letter = host.get('/v1/destinations/cio/dead')['dead'][0]
    check(letter['result'] == 400 and letter['message_id'] == 'nobody' and
          'nobody is named' in letter['error'],
          'the dead letter is %s' % letter)
    check(KEY not in str(letter), 'a dead letter shows the key')
    say('refused: %s' % letter['error'])


def limited(host, server):
    server.limited = time.monotonic() + 1.5
    send(host, [track('m%d' % n) for n in range(3)])
    arrive(host, server, {'m%d' % n for n in range(3)})
    check(1 <= server.early <= 3, '%d requests before Retry-After' %
          server.early)
    say('Retry-After was waited for')


def test(box):
    server = CustomerIo(box.net)
    box.install('customerio')
    destination = {
        'plugin': 'customerio', 'allow_private': True, 'batch_wait': '50ms',
        'endpoint': 'http://127.0.0.1:%d' % server.port,
        'settings': {'siteId': SITE, 'apiKey': KEY}}
    box.write_config(box.config({'cio': destination}))
    host = box.host()
    host.start()
    everything(host, server)
    limited(host, server)
    destination['subscriptions'] = [{
        'action': 'trackEvent', 'subscribe': 'type = "track"',
        'mapping': {'id': {'@path': '$.userId'}, 'name': {'@path': '$.event'},
                    'event_id': {'@path': '$.messageId'}}}]
    box.write_config(box.config({'cio': destination}))
    host.hangup()
    refused(host, server)


if __name__ == '__main__':
    run(test, arguments())
