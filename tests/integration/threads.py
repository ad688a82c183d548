#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# threads.py - ingest with several threads: all of them work, a copy that
# another thread took is a duplicate, counters are sums, the configuration
# reaches each of them, an address in use is told, another number of threads
# waits for a restart; then kill -9 of ingest, reloads and a stop, all under
# load, and nothing is lost.

import asyncio
import base64
import json
import os
import signal
import subprocess

from harness import (Load, Receiver, alive, arguments, check, children, role,
                     run, say, until)

THREADS = 4
CONNECTIONS = 64 # so that no thread is without by chance
EVENTS = 50       # that all connections send


def ingest_pid(host):
    return until(lambda: [p for p in children(host.pid)
                          if role(p) == 'ingest ingest'], 10,
                 'there is an ingest')[0]


def run_times(pid):
    """Nanoseconds that each loop has run for, by the thread's name."""
    times = {}
    for tid in os.listdir('/proc/%d/task' % pid):
        base = '/proc/%d/task/%s/' % (pid, tid)
        with open(base + 'comm') as f:
            name = f.read().strip()
        with open(base + 'schedstat') as f:
            ran = int(f.read().split()[0])
        if name.startswith('loop ') or int(tid) == pid:
            times[name] = ran
    return times


class Chorus:
    """Connections that send the same events at the same time, each on its
    own; the answers by status."""

    def __init__(self, box, host, key='integration-key'):
        self.box = box
        self.host = host
        auth = base64.b64encode((key + ':').encode()).decode()
        self.head = ('POST /v1/track HTTP/1.1\r\nHost: t\r\n'
                     'Authorization: Basic %s\r\nContent-Length: %%d\r\n\r\n' %
                     auth)

    def sing(self, names):
        return self.box.net.run(self.all(names), 60)

    async def all(self, names):
        address, port = self.host.addresses['ingest'][0].rsplit(':', 1)
        streams = [await asyncio.open_connection(address, int(port))
                   for _ in range(CONNECTIONS)]
        answers = await asyncio.gather(*[self.one(s, names) for s in streams])
        for _, writer in streams:
            writer.close()
        return [a for part in answers for a in part]

    async def one(self, stream, names):
        reader, writer = stream
        statuses = []
        for name in names:
            body = json.dumps({'userId': 'u', 'event': 'E', 'messageId': name})
            writer.write((self.head % len(body) + body).encode())
            head = await reader.readuntil(b'\r\n\r\n')
            length = int(head.lower().split(b'content-length: ')[1]
                         .split(b'\r')[0])
            await reader.readexactly(length)
            statuses.append(int(head.split()[1]))
        return statuses


def source(host, name):
    ingest = host.status()['ingest']
    return next(s for s in ingest['sources'] if s['name'] == name)


def all_work(box, host):
    pid = ingest_pid(host)
    before = run_times(pid)
    check(len(before) == THREADS, 'the loops are %s' % sorted(before))
    until(lambda: host.status()['ingest'], 10, 'ingest tells what it does')
    check(host.status()['ingest']['threads'] == THREADS,
          'status tells the threads')
    names = ['copy-%d' % i for i in range(EVENTS)]
    answers = Chorus(box, host).sing(names)
    check(set(answers) == {200}, 'all copies are answered with 200')
    after = run_times(pid)
    idle = [n for n in before if after[n] == before[n]]
    check(not idle, 'these loops did nothing: %s' % idle)

    def counted():
        s = source(host, 'web')
        return (s['received'] == len(names) and
                s['duplicates'] == len(names) * (CONNECTIONS - 1))
    until(counted, 10, lambda: 'one of each is stored: %s' %
          source(host, 'web'))
    until(lambda: host.status()['ingest']['connections'] == 0, 10,
          'the connections are gone')
    say('%d copies of each of %d events over %d threads: one of each stored' %
        (CONNECTIONS, len(names), THREADS))


def in_use(box, host, config):
    """The addresses are taken, though ingest shares them among sockets."""
    other = json.loads(json.dumps(config))
    other['ingest']['listen'] = [host.addresses['ingest'][0]]
    other['data_dir'] = os.path.join(box.dir, 'other')
    for threads in (1, THREADS):
        other['ingest']['threads'] = threads
        path = os.path.join(box.dir, 'other.json')
        with open(path, 'w') as f:
            json.dump(other, f)
        p = subprocess.run([box.manifold, 'run', '-c', path], timeout=60,
                           capture_output=True, text=True,
                           env=box.environment())
        check(p.returncode == 1 and 'cannot be listened on' in p.stderr,
              'a second server on the address ends with %d: %s' %
              (p.returncode, p.stderr))
    say('a second server cannot listen there, with 1 and with %d threads' %
        THREADS)


def reconfigured(box, host, config):
    """Each thread knows the new key, and none the old one."""
    config['sources']['web']['write_key'] = 'another'
    box.write_config(config)
    host.hangup()
    new, old = Chorus(box, host, 'another'), Chorus(box, host)
    until(lambda: set(new.sing(['k'])) == {200} and
          set(old.sing(['k'])) == {400}, 10, 'all threads have the new key')
    config['sources']['web']['write_key'] = 'integration-key'
    config['ingest']['threads'] = THREADS + 1
    box.write_config(config)
    lines = host.hangup()['changes']
    check(any(l['name'] == 'ingest' and l['change'] == 'refused' and
              'restart' in l['why'] for l in lines),
          'another number of threads is told: %s' % lines)
    until(lambda: set(old.sing(['k'])) == {200}, 10, 'the key is back')
    check(len(run_times(ingest_pid(host))) == THREADS, 'the threads stay')
    config['ingest']['threads'] = THREADS
    box.write_config(config)
    say('a reload reaches all threads; their number stays')


def under_load(box, host, receiver, args):
    load = Load(box.net, host, args.rate, connections=32, batch=2)
    web = receiver.path('/web')
    for i in range(args.kills):
        pid = ingest_pid(host)
        seen = len(load.acknowledged)
        until(lambda: len(load.acknowledged) > seen + args.rate / 4, 20,
              'events are accepted')
        host.hangup()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), 10, 'ingest is gone')
    seen = len(load.acknowledged)
    until(lambda: len(load.acknowledged) > seen + args.rate / 4, 20,
          'events are accepted again')
    host.hangup()
    code, took = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    host.start()
    seen = len(load.acknowledged)
    until(lambda: len(load.acknowledged) > seen + args.rate / 4, 20,
          'events are accepted after a restart')
    load.stop()
    check(not load.refused, 'something was refused: %s' % load.refused)
    until(lambda: not [i for i in load.acknowledged
                       if i not in web.delivered], 60,
          'all that was acknowledged arrives')
    until(lambda: all(not d['pending']
                      for d in host.status()['destinations']), 30,
          'nothing is pending')
    a = box.audit()
    say('%d events over %d kills of ingest, reloads and a stop of %.2f s; '
        'longest answer %.2f s; the audit finds %d of difference' %
        (len(load.acknowledged), args.kills, took, load.slowest,
         a['difference']))


def test(box):
    receiver = Receiver(box.net)
    box.install('webhook')
    config = box.config({'hook': box.webhook(receiver.url('/web'))})
    config['ingest']['threads'] = THREADS
    box.write_config(config)
    host = box.host()
    host.start()
    all_work(box, host)
    in_use(box, host, config)
    reconfigured(box, host, config)
    under_load(box, host, receiver, box.args)
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)


def add(parser):
    parser.add_argument('--rate', type=float, default=300)
    parser.add_argument('--kills', type=int, default=3)


if __name__ == '__main__':
    run(test, arguments(add))
