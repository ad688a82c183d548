#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# reload.py - plugins come, change, are refused, go and come back under load,
# and no event is lost, no request refused, nothing delivered twice.

import glob
import json
import os
import signal
import struct
import time

from crash import all_arrived, conserved, extra
from harness import (Failure, Load, Receiver, arguments, check, run, say,
                     until)

FOREIGN = ('/lib/*/libz.so.1', '/lib/*/libm.so.6', '/usr/lib/*/libm.so.6')


def changes(outcome):
    return {(c['kind'], c['name']): c['change'] for c in outcome['changes']}


def reload_command(box, expected):
    """`manifold reload`: its lines by (kind, name)."""
    r = box.command('reload', '--json')
    check(r.returncode == expected, '`manifold reload` exits %d: %s%s' %
          (r.returncode, r.stdout, r.stderr))
    return json.loads(r.stdout)


def delivered_more(path, count):
    n = len(path.delivered)
    until(lambda: len(path.delivered) >= n + count, 20, lambda:
          'deliveries go on, there are %d' % (len(path.delivered) - n))


def worker(host, name):
    return host.destination(name)['worker_pid']


def add_plugin(box, host, hook):
    """A new .so and a destination of it, live by SIGHUP."""
    destinations = {'hook': hook, 'archive': box.file('events.ndjson')}
    before = worker(host, 'hook')
    box.install('file')
    box.write_config(box.config(destinations))
    began = time.monotonic()
    outcome = host.hangup()
    got = changes(outcome)
    check(not outcome['refused'] and got[('plugin', 'file')] == 'added' and
          got[('plugin', 'webhook')] == 'unchanged' and
          got[('destination', 'archive')] == 'added' and
          got[('destination', 'hook')] == 'unchanged',
          'the outcome is %s' % outcome)
    path = os.path.join(box.out, 'events.ndjson')
    until(lambda: os.path.exists(path) and os.path.getsize(path) > 10000, 10,
          'the new destination receives')
    check(worker(host, 'hook') == before,
          'the destination that did not change has a new worker')
    say('a plugin added: live %.0f ms after SIGHUP' %
        (1000 * (time.monotonic() - began)))


def replace(box, host, receiver, args):
    """The same plugin with bytes after its last section: new versions."""
    plugin, hashes, took = box.plugin_bytes('webhook'), set(), []
    began = time.monotonic()
    for i in range(args.times):
        old = worker(host, 'hook')
        at = time.monotonic()
        box.put_plugin('webhook', plugin + b'version %d' % i)
        got = changes(reload_command(box, 0))
        took.append(time.monotonic() - at)
        check(got[('plugin', 'webhook')] == 'replaced' and
              got[('plugin', 'file')] == 'unchanged', 'changed: %s' % got)
        d = host.destination('hook')
        check(d['worker_pid'] not in (0, old), 'the worker is the old one')
        hashes.add(d['plugin_hash'])
        delivered_more(receiver.path('/hook'), args.rate / 50)
    check(len(hashes) == args.times, '%d versions' % len(hashes))
    copies = glob.glob(os.path.join(box.data, 'plugins', 'webhook-*'))
    say('%d replacements, %.0f ms each at the median, largest gap %.0f ms, '
        '%d copies kept' %
        (args.times, 1000 * sorted(took)[len(took) // 2],
         1000 * receiver.path('/hook').largest_gap(began, time.monotonic()),
         len(copies)))
    check(len(copies) <= 5, '%d copies of the plugin are kept' % len(copies))


def foreign_library():
    for pattern in FOREIGN:
        for path in sorted(glob.glob(pattern)):
            with open(path, 'rb') as f:
                return f.read()
    raise Failure('no shared library of the system was found')


def other_abi(plugin):
    """The ABI's major number stands in the note `manifold`."""
    at = plugin.index(struct.pack('<II', 9, 8))
    while plugin[at + 12:at + 21] != b'manifold\0':
        at = plugin.index(struct.pack('<II', 9, 8), at + 1)
    at += 24 # sizes, type, name padded to 12
    check(struct.unpack_from('<I', plugin, at)[0] == 1,
          'the ABI note is not where it is looked for')
    return plugin[:at] + struct.pack('<I', 2) + plugin[at + 4:]


def refuse(box, host, receiver):
    plugin = box.plugin_bytes('webhook')
    before = host.destination('hook')
    bad = {'truncated': plugin[:len(plugin) // 2],
           'empty': b'',
           'foreign': foreign_library(),
           'of another ABI': other_abi(plugin),
           'text': b'#!/bin/sh\necho no\n'}
    for what, data in bad.items():
        box.put_plugin('webhook', data)
        outcome = reload_command(box, 1)
        line = [c for c in outcome['changes']
                if (c['kind'], c['name']) == ('plugin', 'webhook')][0]
        check(line['change'] == 'refused' and len(line['why']) > 10,
              'a file %s: %s' % (what, line))
        d = host.destination('hook')
        check(d['worker_pid'] == before['worker_pid'] and
              d['plugin_hash'] == before['plugin_hash'] and
              d['state'] == 'active', 'a file %s changed what runs' % what)
        plugins = {p['slug']: p for p in host.get('/v1/plugins')}
        check(plugins['webhook']['state'] == 'refused' and
              plugins['webhook']['problem'] == line['why'],
              'the plugin is shown as %s' % plugins['webhook'])
        delivered_more(receiver.path('/hook'), 50)
        say('refused, %s: %s' % (what, line['why']))
    r = box.command('reload')
    check(r.returncode == 1 and 'refused' in r.stdout and
          'webhook' in r.stdout, '`manifold reload` says %s%s' %
          (r.stdout, r.stderr))
    box.install('webhook')
    reload_command(box, 0)


def remove(box, host, receiver, args):
    hook = receiver.path('/hook')
    box.remove_plugin('webhook')
    got = changes(reload_command(box, 0))
    check(got[('plugin', 'webhook')] == 'removed', 'changed: %s' % got)
    d = host.destination('hook')
    check(d['state'] == 'missing plugin' and d['last_error'],
          'without its plugin it is %s, %s' % (d['state'], d['last_error']))
    seen, pending = hook.requests, d['pending']
    until(lambda: host.destination('hook')['pending'] > pending + 200, 20,
          'events wait')
    check(hook.requests == seen, 'sent to without a plugin')
    box.install('webhook')
    got = changes(reload_command(box, 0))
    check(got[('plugin', 'webhook')] == 'added', 'changed: %s' % got)
    delivered_more(hook, 300)
    check(host.destination('hook')['state'] == 'active', 'not active')
    say('removed: %d events waited, and went on with the file back' %
        (host.destination('hook')['pending'] + 200))


def burst(box, host, receiver, hook):
    """Signals that come together: the last configuration is what runs."""
    for i in range(20):
        moved = json.loads(json.dumps(hook))
        moved['subscriptions'][0]['mapping']['url'] = receiver.url(
            '/hook?%d' % i)
        box.write_config(box.config({'hook': moved, 'archive': box.file(
            'events.ndjson')}))
        host.signal(signal.SIGHUP)
    last = receiver.path('/hook?19')
    until(lambda: len(last.delivered) > 100, 20,
          'the last of twenty configurations is live')
    until(lambda: not host.status()['reloading'], 20, 'reloads end')
    say('20 configurations, each with SIGHUP: %d reloads' %
        host.status()['reloads'])
    counts = receiver.path('/hook')
    for i in range(20):
        counts.delivered.update(receiver.path('/hook?%d' % i).delivered)
        receiver.paths['/hook?%d' % i] = counts # from now on, one


def test(box):
    args = box.args
    receiver = Receiver(box.net)
    hook = box.webhook(receiver.url('/hook'))
    box.install('webhook')
    box.write_config(box.config({'hook': hook}))
    host = box.host()
    host.start()
    load = Load(box.net, host, args.rate, batch=5)
    delivered_more(receiver.path('/hook'), 100)
    add_plugin(box, host, hook)
    replace(box, host, receiver, args)
    refuse(box, host, receiver)
    remove(box, host, receiver, args)
    burst(box, host, receiver, hook)
    load.stop()
    all_arrived(load, receiver, ['/hook'])
    conserved(host)
    twice = extra(load, receiver.path('/hook'))
    say('%d events in %.1f s (%.0f/s), %d delivered twice, longest answer of '
        'ingest %.0f ms' %
        (len(load.acknowledged), load.took,
         len(load.acknowledged) / load.took, twice, 1000 * load.slowest))
    check(not load.refused and not load.broken,
          'ingest refused %s, ended %d connections' %
          (load.refused, load.broken))
    check(twice == 0, '%d were delivered twice' % twice)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def more(p):
    p.add_argument('--times', type=int,
                   default=int(os.environ.get('RELOAD_TIMES', 20)))
    p.add_argument('--rate', type=float, default=2000)


if __name__ == '__main__':
    args = arguments(more)
    run(test, args)
