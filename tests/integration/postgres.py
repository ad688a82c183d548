# SPDX-License-Identifier: Apache-2.0
#
# postgres.py - the warehouse on a real PostgreSQL server: tables and columns
# that appear, values that do not fit, rows and tables that the server refuses,
# a server that is full, and one that is killed in the middle; two destinations
# load the same schema at the same time, and every event is there once.
#
# --events N  measures instead: N events of 40 names with growing columns, the
#             server killed twice meanwhile, beside psql's \copy of the rows.

import os
import sys
import time

from harness import (SKIPPED, Load, arguments, check, run, say, until)
import pgserver

STANDARD = {'identifies', 'users', 'groups', 'accounts', 'pages', 'screens',
            'tracks', 'aliases'}


def batch(host, *events):
    status, answer = host.ingest('/v1/batch', {'batch': list(events)})
    check(status == 200 and 'rejected' not in answer,
          'the batch was refused: %s %s' % (status, answer))


def settled(host, n, dead=0, names=('one', 'two'), seconds=60):
    """Each destination has delivered n and given up `dead`."""
    def done():
        return all(d['delivered'] >= n and d['dead'] == dead and
                   d['pending'] == 0
                   for d in map(host.destination, names))
    until(done, seconds, lambda: '%d delivered: %s' %
          (n, [{k: d[k] for k in ('delivered', 'dead', 'pending', 'retries',
                                  'last_error')}
               for d in map(host.destination, names)]))


def columns(pg, table):
    return dict(pg.psql(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'web' AND table_name = '%s'" % table))


def track(name, message, **properties):
    return {'type': 'track', 'event': name, 'messageId': message,
            'userId': 'u-1', 'properties': properties}


def shapes(host, pg):
    batch(host,
          track('Lesson Booked', 's-1', boat='B 12', hours=3, price=40,
                paid=True, day='2026-06-01T10:00:00+02:00',
                crew=['ada', 'bo'], berth={'pier': {'no': 7}}, order='o-1',
                id='mine', none=None, odd='tab\there \\ and\nthere'),
          track('users', 's-2', n=1),
          track('注文', 's-3', n=1),
          {'type': 'identify', 'messageId': 's-4', 'userId': 'u-1',
           'anonymousId': 'a-1', 'traits': {'email': 'ada@k.example',
                                            'plan': 'gold'},
           'context': {'app': {'version': '1.2'}}},
          {'type': 'group', 'messageId': 's-5', 'userId': 'u-1',
           'groupId': 'g-1', 'traits': {'seats': 5}},
          {'type': 'page', 'messageId': 's-6', 'userId': 'u-1',
           'name': 'Home', 'properties': {'url': 'https://k.example/'}},
          {'type': 'screen', 'messageId': 's-7', 'userId': 'u-1',
           'name': 'Start', 'properties': {}},
          {'type': 'alias', 'messageId': 's-8', 'userId': 'u-1',
           'previousId': 'a-1'})
    settled(host, 8)
    tables = {r[0] for r in pg.psql("SELECT table_name FROM "
                                    "information_schema.tables "
                                    "WHERE table_schema = 'web'")}
    check(STANDARD | {'lesson_booked', '_users'} <= tables and
          len(tables) == 11, 'the tables are %s' % sorted(tables))
    got = columns(pg, 'lesson_booked')
    for name, kind in {'hours': 'bigint', 'paid': 'boolean',
                       'day': 'timestamp with time zone',
                       'crew': 'character varying', '_order':
                       'character varying', '_id': 'character varying',
                       'berth_pier_no': 'bigint',
                       'received_at': 'timestamp with time zone'}.items():
        check(got.get(name) == kind, 'column %s is %s' % (name, got.get(name)))
    check('none' not in got, 'a null made a column')
    row = pg.psql("SELECT crew, _order, _id, odd, "
                  "day AT TIME ZONE 'UTC' FROM web.lesson_booked")
    check(row == [['["ada","bo"]', 'o-1', 'mine', 'tab', 'here \\ and'],
                  ['there', '2026-06-01 08:00:00']], 'the row is %s' % row)
    user = pg.psql('SELECT id, email, plan, context_app_version FROM '
                   'web.users')
    check(user == [['u-1', 'ada@k.example', 'gold', '1.2']],
          'the users are %s' % user)
    check('anonymous_id' not in columns(pg, 'users'), 'users of calls')


def encrypted(pg, tls):
    got = pg.value("SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl "
                   "USING (pid) WHERE application_name = 'manifold' AND ssl")
    check(got == ('1' if tls else '0'), '%s connections use TLS' % got)


def growth(host, pg):
    batch(host, track('Lesson Booked', 'g-1', boat='B 13', wind=4.5),
          {'type': 'identify', 'messageId': 'g-2', 'userId': 'u-1',
           'traits': {'plan': 'silver', 'age': 36}},
          {'type': 'group', 'messageId': 'g-3', 'userId': 'u-2',
           'groupId': 'g-1', 'traits': {'town': 'Kiel'}})
    settled(host, 11)
    check(columns(pg, 'lesson_booked').get('wind') == 'double precision',
          'the column did not come')
    check(pg.psql('SELECT id, email, plan, age FROM web.users') ==
          [['u-1', 'ada@k.example', 'silver', '36']], 'users: newest state')
    check(pg.psql('SELECT id, seats, town FROM web.accounts') ==
          [['g-1', '5', 'Kiel']], 'accounts: newest state')


def conflicts(host, pg):
    batch(host, track('Lesson Booked', 'c-1', hours='three', price=12.5,
                      paid='true', boat=17, wind='5'),
          track('Lesson Booked', 'c-2', hours='4', day='soon',
                boat='x' * 600))
    settled(host, 13)
    rows = pg.psql("SELECT hours, price, paid, boat, wind FROM "
                   "web.lesson_booked WHERE id = 'c-1'")
    check(rows == [['', '12', 't', '17', '5']], 'conflicts: %s' % rows)
    rows = pg.psql("SELECT hours, day, length(boat) FROM web.lesson_booked "
                   "WHERE id = 'c-2'")
    check(rows == [['4', '', '512']], 'conflicts: %s' % rows)
    rows = pg.psql('SELECT row_id, table_name, column_name, column_value '
                   'FROM web.manifold_discards ORDER BY id')
    check(rows == [['c-1', 'lesson_booked', 'hours', 'three'],
                   ['c-1', 'lesson_booked', 'price', '12.5'],
                   ['c-2', 'lesson_booked', 'day', 'soon']],
          'kept aside: %s' % rows)
    say('shapes, growing columns, newest states and type conflicts are right')


def refusals(host, pg):
    """What the server refuses is dead alone; what it cannot do now waits."""
    pg.psql('ALTER TABLE web.lesson_booked ADD CHECK (hours <> 13)')
    pg.psql('CREATE VIEW web.broken AS SELECT 1 AS id')
    batch(host, *[track('Lesson Booked', 'r-%d' % i, hours=i)
                  for i in range(20)],
          track('Broken', 'r-20', n=1))
    settled_but(host, 13 + 19, pending=1)
    letters = host.get('/v1/destinations/one/dead')['dead']
    check([d['message_id'] for d in letters] == ['r-13'] and
          letters[0]['result'] == 400 and
          'web.lesson_booked' in letters[0]['error'] and
          'check constraint' in letters[0]['error'],
          'the dead letters are %s' % letters)
    check(pg.value("SELECT count(*) FROM web.lesson_booked "
                   "WHERE id LIKE 'r-%'") == '19', 'the others are there')
    pg.psql('DROP VIEW web.broken')
    pg.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'manifold'")
    settled(host, 13 + 20, dead=1)
    check(pg.value('SELECT count(*) FROM web.broken') == '1', 'it came')
    say('a row that the server refuses is dead alone; a table that cannot be '
        'written holds up its own events and no other')


def half_way(host, pg):
    """One table of several that are new cannot be made: the others are."""
    pg.psql("CREATE FUNCTION web.refuse() RETURNS event_trigger LANGUAGE "
            "plpgsql AS $$BEGIN IF EXISTS (SELECT 1 FROM "
            "pg_event_trigger_ddl_commands() WHERE object_identity = "
            "'web.half_way') THEN RAISE 'not this one'; END IF; END$$; "
            "CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN "
            "('CREATE TABLE') EXECUTE FUNCTION web.refuse()")
    batch(host, track('Early', 'h-1', n=1), track('Half Way', 'h-2', n=1),
          track('Late', 'h-3', n=1))
    settled_but(host, 33 + 2, pending=1)
    check('not this one' in host.destination('one')['last_error'],
          'the reason is told')
    check(pg.value("SELECT count(*) FROM web.early, web.late") == '1',
          'the others are there')
    pg.psql('DROP EVENT TRIGGER refuse')
    settled(host, 33 + 3, dead=1)
    check(pg.value('SELECT count(*) FROM web.half_way') == '1', 'it came')


def settled_but(host, n, pending):
    def done():
        return all(d['delivered'] == n and d['dead'] == 1 and
                   d['pending'] == pending
                   for d in map(host.destination, ('one', 'two')))
    until(done, 60, lambda: '%s' % [host.destination(n)
                                    for n in ('one', 'two')])


def full(host, pg):
    """A full disk on the far side: nothing is dead, all comes later."""
    pg.psql("CREATE FUNCTION web.full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; "
            "END$$; CREATE TRIGGER t BEFORE INSERT ON web.pages "
            "EXECUTE FUNCTION web.full()")
    batch(host, *[{'type': 'page', 'messageId': 'f-%d' % i, 'userId': 'u',
                   'name': 'P'} for i in range(10)])
    until(lambda: 'no room' in host.destination('one')['last_error'], 30,
          'the full disk is told')
    pg.psql('DROP TRIGGER t ON web.pages')
    settled(host, 36 + 10, dead=1)
    check(pg.value("SELECT count(*) FROM web.pages WHERE id LIKE 'f-%'") ==
          '10', 'all pages came')


def killed(host, pg, box):
    """A server that dies under load, and comes back; twice."""
    load = Load(box.net, host, 4000, connections=4, batch=20, limit=6000)
    for _ in range(2):
        start = host.destination('one')['delivered']
        until(lambda: host.destination('one')['delivered'] > start + 200, 30,
              'some are loaded')
        pg.kill()
        time_of_death = host.destination('one')['retries']
        until(lambda: host.destination('one')['retries'] > time_of_death, 30,
              'a load has failed')
        pg.start()
    load.end()
    settled(host, 46 + 6000, dead=1, seconds=90)
    check(len(load.acknowledged) == 6000, '%d were acknowledged' %
          len(load.acknowledged))
    for table in ('tracks', 'tested'):
        got = pg.psql("SELECT count(*), count(DISTINCT id) FROM web.%s "
                      "WHERE id LIKE 'e-%%'" % table)
        check(got == [['6000', '6000']], '%s has %s' % (table, got))
    say('the server was killed twice: 6000 events from two loaders are there '
        'once')


def test(box):
    pg = pgserver.Server(box, ['fsync=off', 'shared_buffers=32MB'])
    try:
        tls = pg.certify()
        pg.start()
        box.install('postgres')
        one = {'plugin': 'postgres', 'batch_wait': '50ms',
               'settings': pg.connection(schema='web')}
        two = dict(one, settings=pg.connection(
            sslMode='require' if tls else 'disable'))
        box.write_config(box.config({'one': one, 'two': two}))
        host = box.host()
        host.start()
        shapes(host, pg)
        encrypted(pg, tls)
        growth(host, pg)
        conflicts(host, pg)
        refusals(host, pg)
        half_way(host, pg)
        full(host, pg)
        killed(host, pg, box)
        check('deadlock' not in pg.log(), 'two loaders waited for each other')
        code, _ = host.stop()
        check(code == 0, 'the host ended with %d' % code)
        box.audit()
    finally:
        pgserver.stop_all(box)


# ---- the long form ----------------------------------------------------------

NAMES = ['Lesson %s %d' % (w, i) for w in ('Booked', 'Held', 'Moved', 'Paid')
         for i in range(10)]


class Lessons(Load):
    """Events of 40 names, whose tables get a column more now and then."""

    def event(self, n):
        grown = n * 10 // self.limit
        return ('{"type":"track","event":"%s","userId":"u-%d",'
                '"messageId":"%s-%d","context":{"app":{"name":"shop",'
                '"version":"1.%d"},"ip":"192.0.2.%d"},"properties":{"n":%d,'
                '"price":%d.25,"paid":%s,"boat":"B %d","at":'
                '"2026-06-01T10:%02d:00Z","note%d":"a note of some length"}}'
                % (NAMES[n % len(NAMES)], n % 9999, self.prefix, n, grown,
                   n % 256, n, n % 500, 'true' if n & 1 else 'false', n % 97,
                   n % 60, grown))


def delivered(host):
    return host.destination('one')['delivered']


def await_delivered(host, n, seconds):
    until(lambda: delivered(host) >= n, seconds,
          lambda: '%d delivered: %s' % (n, host.destination('one')), 0.1)


def copy_again(pg, tables):
    """Seconds that psql's \\copy takes for the rows of all tables, into
    tables of the same shape and with the same keys."""
    files = [(t, os.path.join(pg.dir, t + '.copy')) for t in tables]
    pg.psql('CREATE SCHEMA plain')
    for t, path in files:
        pg.psql('CREATE TABLE plain.%s (LIKE web.%s INCLUDING ALL)' % (t, t))
        pg.psql("\\copy web.%s to '%s'" % (t, path))
    pg.psql('CHECKPOINT')
    began = time.monotonic()
    pg.psql(*["\\copy plain.%s from '%s'" % f for f in files])
    return time.monotonic() - began


def measure(box):
    n = box.args.events
    pg = pgserver.Server(box, ['shared_buffers=512MB', 'max_wal_size=4GB'])
    try:
        pg.start()
        box.install('postgres')
        box.write_config(box.config({'one': {
            'plugin': 'postgres', 'batch_wait': '200ms', 'timeout': '30s',
            'settings': pg.connection()}}))
        host = box.host()
        host.start()
        host.admin('POST', '/v1/destinations/one/pause')
        load = Lessons(box.net, host, 1e9, connections=4, batch=400, limit=n)
        load.end(3600)
        say('%d events accepted in %.1f s' % (len(load.acknowledged),
                                              load.took))
        host.admin('POST', '/v1/destinations/one/resume')
        began = time.monotonic()
        await_delivered(host, n // 4, 1800)
        free = time.monotonic() - began
        loaded = delivered(host)
        for part in (2, 3):
            pg.kill()
            time.sleep(1)
            pg.start()
            await_delivered(host, n * part // 4, 1800)
        await_delivered(host, n, 1800)
        whole = time.monotonic() - began
        tables = ['tracks'] + [x.lower().replace(' ', '_') for x in NAMES]
        for t in tables:
            got = pg.psql('SELECT count(*), count(DISTINCT id) FROM web.' + t)
            want = str(n if t == 'tracks' else n // len(NAMES))
            check(got == [[want, want]], '%s has %s' % (t, got))
        columns = pg.value("SELECT count(*) FROM information_schema.columns "
                           "WHERE table_schema = 'web' AND table_name = '%s' "
                           "AND column_name LIKE 'note%%'" % tables[1])
        check(columns == '10', '%s columns have grown' % columns)
        say('%d events in %d tables, each once: %.1f s with two kills of the '
            'server; %.0f events/s before the first' %
            (n, len(tables), whole, loaded / free))
        plain = copy_again(pg, tables)
        say('psql \\copy of the same %d rows, one table after another: %.1f s, '
            '%.0f events/s' % (2 * n, plain, n / plain))
        code, _ = host.stop()
        check(code == 0, 'the host ended with %d' % code)
        box.audit()
    finally:
        pgserver.stop_all(box)


if __name__ == '__main__':
    def more(p):
        p.add_argument('--events', type=int, default=0)
    args = arguments(more)
    if not pgserver.binaries():
        say('no PostgreSQL server is installed: skipped')
        sys.exit(SKIPPED)
    run(measure if args.events else test, args)
