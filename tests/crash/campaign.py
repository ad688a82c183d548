# SPDX-License-Identifier: Apache-2.0
#
# campaign.py - what the campaigns have in common: a host with
# manifold-faults.so preloaded, a load and receivers written in C (`manifold
# chaos load` and `sink`), and books kept outside of the host (host/cli/tally.h)
# by which it is judged. Each campaign is a command with its sizes as options;
# its smoke in ctest takes seconds and can fail in the same ways.

import json
import mmap
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'integration'))

from harness import (Host, arguments, check, children, ingest_threads, role,
                     run, say, until)

__all__ = ['Campaign', 'arguments', 'check', 'children', 'percentile', 'role',
           'rss', 'run', 'say', 'until']

KEY = 'chaos'

# host/faults/page.h: the number of each word.
PAGE = {name: i for i, name in enumerate(
    'magic device full sync_fails write_fails short_writes sync_delay_us '
    'wall_ms rate base_ns base_wall_ns lock operations done_enospc done_eio '
    'done_short done_delays mono_ms'.split())}
PAGE_MAGIC = 0x31544c5541464d4d

# host/cli/tally.h
TALLY = {name: i for i, name in enumerate(
    'magic ids made acked busy without_retry refused broken last_ack'
    .split())}
BUCKETS = 512
PATH_AT = 8 * (len(TALLY) + BUCKETS)
PATH_BYTES = 32 + 8 * (8 + BUCKETS)
PATH = {name: 32 + 8 * i for i, name in enumerate(
    'mode status delay_ms retry_after requests delivered last gap latency'
    .split())}
MODES = {name: i for i, name in enumerate(
    'ok dead slow status garbage half reset'.split())}


class Words:
    """A mapped file of 8-byte words."""

    def __init__(self, path):
        with open(path, 'r+b') as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def get(self, at):
        return struct.unpack_from('<Q', self.map, at)[0]

    def put(self, at, value):
        struct.pack_into('<q' if value < 0 else '<Q', self.map, at, value)

    def many(self, at, n):
        return struct.unpack_from('<%dQ' % n, self.map, at)


class Page(Words):
    def __init__(self, path, device):
        with open(path, 'wb') as f:
            f.write(bytes(4096))
        super().__init__(path)
        self['device'] = device
        self['base_ns'] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self['base_wall_ns'] = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self['magic'] = PAGE_MAGIC

    def __getitem__(self, name):
        return self.get(8 * PAGE[name])

    def __setitem__(self, name, value):
        self.put(8 * PAGE[name], value)


class Path:
    def __init__(self, tally, index):
        self.tally, self.at = tally, PATH_AT + index * PATH_BYTES

    def __getitem__(self, name):
        return self.tally.get(self.at + PATH[name])

    def __setitem__(self, name, value):
        self.tally.put(self.at + PATH[name], value)

    def behave(self, mode, status=503, delay_ms=0, retry_after=0):
        self['status'], self['delay_ms'] = status, delay_ms
        self['retry_after'] = retry_after
        self['mode'] = MODES[mode]

    def times(self):
        return self.tally.many(self.at + PATH['latency'], BUCKETS)


class Tally(Words):
    def __getitem__(self, name):
        return self.get(8 * TALLY[name])

    def answers(self):
        return self.many(8 * len(TALLY), BUCKETS)


def percentile(after, p, before=None):
    """Milliseconds that a part p of the durations did not exceed."""
    n = [a - b for a, b in zip(after, before or [0] * BUCKETS)]
    upto, want = 0, p * sum(n)
    for i, k in enumerate(n):
        upto += k
        if upto and upto >= want:
            if i < 8:
                return i / 1e6
            return (1 << (i // 8 - 1)) * (8.5 + i % 8) / 1e6
    return 0.0


def rss(pid):
    """Resident bytes of a process."""
    with open('/proc/%d/statm' % pid) as f:
        return int(f.read().split()[1]) * 4096


def free_port():
    """Below those the kernel gives to clients: a host that was killed must
    find its port free again."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue


class Campaign:
    """The box, with what a campaign adds to it."""

    def __init__(self, box, ids=20000000, rate=0):
        self.box = box
        # Pages of what the host writes; not a file system in memory.
        self.library = os.path.join(os.path.dirname(box.built),
                                    'manifold-faults.so')
        self.tally_path = os.path.join(box.dir, 'tally')
        self.page_path = os.path.join(box.dir, 'faults')
        self.page = Page(self.page_path, os.stat(box.dir).st_dev)
        self.page['rate'] = rate
        self.tool('tally', '--make', str(ids), self.tally_path)
        self.tally = Tally(self.tally_path)
        self.ingest, self.sink_port = free_port(), free_port()
        self.names = []
        self.environment = {}
        plain = box.environment
        box.environment = lambda: self.with_faults(plain())
        self.sink = subprocess.Popen(
            [box.manifold, 'chaos', 'sink', self.tally_path,
             str(self.sink_port)], env=plain())
        box.processes.append(self.sink)
        self.plain = plain

    def with_faults(self, env):
        env.update(LD_PRELOAD=self.library, MANIFOLD_FAULTS=self.page_path,
                   ASAN_OPTIONS=env.get('ASAN_OPTIONS', '') +
                   ':verify_asan_link_order=0')
        env.update(self.environment)
        return env

    def tool(self, *words, ok=(0,)):
        p = subprocess.run([self.box.manifold, 'chaos', *words],
                           stdout=subprocess.PIPE, text=True)
        check(p.returncode in ok, 'chaos %s: exit %d' %
              (words[0], p.returncode))
        return p.stdout

    def path(self, name):
        if name not in self.names:
            self.names.append(name)
            p = Path(self.tally, len(self.names) - 1)
            self.tally.map[p.at:p.at + len(name)] = name.encode()
        return Path(self.tally, self.names.index(name))

    def hook(self, name, **more):
        self.path(name)
        return self.box.webhook('http://127.0.0.1:%d/%s' %
                                (self.sink_port, name), **more)

    def config(self, destinations, **more):
        c = self.box.config(destinations, **more)
        c['ingest'] = dict(ingest_threads(),
                           listen=['127.0.0.1:%d' % self.ingest],
                           **more.get('ingest', {}))
        c['sources']['web']['write_key'] = KEY
        self.box.write_config(c)

    def host(self):
        return self.box.host()

    def load(self, *words):
        p = subprocess.Popen(
            [self.box.manifold, 'chaos', 'load', *map(str, words),
             self.tally_path, '127.0.0.1:%d' % self.ingest],
            stdout=subprocess.PIPE, text=True, env=self.plain())
        self.box.processes.append(p)
        return p

    def end(self, load, stop=True, seconds=600):
        if stop:
            load.terminate()
        out, _ = load.communicate(timeout=seconds)
        check(load.returncode == 0, 'the load ended with %d' %
              load.returncode)
        return json.loads(out)

    def verdict(self):
        """What the books say: {'missing': ..., 'paths': {name: ...}}."""
        v = json.loads(self.tool('tally', self.tally_path, ok=(0, 1)))
        v['paths'] = {p['name']: p for p in v['paths']}
        v['missing'] = sum(p['missing'] for p in v['paths'].values())
        return v

    def move_on(self, ms):
        """Both clocks jump, so that nothing waits for its next attempt."""
        self.page['wall_ms'] += ms
        self.page['mono_ms'] += ms

    def all_arrive(self, seconds, jump_ms=0):
        """jump_ms: the clocks move on so far every few seconds."""
        last = [time.monotonic()]

        def arrived():
            if jump_ms and time.monotonic() - last[0] > 3:
                self.move_on(jump_ms)
                last[0] = time.monotonic()
            return self.verdict()['missing'] == 0
        until(arrived, seconds, lambda: 'all arrive: %s' % self.verdict(),
              every=0.2)
        return self.verdict()

    def settled(self, host, seconds=60):
        """Nothing is pending, and each lane's numbers add up."""
        def right():
            return all(d['accepted'] == d['delivered'] + d['filtered'] +
                       d['dead'] and not d['pending']
                       for d in host.status()['destinations'])
        until(right, seconds, lambda: 'all is settled: %s' %
              [(d['name'], d['accepted'], d['delivered'], d['dead'],
                d['pending']) for d in host.status()['destinations']])

    def audit(self):
        p = self.box.command('audit', timeout=600)
        check(p.returncode == 0, 'the audit finds a difference:\n%s%s' %
              (p.stdout, p.stderr))
        say('audit: no difference')

    def close_up(self, host, seconds=120, jump_ms=0):
        """The end of every campaign: all arrives, all is settled, the books
        agree with the journal, and with the tally."""
        v = self.all_arrive(seconds, jump_ms)
        self.settled(host)
        check(v['refused'] == 0, 'events were refused for ever: %s' % v)
        check(v['busy_without_retry_after'] == 0,
              'refusals without Retry-After: %s' % v)
        self.audit()
        return v
