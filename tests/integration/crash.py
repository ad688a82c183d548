#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# crash.py - kill -9 under load. Of one worker: its neighbour goes on without
# a pause and the killed one's events arrive. Of the whole tree, again and
# again at random moments: every event that was acknowledged arrives.

import json
import random
import os
import signal
import time

from harness import (Load, Mode, Receiver, alive, arguments, check, children,
                     role, run, say, until)

PATHS = ('/a', '/b', '/c')
GAP_ALLOWED = 1.0 # seconds without a request to the neighbour


def missing(load, path):
    return [i for i in load.acknowledged if i not in path.delivered]


def all_arrived(load, receiver, names):
    def arrived():
        return not any(missing(load, receiver.path(n)) for n in names)
    until(arrived, 60, lambda: 'all arrive; missing: %s' % {
        n: (len(missing(load, receiver.path(n))),
            sorted(missing(load, receiver.path(n)))[:5]) for n in names})


def extra(load, path):
    """Deliveries beyond the first of an event."""
    return sum(path.delivered[i] - 1 for i in path.delivered)


def conserved(host):
    def right():
        return all(d['accepted'] == d['delivered'] + d['filtered'] +
                   d['dead'] + d['pending'] and not d['pending'] and
                   not d['dead'] for d in host.status()['destinations'])
    until(right, 30, lambda: 'nothing is pending, dead or unaccounted: %s' %
          json.dumps(host.status()['destinations'], indent=1))


def kill_worker(box, host, receiver, args):
    load = Load(box.net, host, args.rate, prefix='w')
    until(lambda: len(receiver.path('/a').delivered) > args.rate / 4, 20,
          'the load is under way')
    began = time.monotonic()
    for name in 'acac':
        path = receiver.path('/' + name)
        pid = host.destination(name)['worker_pid']
        check(role(pid).startswith('worker webhook'), 'worker %d is %s' %
              (pid, role(pid)))
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: host.destination(name)['worker_pid'] not in (0, pid),
              10, 'the killed worker is started again')
        seen = path.requests
        until(lambda: path.requests > seen + args.rate / 4, 20,
              'it delivers again')
        say('worker of %s killed; %d requests more after %.2f s' %
            (name, args.rate / 4, time.monotonic() - killed))
    end = time.monotonic()
    load.stop()
    all_arrived(load, receiver, PATHS)
    gap = receiver.path('/b').largest_gap(began, end)
    say('worker: %d events; neighbour: largest gap %.0f ms, %d extra; '
        'killed one: largest gap %.0f ms, %d extra' %
        (len(load.acknowledged), gap * 1000,
         extra(load, receiver.path('/b')),
         receiver.path('/a').largest_gap(began, end) * 1000,
         extra(load, receiver.path('/a'))))
    check(gap < GAP_ALLOWED, 'the neighbour paused for %.2f s' % gap)
    check(extra(load, receiver.path('/b')) == 0,
          'the neighbour delivered something twice')
    check(not load.refused and not load.broken,
          'ingest refused or ended connections')
    conserved(host)


def kill_ingest(box, host, receiver, args):
    load = Load(box.net, host, args.rate, prefix='i')
    for _ in range(3):
        pid = until(lambda: [p for p in children(host.pid)
                             if role(p) == 'ingest ingest'], 10,
                    'there is an ingest')[0]
        n = len(load.acknowledged)
        until(lambda: len(load.acknowledged) > n + args.rate / 4, 20,
              'the load is under way')
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), 10, 'ingest is gone')
    n = len(load.acknowledged)
    until(lambda: len(load.acknowledged) > n + args.rate / 4, 20,
          'events are accepted again')
    load.stop()
    all_arrived(load, receiver, PATHS)
    say('ingest: killed three times, %d events, longest answer %.2f s' %
        (len(load.acknowledged), load.slowest))
    check(not load.refused, 'something was refused: %s' % load.refused)


def kill_tree(box, host, receiver, args):
    load = Load(box.net, host, args.rate, batch=4, prefix='t')
    chance = random.Random(args.seed)
    for i in range(args.times):
        if i % 3 == 2: # also while it starts
            host.kill_tree()
            host.start(wait=False)
            time.sleep(chance.uniform(0, 0.4))
        else:
            n = len(load.acknowledged)
            until(lambda: len(load.acknowledged) > n, 20, 'it accepts')
            time.sleep(chance.uniform(0, 1.2))
        host.kill_tree()
        box.audit() # as the killed one left them
        host.start()
    n = len(load.acknowledged)
    until(lambda: len(load.acknowledged) > n, 20, 'it accepts')
    load.stop()
    all_arrived(load, receiver, PATHS)
    say('tree: killed %d times (seed %d), %d events acknowledged, none lost, '
        'extra %s' %
        (args.times + args.times // 3, args.seed, len(load.acknowledged),
         [extra(load, receiver.path(n)) for n in PATHS]))
    conserved(host)


def test(box):
    args = box.args
    receiver = Receiver(box.net)
    box.install('webhook')
    box.write_config(box.config({
        'a': box.webhook(receiver.url('/a'), isolate=True),
        'b': box.webhook(receiver.url('/b'), isolate=True),
        'c': box.webhook(receiver.url('/c'))}))
    receiver.path('/c').mode = Mode(503, chance=0.1) # rows of retries too
    host = box.host()
    host.start()
    kill_worker(box, host, receiver, args)
    kill_ingest(box, host, receiver, args)
    kill_tree(box, host, receiver, args)
    box.audit()
    code, took = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    a = box.audit()
    say('audit: difference %d over %d events' % (a['difference'],
                                                 a['events']))


def more(p):
    p.add_argument('--times', type=int,
                   default=int(os.environ.get('CRASH_TIMES', 5)))
    p.add_argument('--rate', type=float, default=400)
    p.add_argument('--seed', type=int,
                   default=random.SystemRandom().randrange(1 << 30))


if __name__ == '__main__':
    args = arguments(more)
    run(test, args)
