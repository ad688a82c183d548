#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# power.py - the power goes. Every change that a running host makes to a file,
# journal and state.db alike, is recorded in its order (manifold-faults.so);
# then, for many points of that record, the disk is made as a power cut may
# have left it: what was synced is there, what was not is there whole, in some
# of its sectors, or not at all, and of the names a first part. A host is
# started on each, without a hand laid on it: every event that had been
# acknowledged by then arrives, or had arrived before, and the audit agrees.
#
# Answers complaints such as: a buffer that loops for ever after a power reset
# and must be erased by hand (vector#17644), a last record that cannot be read
# and makes every start fail (vector#18336, #16525), a crash between two writes
# that does the same (vector#25570), a segfault on damaged chunks
# (fluent-bit#1950).

import os
import random
import shutil
import struct
import time

from campaign import KEY, Campaign, arguments, check, run, say, until
from harness import MESSAGE_ID, Load, Receiver

CREATE, WRITE, SYNC, SYNC_DIR, TRUNCATE, RENAME, UNLINK = range(1, 8)
SECTOR = 512
RECORD = struct.Struct('<IBBHQQ')


class File:
    """Bytes as they are, by pieces: what is durable, and what is not yet."""

    def __init__(self):
        self.durable = []  # (at, bytes or None for zeros, length), ('cut', n)
        self.pending = []


class Disk:
    """Files and names as a disk has them at one point of the record."""

    def __init__(self, top):
        self.top = top + '/'
        self.now = {}      # path: File, as the processes see it
        self.names = {}    # the same, durable
        self.moves = []    # of names, since the last sync of their directory

    def apply(self, kind, path, at, length, data):
        if kind == RENAME:
            a, b = path.split('\0')
            if a in self.now:
                self.now[b] = self.now.pop(a)
                self.moves.append((a, b, self.now[b]))
            return
        if kind == CREATE:
            if at and path in self.now: # emptied
                self.now[path].pending.append(('cut', 0, 0))
                return
            self.now[path] = File()
            self.moves.append((None, path, self.now[path]))
            return
        if kind == UNLINK:
            if self.now.pop(path, None):
                self.moves.append((path, None, None))
            return
        if kind == SYNC_DIR:
            keep = []
            for m in self.moves:
                if os.path.dirname(m[1] or m[0]) == path:
                    self.settle(m)
                else:
                    keep.append(m)
            self.moves = keep
            return
        f = self.now.get(path)
        if f is None:
            return
        if kind == WRITE:
            f.pending.append((at, data, length))
        elif kind == TRUNCATE:
            f.pending.append(('cut', length, 0))
        elif kind == SYNC:
            f.durable += f.pending
            f.pending = []

    def settle(self, move):
        a, b, f = move
        if a:
            self.names.pop(a, None)
        if b:
            self.names[b] = f

    def cut(self, to, chance):
        """Writes what a power cut now leaves into the directory `to`."""
        names = dict(self.names)
        for a, b, f in self.moves[:chance.randint(0, len(self.moves))]:
            if a:
                names.pop(a, None)
            if b:
                names[b] = f
        for path, f in names.items():
            if not path.startswith(self.top):
                continue
            at = os.path.join(to, path[len(self.top):])
            os.makedirs(os.path.dirname(at), exist_ok=True)
            with open(at, 'wb') as out:
                for piece in f.durable:
                    put(out, piece)
                for piece in f.pending:
                    tear(out, piece, chance)


def put(out, piece):
    at, data, length = piece
    if at == 'cut':
        out.truncate(data)
    elif data is None: # zeros: of old bytes, or a hole
        end = out.seek(0, 2)
        if at < end:
            out.seek(at)
            out.write(bytes(min(length, end - at)))
        if at + length > end:
            out.truncate(at + length)
    else:
        out.seek(at)
        out.write(data)


def tear(out, piece, chance):
    fate = chance.randrange(3)
    if fate == 0:
        return
    at, data, length = piece
    if fate == 1 or at == 'cut' or data is None:
        put(out, piece)
        return
    k = 0
    while k < length:
        n = min(SECTOR - (at + k) % SECTOR, length - k)
        if chance.randrange(2):
            put(out, (at + k, data[k:k + n], n))
        k += n


def records(path):
    with open(path, 'rb') as f:
        while True:
            head = f.read(RECORD.size)
            if len(head) < RECORD.size:
                return
            size, kind, zeros, n, at, length = RECORD.unpack(head)
            rest = f.read(size - RECORD.size)
            yield (kind, rest[:n].decode(), at, length,
                   None if zeros else rest[n:])


class MarkedLoad(Load):
    """Knows how much had been recorded when each event was acknowledged."""

    def __init__(self, page, *rest, **more):
        self.page, self.marks = page, {}
        super().__init__(*rest, **more)

    async def exchange(self, stream, request):
        got = await super().exchange(stream, request)
        if got[0] == 200:
            mark = self.page['operations']
            for i in MESSAGE_ID.findall(request):
                self.marks[i.decode()] = mark
        return got


def arrivals(receiver, page, names):
    """By path: how much had been recorded when each event arrived first."""
    marks = {n: {} for n in names}

    for n in names:
        path = receiver.path('/' + n)
        update = path.delivered.update

        def note(ids, n=n, update=update):
            mark = page['operations']
            for i in ids:
                marks[n].setdefault(i, mark)
            update(ids)
        path.delivered.update = note
    return marks


def record(box, c, args):
    """A life of the host, with a kill in its middle, recorded."""
    receiver = Receiver(box.net)
    names = ['a', 'b']
    marks = arrivals(receiver, c.page, names)
    c.config({n: box.webhook(receiver.url('/' + n), isolate=n == 'b',
                             timeout='2s') for n in names})
    trace = os.path.join(box.dir, 'trace')
    open(trace, 'wb').close()
    os.chmod(trace, 0o666)
    c.environment = {'MANIFOLD_FAULTS_TRACE': trace}
    host = c.host()
    host.start()
    load = MarkedLoad(c.page, box.net, host, args.rate, connections=6,
                      batch=3, prefix='p', key=KEY)
    for life in range(args.lives):
        until(lambda: len(load.marks) > (life + 1) * args.events /
              args.lives, 120, 'the load is under way')
        if life + 1 < args.lives:
            host.stop() # so that ends and starts are in the record too
            host.start()
    load.stop()
    host.stop()
    return trace, load.marks, marks, receiver, names


def judge(box, c, number, disk, done, acked, marks, receiver, names, chance):
    """One power cut after `done` operations."""
    shutil.rmtree(box.data, ignore_errors=True)
    os.makedirs(box.data)
    disk.cut(box.data, chance)
    for top, dirs, files in os.walk(box.data):
        for name in dirs + files:
            if os.geteuid() == 0 and 'journal' in os.path.join(top, name):
                os.chown(os.path.join(top, name), c.child[0], c.child[1])
    want = [i for i, mark in acked if mark <= done]
    seen = {n: dict(receiver.path('/' + n).delivered) for n in names}
    host = c.host()
    host.start()

    def missing():
        return {n: [i for i in want if marks[n].get(i, done + 1) > done and
                    receiver.path('/' + n).delivered[i] <=
                    seen[n].get(i, 0)] for n in names}
    until(lambda: not any(missing().values()), 30, lambda:
          'cut %d after %d operations: missing %s' %
          (number, done, {n: m[:5] for n, m in missing().items()}))
    c.settled(host)
    p = box.command('audit')
    check(p.returncode == 0, 'cut %d after %d operations: %s%s' %
          (number, done, p.stdout, p.stderr))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)
    check(not os.path.exists(os.path.join(box.data, 'journal', 'quarantine')),
          'cut %d after %d operations: something was quarantined' %
          (number, done))
    box.hosts.remove(host)
    return len(want)


def test(box):
    args = box.args
    c = Campaign(box, ids=1000)
    box.install('webhook')
    trace, acked, marks, receiver, names = record(box, c, args)
    st = os.stat(os.path.join(box.data, 'journal'))
    c.child = (st.st_uid, st.st_gid)
    total = sum(1 for _ in records(trace))
    check(total == c.page['operations'], 'the record has %d of %d' %
          (total, c.page['operations']))
    first = min(acked.values())
    chance = random.Random(args.seed)
    points = sorted(chance.randint(first, total) for _ in range(args.points))
    say('%d operations recorded, %d events acknowledged; %d cuts, seed %d' %
        (total, len(acked), args.points, args.seed))
    c.environment = {}
    by_mark = sorted(acked.items(), key=lambda x: x[1])
    disk = Disk(box.data)
    done = number = checked = 0
    began = time.monotonic()
    for r in records(trace):
        disk.apply(*r)
        done += 1
        while number < len(points) and points[number] == done:
            checked += judge(box, c, number, disk, done, by_mark, marks,
                             receiver, names, chance)
            number += 1
            if args.points > 50 and number % 50 == 0:
                say('%d cuts, %.0f s' % (number, time.monotonic() - began))
    check(number == args.points, '%d cuts' % number)
    say('%d cuts, %d acknowledged events looked for, none lost, nothing '
        'mended by hand' % (number, checked))


def more(p):
    p.add_argument('--points', type=int, default=500)
    p.add_argument('--events', type=int, default=3000)
    p.add_argument('--lives', type=int, default=3)
    p.add_argument('--rate', type=float, default=300)
    p.add_argument('--seed', type=int,
                   default=random.SystemRandom().randrange(1 << 30))


if __name__ == '__main__':
    run(test, arguments(more))
