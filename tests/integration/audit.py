#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# audit.py - the books add up, and it is seen when they do not. A host with
# everything in it: delivered, filtered, dead and waiting events of two
# sources, read by lanes that began at different times, killed in the middle
# of it; the audit beside it and after its death shows no difference. Then the
# books are damaged on purpose, one thing at a time, and each time the audit
# must fail and say what is wrong and where.

import json
import os
import shutil
import sqlite3
import struct
import time

from harness import (Load, Mode, Receiver, arguments, check, run,
                     say, until)

APP_KEY = 'app-key'
HEADER, BLOCK = 32, 32


def configuration(box, receiver, more=()):
    d = {'good': box.webhook(receiver.url('/good')),
         'picky': box.webhook(receiver.url('/picky')),
         'ill': box.webhook(receiver.url('/ill'))}
    d['picky']['subscriptions'][0]['subscribe'] = 'event = "Other"'
    d['bad'] = box.webhook(receiver.url('/bad'))
    d['brief'] = box.webhook(receiver.url('/brief'), ttl='1s')
    for name in more:
        d[name] = box.webhook(receiver.url('/' + name))
    c = box.config(d)
    c['sources']['app'] = {'write_key': APP_KEY, 'destinations': ['good']}
    return c


# ---- damage ----------------------------------------------------------------

def blocks(data):
    """[(where, lane, whole block)] of a segment of the outcome log."""
    at, found = HEADER, []
    while at < len(data):
        length, lane = struct.unpack_from('<II', data, at + 8)
        found.append((at, lane, data[at:at + BLOCK + length]))
        at += BLOCK + length
    check(at == len(data), 'the segment ends within a block')
    return found


class Copy:
    """A copy of the data directory, to be damaged."""

    def __init__(self, box, number):
        self.box = box
        self.dir = os.path.join(box.dir, 'copy%d' % number)
        shutil.copytree(box.data, self.dir)
        self.db = sqlite3.connect(os.path.join(self.dir, 'state.db'))

    def lane(self, destination, source='web'):
        return self.db.execute(
            'SELECT l.id FROM lane l JOIN source s ON s.id = l.source '
            'WHERE destination = ? AND s.name = ?',
            (destination, source)).fetchone()[0]

    def change(self, sql, *values):
        n = self.db.execute(sql, values).rowcount
        check(n > 0, 'nothing was changed by ' + sql)
        self.db.commit()

    def newest(self):
        n = self.db.execute('SELECT max(n) FROM outcome_segment').fetchone()[0]
        return n, os.path.join(self.dir, 'outcomes', '%010d.log' % n)

    def rewrite(self, change):
        """The newest segment as change(bytes) makes it, with its length."""
        n, path = self.newest()
        length = self.db.execute('SELECT bytes FROM outcome_segment WHERE '
                                 'n = ?', (n,)).fetchone()[0]
        with open(path, 'rb') as f:
            data = change(f.read()[:length])
        with open(path, 'wb') as f:
            f.write(data)
        self.change('UPDATE outcome_segment SET bytes = ? WHERE n = ?',
                    len(data), n)

    def audit(self):
        self.db.close()
        return self.box.audit(1, data=self.dir)


def pick(data, lane):
    found = [b for b in blocks(data) if b[1] == lane]
    check(found, 'no block of lane %d' % lane)
    return found[len(found) // 2]


def drop_block(copy):
    lane = copy.lane('good')

    def change(data):
        at, _, block = pick(data, lane)
        return data[:at] + data[at + len(block):]
    copy.rewrite(change)


def double_block(copy):
    lane = copy.lane('good')

    def change(data):
        at, _, block = pick(data, lane)
        return data[:at] + block + data[at:]
    copy.rewrite(change)


def flip_bit(copy):
    lane = copy.lane('good')

    def change(data):
        at = pick(data, lane)[0] + BLOCK + 1
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
    copy.rewrite(change)


def cut_log(copy):
    os.truncate(copy.newest()[1], HEADER + 10)


def remove_log(copy):
    os.unlink(copy.newest()[1])


def counter(column):
    def damage(copy):
        copy.change('UPDATE lane SET %s = %s + 1 WHERE id = ?' %
                    (column, column), copy.lane('good'))
    return damage


def cursor(step):
    def damage(copy):
        copy.change('UPDATE lane SET seq = seq + ? WHERE id = ?', step,
                    copy.lane('good'))
    return damage


def all_cursors(copy):
    copy.change('UPDATE lane SET seq = seq + 1000')


def late_cursor(copy):
    """As if the lane had begun earlier than it did."""
    copy.change('UPDATE lane SET start = start - 10 WHERE id = ?',
                copy.lane('late'))


def start_later(copy):
    copy.change('UPDATE lane SET start = seq WHERE id = ?', copy.lane('good'))


def remove_retry(copy):
    lane = copy.lane('ill')
    copy.change('DELETE FROM retry WHERE lane = ?1 AND seq = '
                '(SELECT min(seq) FROM retry WHERE lane = ?1)', lane)


def add_pending(copy):
    """An event that was delivered is listed as open."""
    lane = copy.lane('good')
    seq = copy.db.execute('SELECT seq FROM lane WHERE id = ?',
                          (lane,)).fetchone()[0]
    n = copy.db.execute('SELECT count(*) FROM retry WHERE lane = ?',
                        (lane,)).fetchone()[0]
    check(n == 0, 'the lane has retries')
    copy.change('UPDATE lane SET pending = ?, delivered = delivered - 1 '
                'WHERE id = ?', struct.pack('<QQQ', seq - 1, 0, 0), lane)


def other_source(copy):
    """The lane's records are of events that are not its own."""
    copy.change('UPDATE lane SET source = (SELECT id FROM source WHERE '
                'name = "app"), destination = "x" WHERE id = ?',
                copy.lane('good'))


DAMAGE = (
    ('a delivered too many', counter('delivered'), 'counter says', 'good'),
    ('a filtered too many', counter('filtered'), 'counter says', 'good'),
    ('a dead too many', counter('dead'), 'counter says', 'good'),
    ('a lost too many', counter('lost'), 'counter says', 'good'),
    ('an accepted too many', counter('accepted'), 'it accepted', 'good'),
    ('a block dropped', drop_block, 'neither ended nor is pending', 'good'),
    ('a block twice', double_block, 'ended twice', 'good'),
    ('a bit flipped', flip_bit, 'are damaged', None),
    ('the log cut', cut_log, 'is shorter than', None),
    ('the log removed', remove_log, 'is not there', None),
    ('the cursor ahead', cursor(1), 'journal ends before it', 'good'),
    ('all cursors ahead', all_cursors, 'journal ends before it', 'late'),
    ('a cursor of the past', late_cursor, 'neither ended nor is pending',
     'late'),
    ('the cursor back', cursor(-1), 'has not read it', 'good'),
    ('a later start', start_later, 'the lane begins only at', 'good'),
    ('a retry removed', remove_retry, 'neither ended nor is pending', 'ill'),
    ('a pending one that ended', add_pending, 'is listed as pending',
     'good'),
    ('another source', other_source, 'is no event of source', 'x'),
)


def damaged(box):
    for i, (name, damage, words, lane) in enumerate(DAMAGE):
        copy = Copy(box, i)
        damage(copy)
        a = copy.audit()
        found = [f for f in a['faults'] if words in f['what'] and
                 (lane is None or f.get('destination') == lane)]
        check(found, '%s: nobody says "%s": %s' %
              (name, words, json.dumps(a['faults'][:10], indent=1)))
        check(a['difference'] >= 1, 'a difference of %d' % a['difference'])
        say('%-24s difference %-4d %s' % (name, a['difference'],
                                          found[0]['what'][:70]))
        shutil.rmtree(copy.dir)


# ---- the books as they are ---------------------------------------------------

def settled(host, names):
    by = {d['name']: d for d in host.status()['destinations']}
    return all(by[n]['pending'] == 0 for n in names)


def as_sent(box, host):
    """The lanes, when they show what was sent: at least that, for what was
    not acknowledged before a kill was sent again."""
    lanes = box.audit()['lanes']
    by = {(l['source'], l['destination']): l for l in lanes}
    good = by['web', 'good']
    return (good['accepted'] >= 4050 and
            good['delivered'] == good['accepted'] and
            by['app', 'good']['delivered'] >= 1000 and
            by['web', 'picky']['filtered'] == good['accepted'] and
            by['web', 'bad']['dead'] > 100 and
            by['web', 'bad']['pending'] == 0 and
            by['web', 'ill']['pending'] > 0 and
            host.destination('ill')['waiting_retries'] > 0 and
            0 < by['web', 'late']['delivered'] < good['accepted'] and
            lanes)


def let_lapse(box, host):
    """Events that outlive their ttl in a lane that lags become one range, no
    letters."""
    before = host.destination('brief')
    host.admin('POST', '/v1/destinations/brief/pause', '{}')
    Load(box.net, host, 400, prefix='l', limit=50).end()
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.1, 5, 'they are too old')
    host.admin('POST', '/v1/destinations/brief/resume', '{}')
    until(lambda: host.destination('brief')['pending'] == 0, 20,
          'none of them is pending')
    after = host.destination('brief')
    d = host.get('/v1/destinations/brief/dead')
    check(after['dead'] - before['dead'] == 50 and
          after['dead_reasons']['expired'] >= 50 and
          not d['dead'] and d['ranges'] and
          d['ranges'][0]['reason'] == 'expired' and
          sum(r['count'] for r in d['ranges']) == after['dead'],
          'not ranges: %s %s' % (after, d))


def test(box):
    receiver = Receiver(box.net)
    receiver.path('/ill').mode = Mode(503, chance=0.3)
    receiver.path('/bad').mode = Mode(400, chance=0.3)
    box.install('webhook')
    box.write_config(configuration(box, receiver))
    host = box.host()
    host.start()
    web = Load(box.net, host, 800, batch=4, prefix='w', limit=4000)
    app = Load(box.net, host, 200, prefix='a', key=APP_KEY, limit=1000)
    until(lambda: len(web.acknowledged) > 1000, 20, 'the load is under way')
    box.audit()
    box.write_config(configuration(box, receiver, ['late']))
    host.hangup()
    for _ in range(2):
        n = len(web.acknowledged)
        until(lambda: len(web.acknowledged) > n + 400, 20, 'it goes on')
        box.audit() # beside it
        host.kill_tree()
        box.audit()
        host.start()
    web.end()
    app.end()
    until(lambda: settled(host, ['good', 'picky', 'bad', 'late']), 30,
          'all is settled but what is tried again')
    receiver.path('/ill').mode = Mode(503)
    Load(box.net, host, 400, prefix='z', limit=50).end()
    lanes = until(lambda: as_sent(box, host), 30,
                  'the lanes are as they were sent')
    say(json.dumps(lanes))
    let_lapse(box, host)
    until(lambda: {l['destination']: l for l in box.audit()['lanes']}
          ['brief']['dead'] >= 50, 10, 'state.db knows of it')
    host.kill_tree()
    box.audit()
    damaged(box)


if __name__ == '__main__':
    run(test, arguments())
