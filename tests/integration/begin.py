#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# begin.py - where a connection begins: at the first event that a host on an
# empty directory accepts, and at the first of a source that a reload adds,
# however soon somebody sends it. A destination added to a source that is in
# use gets what comes after the reload; one taken away and named again goes on
# where it stopped.

import socket

from crash import all_arrived, conserved
from harness import Load, Receiver, arguments, check, run, say, until


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class At:
    """What a Load asks for its address, before a host has one."""

    def __init__(self, port):
        self.addresses = {'ingest': ['127.0.0.1:%d' % port]}


def config(box, receiver, port, sources):
    names = sorted({d for s in sources.values() for d in s})
    c = box.config({n: box.webhook(receiver.url('/' + n)) for n in names},
                   ingest={'listen': ['127.0.0.1:%d' % port]})
    c['sources'] = {s: {'write_key': 'key-of-' + s, 'destinations': d}
                    for s, d in sources.items()}
    box.write_config(c)


def first_start(box, receiver, port):
    config(box, receiver, port, {'web': ['a']})
    load = Load(box.net, At(port), 2000, connections=4, prefix='web',
                key='key-of-web')
    host = box.host()
    host.start()
    until(lambda: len(load.acknowledged) > 300, 20, 'events are accepted')
    load.stop()
    all_arrived(load, receiver, ['/a'])
    say('an empty directory: all %d arrived that were accepted since the '
        'socket was there' % len(load.acknowledged))
    return host


def new_source(box, receiver, port, host):
    load = Load(box.net, At(port), 2000, connections=4, prefix='app',
                key='key-of-app')
    until(lambda: load.refused[400] > 50, 20, 'an unknown key is refused')
    config(box, receiver, port, {'web': ['a'], 'app': ['a', 'b']})
    outcome = host.hangup()
    check(not outcome['refused'], 'refused: %s' % outcome)
    until(lambda: len(load.acknowledged) > 300, 20, 'events are accepted')
    load.stop()
    all_arrived(load, receiver, ['/a', '/b'])
    say('a new source: all %d arrived that were accepted, after %d refusals' %
        (len(load.acknowledged), load.refused[400]))


def new_destination(box, receiver, port, host):
    before = Load(box.net, host, 2000, prefix='before', key='key-of-web',
                  limit=200)
    before.end()
    config(box, receiver, port, {'web': ['a', 'c'], 'app': ['a', 'b']})
    host.hangup()
    after = Load(box.net, host, 2000, prefix='after', key='key-of-web',
                 limit=200)
    after.end()
    all_arrived(after, receiver, ['/a', '/c'])
    all_arrived(before, receiver, ['/a'])
    old = [i for i in receiver.path('/c').seen if i.startswith('before')]
    check(not old, 'the new destination got %d older events' % len(old))

    config(box, receiver, port, {'web': ['a'], 'app': ['a', 'b']})
    host.hangup()
    lane = [n for n in host.status()['lanes'] if n['detached']]
    check(len(lane) == 1, 'detached: %s' % lane)
    between = Load(box.net, host, 2000, prefix='between', key='key-of-web',
                   limit=200)
    between.end()
    all_arrived(between, receiver, ['/a'])
    check(not [i for i in receiver.path('/c').seen
               if i.startswith('between')], 'a removed destination was sent '
          'to')
    config(box, receiver, port, {'web': ['a', 'c'], 'app': ['a', 'b']})
    host.hangup()
    all_arrived(between, receiver, ['/c'])
    twice = [i for i, n in receiver.path('/c').delivered.items() if n > 1]
    check(not twice, 'twice: %s' % twice[:5])
    say('a new destination began at the reload; taken away and named again, '
        'it went on where it stopped')


def test(box):
    receiver = Receiver(box.net)
    port = free_port()
    box.install('webhook')
    host = first_start(box, receiver, port)
    new_source(box, receiver, port, host)
    new_destination(box, receiver, port, host)
    conserved(host)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


if __name__ == '__main__':
    run(test, arguments())
