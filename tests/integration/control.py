#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# control.py - what a destination is spared, and what it is promised, over
# processes that are replaced and killed: its declared rate, the order of each
# user's events, quiet after 410, deadlines that say which of them struck.

import collections
import os
import re
import signal

from harness import (Load, Mode, Receiver, arguments, check, children, role,
                     run, say, until)

RATE = 40 # requests a second, and as many at once


def at_most(times, allowed):
    """No window of the times holds more than allowed(its length)."""
    times = sorted(times)
    for i, start in enumerate(times):
        for j in range(i, len(times)):
            n, length = j - i + 1, times[j] - start
            if n > allowed(length):
                return '%d requests in %.3f s' % (n, length)
    return None


def worker_of(host, name):
    for pid in children(host.pid):
        if role(pid) == 'worker ' + name:
            return pid
    return None


def rate(box, host, receiver):
    """Twenty reloads and a kill -9 in a few seconds let no more through than
    the rate and one burst."""
    def configure(n):
        box.write_config(box.config({
            'paced': box.webhook(receiver.url('/paced'), rate='%d/s' % RATE,
                                 ttl='%dm' % (60 + n))}))
    configure(0)
    outcome = host.hangup()
    check(not outcome['refused'], 'refused: %s' % outcome)
    path = receiver.path('/paced')
    load = Load(box.net, host, 1e6, connections=4, batch=50, prefix='p',
                limit=300)
    load.end()
    until(lambda: path.requests > 0, 10, 'it is under way')
    for n in range(1, 21):
        configure(n)
        host.hangup()
        if n == 10:
            pid = worker_of(host, 'webhook')
            os.kill(pid, signal.SIGKILL)
            until(lambda: worker_of(host, 'webhook') not in (None, pid), 10,
                  'another worker is there')
    # And all of it at once: what is left of the rate is in state.db.
    host.kill_tree()
    host.start()
    until(lambda: all(i in path.delivered for i in load.acknowledged), 60,
          lambda: '%d of %d arrive' % (len(path.delivered),
                                       len(load.acknowledged)))
    # Requests are counted where they arrive, a little later or sooner than
    # they left.
    wrong = at_most(path.times, lambda t: RATE + RATE * (t + 0.25) + 1)
    check(not wrong, 'the rate was passed: %s' % wrong)
    took = path.times[-1] - path.times[0]
    say('%d requests in %.1f s over 20 reloads and two kills, at %d/s' %
        (len(path.times), took, RATE))


class InOrder:
    """Watches a path: events of a user one at a time, and in their order."""

    def __init__(self, path):
        self.path, self.done = path, collections.defaultdict(int)
        self.wrong = None

    def look(self):
        number = re.compile(rb'"user":(\d+),"n":(\d+)')
        for body in self.path.bodies:
            for user, n in number.findall(body):
                user, n = int(user), int(n)
                if n > self.done[user] + 1:
                    self.wrong = 'event %d of user %d after %d' % (
                        n, user, self.done[user])
                self.done[user] = max(self.done[user], n)


def order(box, host, receiver):
    """Each user's events in order while answers fail and workers die. A
    receiver that fails an event sees it again before any later one."""
    path = receiver.path('/ordered')
    path.mode = Mode(status=503, chance=0.2)
    path.bodies = Everything()
    box.write_config(box.config({
        'ordered': box.webhook(receiver.url('/ordered'), order='user',
                               retry_rate='1000/s')}))
    outcome = host.hangup()
    check(not outcome['refused'], 'refused: %s' % outcome)
    users, each = 12, 15
    sent = []
    for n in range(1, each + 1):
        batch = []
        for u in range(users):
            batch.append({'type': 'track', 'event': 'E', 'userId': 'u%d' % u,
                          'messageId': 'o-%d-%d' % (u, n),
                          'properties': {'user': u, 'n': n}})
            sent.append(batch[-1]['messageId'])
        status, answer = host.ingest('/v1/batch', {'batch': batch})
        check(status == 200, 'batch: %d %s' % (status, answer))
        if n == 5:
            os.kill(worker_of(host, 'webhook'), signal.SIGKILL)
        if n == 10:
            box.put_plugin('webhook', box.plugin_bytes('webhook') + b'order')
            host.hangup()
    until(lambda: all(i in path.delivered for i in sent), 60,
          lambda: '%d of %d arrive' % (len(path.delivered), len(sent)))
    watch = InOrder(path)
    watch.look()
    check(not watch.wrong, 'out of order: %s' % watch.wrong)
    check(all(watch.done[u] == each for u in range(users)), 'some are missing')
    say('%d events of %d users in order, %d requests' %
        (len(sent), users, path.requests))


class Everything(list):
    """Bodies that are all kept, whatever the receiver's limit."""

    def __len__(self):
        return 0


def gone(box, host, receiver):
    """A 410 pauses the webhook, also over a restart, and resume goes on."""
    path = receiver.path('/gone')
    path.mode = Mode(status=410)
    box.write_config(box.config({
        'gone': box.webhook(receiver.url('/gone'))}))
    host.hangup()
    for n in range(5):
        host.ingest('/v1/track', {'event': 'E', 'userId': 'u',
                                  'messageId': 'g-%d' % n})
    until(lambda: host.destination('gone')['state'] == 'paused', 10,
          'it is paused')
    why = host.destination('gone').get('paused_because', '')
    check('410 Gone' in why, 'status says: %r' % why)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)
    host.start()
    until(lambda: host.destination('gone')['state'] == 'paused', 10,
          'it is paused after a restart')
    d = host.destination('gone')
    check('410 Gone' in d['paused_because'],
          'after a restart: %s' % d)
    check(d['dead'] == 0 and d['delivered'] == 0, 'settled: %s' % d)
    path.mode = Mode()
    status, text = host.admin('POST', '/v1/destinations/gone/resume')
    check(status == 200, 'resume: %d %s' % (status, text))
    until(lambda: all('g-%d' % n in path.delivered for n in range(5)), 20,
          'all arrive')
    check('paused_because' not in host.destination('gone'), 'the reason stays')
    say('410: paused, kept over a restart, and delivered after resume')


def deadlines(box, host, receiver):
    path = receiver.path('/mute')
    path.mode = Mode(never=True)
    box.write_config(box.config({
        'mute': box.webhook(receiver.url('/mute'), timeout='20s',
                            first_byte_timeout='200ms')}))
    host.hangup()
    host.ingest('/v1/track', {'event': 'E', 'userId': 'u',
                              'messageId': 'm-1'})
    until(lambda: 'within 200 ms (first_byte_timeout)' in
          (host.destination('mute')['last_error'] or ''), 10,
          lambda: 'the error says which deadline struck: %s' %
          host.destination('mute')['last_error'])
    path.mode = Mode()
    until(lambda: 'm-1' in path.delivered, 20, 'it arrives')
    limit = host.destination('mute')['concurrency_limit']
    check(1 <= limit <= 64, 'concurrency_limit %s' % limit)
    status, text = host.admin('GET', '/metrics')
    check('manifold_concurrency_limit{destination="mute"}' in text,
          'no metric of the limit')


def test(box):
    receiver = Receiver(box.net)
    box.install('webhook')
    box.write_config(box.config({'first': box.webhook(receiver.url('/first'))}))
    host = box.host()
    host.start()
    rate(box, host, receiver)
    order(box, host, receiver)
    gone(box, host, receiver)
    deadlines(box, host, receiver)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


if __name__ == '__main__':
    run(test, arguments())
