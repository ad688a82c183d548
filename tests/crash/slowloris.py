#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# slowloris.py - thousands of connections that hold a place and do no work,
# beside a steady load of good ones: headers that come byte by byte, bodies and
# gzip bodies that trickle, chunks without end, connections that wait after a
# request. None of the good ones is refused, their answers stay quick, memory
# is bounded by what a connection may hold, and the counters tell of it. Then
# one address alone, which is held to its share; and more slow ones than there
# are places, who must make room for each other before a good one is refused.
#
# The attacker is a process of its own (--attack), on addresses of 127/8, and
# takes a new connection for each that is closed.

import gzip
import json
import os
import random
import resource
import selectors
import socket
import subprocess
import sys
import time

from campaign import BUCKETS, KEY, Campaign, arguments, check, children, \
    percentile, role, rss, run, say, until

KINDS = ('head', 'body', 'chunks', 'gzip', 'idle')
TICK = 1.0              # seconds between two bytes of a connection
OPENS = 8000            # new connections a second, of those that are closed
OPENS_FULL = 1000       # where there are more than places
P99_MS = 50.0
# What a connection may hold while it has sent little: a block for a head, and
# what the server knows of it (host/http/conn.h), rounded up.
CONNECTION_BYTES = 24 << 10
FREE_BYTES = 32 << 20   # of BLOCK_FREE_MAX
CREEP_BYTES = 8 << 20   # between the middle and the end


# ---- the attacker -----------------------------------------------------------

def head(more):
    return ('POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Basic '
            '%s\r\n%s' % (AUTH, more)).encode()


AUTH = 'Y2hhb3M6' # "chaos:"
EVENT = b'{"batch":[{"type":"track","event":"Slow","userId":"u"}]}'


def script(kind):
    """What is sent at once, and what then comes byte by byte."""
    if kind == 'head':
        return b'', head('X-Slow: %s' % ('a' * 10000))
    if kind == 'body':
        return head('Content-Length: 400000\r\n\r\n'), EVENT * 20
    if kind == 'chunks':
        return head('Transfer-Encoding: chunked\r\n\r\n'), b'1\r\n \r\n' * 200
    if kind == 'gzip':
        packed = gzip.compress(EVENT + os.urandom(3000))
        return (head('Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' %
                     len(packed)) + packed[:2000], packed[2000:-1])
    return b'GET /health HTTP/1.1\r\nHost: x\r\n\r\n', b''


class Slow:
    def __init__(self, attack, n):
        self.kind = KINDS[n % len(KINDS)]
        self.source = attack.addresses[n % len(attack.addresses)]
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((self.source, 0))
        self.socket.connect_ex(attack.target)
        self.first, self.rest = script(self.kind)
        self.due = time.monotonic() + random.random() * TICK
        self.heard = b''

    def step(self):
        """Sends what is next; False: nobody is there."""
        data, self.first = self.first, b''
        if not data:
            data, self.rest = self.rest[:1], self.rest[1:]
        try:
            if data:
                self.socket.send(data)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


class Attack:
    def __init__(self, port, connections, addresses, seconds, opens):
        self.opens = opens * TICK / 20
        self.target = ('127.0.0.1', port)
        self.addresses = addresses
        self.connections = connections
        self.end = time.monotonic() + seconds
        self.selector = selectors.DefaultSelector()
        self.open = set()
        self.n = 0
        self.counts = {'opened': 0, 'closed': 0, 'most': 0}
        self.answers = {}

    def add(self):
        s = Slow(self, self.n)
        self.n += 1
        self.open.add(s)
        self.counts['opened'] += 1
        self.selector.register(s.socket, selectors.EVENT_READ, s)

    def drop(self, s):
        if s not in self.open:
            return
        self.open.discard(s)
        self.selector.unregister(s.socket)
        s.socket.close()
        self.counts['closed'] += 1
        status = s.heard[9:12].decode(errors='replace') or 'none'
        self.answers[status] = self.answers.get(status, 0) + 1

    def hear(self, s):
        try:
            data = s.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if data:
            s.heard = (s.heard + data)[:64]
        else:
            self.drop(s)

    def run(self):
        told, again = False, 0
        while time.monotonic() < self.end:
            now = time.monotonic()
            if now >= again:
                again = now + TICK / 20
                for _ in range(min(int(self.opens), self.connections -
                                   len(self.open))):
                    self.add()
            for key, _ in self.selector.select(TICK / 20):
                self.hear(key.data)
            now = time.monotonic()
            for s in [s for s in self.open if s.due <= now]:
                s.due = now + TICK
                if not s.step():
                    self.drop(s)
            self.counts['most'] = max(self.counts['most'], len(self.open))
            if not told and len(self.open) >= self.connections:
                told = True
                print('full', flush=True)
        print(json.dumps(dict(self.counts, answers=self.answers)), flush=True)


def attack(port, connections, addresses, seconds, opens):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Attack(port, connections, addresses, seconds, opens).run()


# ---- the campaign -----------------------------------------------------------

def attacker(box, c, connections, addresses, seconds, opens=OPENS):
    p = subprocess.Popen(
        [sys.executable, '-B', os.path.abspath(__file__), '--attack',
         str(c.ingest), str(connections), ','.join(addresses), str(seconds),
         str(opens)],
        stdout=subprocess.PIPE, text=True)
    box.processes.append(p)
    return p


def ended(p, seconds):
    out, _ = p.communicate(timeout=seconds)
    check(p.returncode == 0, 'the attacker ended with %d' % p.returncode)
    return json.loads(out.splitlines()[-1])


def http(host):
    return host.status()['ingest']['http']


def ingest_pid(host):
    return [p for p in children(host.pid) if 'ingest' in role(p)][0]


def good_ones(c, name, before, busy):
    p99 = percentile(c.tally.answers(), 0.99, before)
    n = sum(c.tally.answers()) - sum(before)
    check(n > 0, '%s: no good request was answered' % name)
    check(c.tally['busy'] == busy and c.tally['refused'] == 0,
          '%s: %d good requests were told to wait, %d refused' %
          (name, c.tally['busy'] - busy, c.tally['refused']))
    say('%s: %d good requests, p50 %.1f ms, p99 %.1f ms' %
        (name, n, percentile(c.tally.answers(), 0.5, before), p99))
    return p99


def many(box, c, host):
    """All kinds, from many addresses."""
    args = box.args
    pid = ingest_pid(host)
    time.sleep(args.quiet)
    calm = good_ones(c, 'before', [0] * BUCKETS, 0)
    before, memory = c.tally.answers(), rss(pid)
    p = attacker(box, c, args.connections,
                 ['127.0.0.%d' % i for i in range(2, 12)], args.seconds)
    check(p.stdout.readline() == 'full\n', 'they do not all get in')
    until(lambda: sum(http(host)['connections'].values()) >=
          args.connections, 20, 'all are open')
    sizes, buffers = [], 0
    while p.poll() is None:
        time.sleep(0.2)
        sizes.append(rss(pid))
        buffers = max(buffers, http(host)['buffer_bytes'])
    middle, end = sizes[len(sizes) // 2], max(sizes)
    got = ended(p, 30)
    p99 = good_ones(c, 'beside %d slow ones' % args.connections, before, 0)
    most = memory + args.connections * CONNECTION_BYTES + FREE_BYTES
    say('ingest: %.1f MiB before, %.1f MiB beside them (at most %.1f); '
        'buffers %.1f MiB; %s' %
        (memory / 2**20, end / 2**20, most / 2**20,
         buffers / 2**20, got))
    check(args.sanitized or end <= most, 'memory is not bounded')
    check(args.sanitized or end <= middle + CREEP_BYTES, 'memory creeps')
    check(args.sanitized or p99 < max(P99_MS, 1.5 * calm),
          'p99 is %.1f ms' % p99)
    told = http(host)
    say('counted: faults %s, closed %s' %
        ({k: n for k, n in told['faults'].items() if n}, told['closed']))
    for kind in ('slow_headers', 'slow_body'):
        check(told['faults'][kind] > 0, 'no %s was counted' % kind)
    check(told['closed']['idle'] > 0, 'no idle one was closed')
    check(told['refused'] == {'full': 0, 'peer': 0}, told['refused'])
    check(set(got['answers']) <= {'408', '200', 'none'},
          'what they were told: %s' % got['answers'])


def calm(c, host):
    """Only the good ones are there."""
    until(lambda: sum(http(host)['connections'].values()) <= c.box.args.good,
          20, lambda: 'the slow ones are gone: %s' % http(host)['connections'])


def alone(box, c, host, config):
    """One address is held to its share, by a reload; others are not."""
    args = box.args
    share = args.connections // 5
    calm(c, host)
    config['ingest']['max_connections_per_peer'] = share
    box.write_config(config)
    host.hangup()
    before, busy = c.tally.answers(), c.tally['busy']
    p = attacker(box, c, args.connections, ['127.0.0.77'], args.alone)
    most = 0
    while p.poll() is None:
        now = sum(http(host)['connections'].values())
        most = max(most, now)
        time.sleep(0.1)
    got = ended(p, 30)
    good_ones(c, 'beside one address', before, busy)
    told = http(host)
    say('one address: %d of %d connections at the most, %d refused' %
        (most, args.connections, told['refused']['peer']))
    check(share <= most <= share + 3 * args.good, 'it had %d' % most)
    check(told['refused']['peer'] > 0 and got['answers'].get('503', 0) > 0,
          'nothing was refused: %s, %s' % (told['refused'], got))


def full(box, c, host, config):
    """Fewer places than slow ones want, and good ones that connect anew."""
    args = box.args
    calm(c, host)
    config['ingest'].update(max_connections=args.connections // 2,
                            max_connections_per_peer=args.connections)
    box.write_config(config)
    host.hangup()
    evicted = http(host)['closed']['evicted_slow']
    p = attacker(box, c, args.connections,
                 ['127.0.0.%d' % i for i in range(2, 12)], args.alone,
                 OPENS_FULL)
    until(lambda: http(host)['closed']['evicted_slow'] > evicted, 30,
          'slow ones make room')
    answers = {}
    while p.poll() is None:
        try:
            s = socket.create_connection(('127.0.0.1', c.ingest), timeout=10)
            s.sendall(b'GET /health HTTP/1.1\r\nHost: x\r\n'
                      b'Connection: close\r\n\r\n')
            status = s.recv(4096)[9:12].decode() or 'none'
            s.close()
        except OSError as e:
            status = type(e).__name__
        answers[status] = answers.get(status, 0) + 1
    got = ended(p, 30)
    told = http(host)
    say('more than there are places: new good ones were told %s; %s; %s' %
        (answers, told['closed'], got))
    check(answers.get('200', 0) >= 0.9 * sum(answers.values()) > 0,
          'good ones are refused: %s' % answers)


def test(box):
    args = box.args
    c = Campaign(box)
    limits = {'header_timeout': '%gs' % args.timeout,
              'idle_timeout': '%gs' % args.timeout}
    c.config({}, ingest=limits)
    with open(box.config_path) as f:
        config = json.load(f)
    host = c.host()
    host.start()
    load = c.load('--rate', args.rate, '--connections', args.good, '--key',
                  KEY)
    until(lambda: c.tally['acked'] > 0, 20, 'the load is under way')
    many(box, c, host)
    alone(box, c, host, config)
    full(box, c, host, config)
    c.end(load)
    # What was under way when the load was told to stop may be there too.
    acked, there = c.tally['acked'], host.status()['journal']['durable']
    check(acked <= there <= c.tally['made'], 'acknowledged %d, the journal '
          'has %d of %d' % (acked, there, c.tally['made']))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def more(p):
    p.add_argument('--connections', type=int, default=5000)
    p.add_argument('--rate', type=int, default=5000, help='good events/s')
    p.add_argument('--good', type=int, default=32, help='good connections')
    p.add_argument('--seconds', type=float, default=60)
    p.add_argument('--alone', type=float, default=15,
                   help='seconds that one address tries')
    p.add_argument('--quiet', type=float, default=5, help='seconds before')
    p.add_argument('--timeout', type=float, default=10,
                   help='seconds for headers, and between requests')
    p.add_argument('--sanitized', action='store_true',
                   help='times and memory are not what they would be')


if __name__ == '__main__':
    if sys.argv[1:2] == ['--attack']:
        attack(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(','),
               float(sys.argv[5]), int(sys.argv[6]))
    else:
        run(test, arguments(more))
