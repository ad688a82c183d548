#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# dedupe.py - a client that sends everything twice, at the same time and again
# after kill -9 of everything and of ingest alone: each event is stored once
# and reaches its destination once. The destination is paused over the kills,
# since what is under way when a worker dies is delivered again.

import asyncio
import base64
import json
import os
import random
import re
import signal

from harness import (Receiver, arguments, check, children, role, run, say,
                     until)

KEYS = {'web': 'key-of-web', 'app': 'key-of-app'}
EVENTS = 3000
BATCH = 20
KILLS = 3


def event(name):
    return {'type': 'track', 'event': 'Paid', 'userId': 'u',
            'messageId': name, 'properties': {'pad': 'x' * 300}}


class Twice:
    """Every batch goes out on two connections at once, and again until both
    have their 200."""

    def __init__(self, box, host, source, names):
        self.host = host
        self.acknowledged = 0 # copies
        self.unlike = []      # answers but 200
        auth = base64.b64encode((KEYS[source] + ':').encode()).decode()
        self.head = ('POST /v1/batch HTTP/1.1\r\nHost: t\r\n'
                     'Authorization: Basic %s\r\nConnection: close\r\n'
                     'Content-Type: application/json\r\n'
                     'Content-Length: %%d\r\n\r\n' % auth)
        batches = [names[i:i + BATCH] for i in range(0, len(names), BATCH)]
        self.future = box.net.spawn(self.all(batches))

    async def all(self, batches):
        for i in range(0, len(batches), 4):
            await asyncio.gather(*[self.one(b) for b in batches[i:i + 4] * 2])

    async def one(self, names):
        body = json.dumps({'batch': [event(n) for n in names]})
        request = (self.head % len(body) + body).encode()
        while True:
            try:
                address, port = (self.host.addresses['ingest'][0]
                                 .rsplit(':', 1))
                reader, writer = await asyncio.open_connection(address,
                                                               int(port))
                writer.write(request)
                answer = await reader.read()
                writer.close()
            except OSError:
                answer = b''
            if answer.startswith(b'HTTP/1.1 200 ') and answer.endswith(b'}'):
                self.acknowledged += len(names)
                return
            if answer:
                self.unlike.append(answer[:300])
            await asyncio.sleep(0.02)

    def end(self):
        self.future.result(60)


def dedupe_of(host):
    return host.status()['ingest']['dedupe']


def durable(host):
    return host.status()['journal']['durable']


def duplicates(host, source):
    text = host.admin('GET', '/metrics')[1]
    found = re.search(r'events_duplicate_total\{source="%s"\} (\d+)' % source,
                      text)
    check(found, 'metrics count the duplicates of %s' % source)
    return int(found.group(1))


def send_twice(box, host, names):
    """The tree is killed while this is under way."""
    twice = Twice(box, host, 'web', names)
    for kill in range(KILLS):
        seen = twice.acknowledged
        until(lambda: twice.acknowledged > seen + BATCH * (2 + kill), 20,
              'events are acknowledged')
        host.kill_tree()
        host.start()
    twice.end()
    check(twice.acknowledged == 2 * len(names), 'all were acknowledged twice')
    say('%d events sent twice over %d kills' % (len(names), KILLS))
    until(lambda: durable(host) == len(names), 10,
          lambda: 'each is stored once: %d of %d' %
          (durable(host), len(names)))


def again(box, host, names):
    """All of it once more, with ingest killed before."""
    pid = next(p for p in children(host.pid) if 'ingest' in role(p))
    os.kill(pid, signal.SIGKILL)
    until(lambda: any('ingest' in role(p) and p != pid
                      for p in children(host.pid)), 10,
          'ingest is started again')
    random.shuffle(names)
    Twice(box, host, 'web', names).end()
    check(durable(host) == len(names), 'nothing of it is stored again')
    until(lambda: duplicates(host, 'web') == 2 * len(names), 10,
          'all were counted as duplicates')
    d = until(lambda: dedupe_of(host)['ids'] == len(names) and dedupe_of(host),
              10, 'each id is known')
    check(d['state'] == 'whole' and d['window_seconds'] == 86400 and
          not d['evicted'], 'the ids of a day are known: %s' % d)


def other_source(box, host, names):
    """The same messageId of another source is another event."""
    before = durable(host)
    Twice(box, host, 'app', names).end()
    check(durable(host) == before + len(names), 'another source is heard')
    until(lambda: duplicates(host, 'app') == len(names), 10,
          'its duplicates are its own')


def inside_a_batch(host):
    before = durable(host)
    batch = {'batch': [event('in-1'), event('in-2'), event('in-1'),
                       {'type': 'track', 'userId': 'u', 'messageId': 'in-1'},
                       event('in-2')]}
    for times in range(2):
        status, body = host.ingest('/v1/batch', batch, KEYS['web'])
        check(status == 200 and body['success'] and
              body['rejected'] == [{'index': 3,
                                    'code': 'event_not_defined'}],
              'a batch is judged event by event: %s' % body)
        check(durable(host) == before + 2, 'each is stored once')
    status, body = host.ingest('/v1/track', event('in-2'), KEYS['web'])
    check(status == 200 and durable(host) == before + 2, 'alone as well')


def reloads(box, host, config):
    """Off, everything is stored; on again, the files tell what came before
    and meanwhile."""
    before = durable(host)
    config['ingest']['dedupe_window'] = 0
    box.write_config(config)
    host.hangup()
    until(lambda: dedupe_of(host)['state'] == 'off', 10, 'it is off')
    for times in range(2):
        host.ingest('/v1/track', event('off'), KEYS['web'])
    check(durable(host) == before + 2, 'each copy is stored')
    config['ingest']['dedupe_window'] = '1h'
    config['ingest']['dedupe_memory'] = '8MiB'
    box.write_config(config)
    host.hangup()
    d = until(lambda: dedupe_of(host)['state'] == 'whole' and dedupe_of(host),
              10, 'it is whole again')
    check(d['window_seconds'] == 3600, 'the new window holds: %s' % d)
    for name in 'off', 'e-0', 'in-1':
        host.ingest('/v1/track', event(name), KEYS['web'])
    check(durable(host) == before + 2, 'what came before is known')


def delivered_once(host, receiver, names, others):
    web, app = receiver.path('/web'), receiver.path('/app')
    check(not web.requests, 'the pause held')
    check(host.admin('POST', '/v1/destinations/hook/resume')[0] == 200,
          'resumed')
    expected = set(names) | {'in-1', 'in-2', 'off'}
    until(lambda: set(web.delivered) == expected and
          set(app.delivered) == set(others), 60, 'everything arrives')
    until(lambda: not any(d['pending'] for d in
                          host.status()['destinations']), 20,
          'nothing is pending')
    more = {n: k for n, k in web.delivered.items()
            if k != (2 if n == 'off' else 1)}
    check(not more, 'each arrived once at /web, but %s' % more)
    check(sum(app.delivered.values()) == len(others),
          'each arrived once at /app')


def test(box):
    receiver = Receiver(box.net)
    config = box.config(
        {'hook': box.webhook(receiver.url('/web')),
         'other': box.webhook(receiver.url('/app'))},
        sources={'web': {'write_key': KEYS['web'], 'destinations': ['hook']},
                 'app': {'write_key': KEYS['app'],
                         'destinations': ['other']}})
    box.install('webhook')
    box.write_config(config)
    host = box.host()
    host.start()
    check(host.admin('POST', '/v1/destinations/hook/pause')[0] == 200,
          'paused')
    host.stop() # what is paused is written for certain
    host.start()
    names = ['e-%d' % i for i in range(EVENTS)]
    send_twice(box, host, list(names))
    again(box, host, list(names))
    other_source(box, host, names[:200])
    inside_a_batch(host)
    reloads(box, host, config)
    delivered_once(host, receiver, names, names[:200])
    code, _ = host.stop()
    check(code == 0, 'the host ends with %d' % code)


run(test, arguments())
