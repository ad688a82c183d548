#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# segment_node.py - Segment's SDK for Node.js, only its host changed, sends
# 1,000 events of all six kinds; the receiver holds each exactly once with all
# its fields. Skipped where Node.js is missing or older than the SDK wants, or
# the SDK cannot be had.

import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'integration'))

from harness import (SKIPPED, WRITE_KEY, arguments, check, run, say, until)

COUNT = 1000
# What the SDK adds by itself, and what the server is documented to decide.
# Of a page or screen it copies name and category into the properties. The
# server corrects timestamp for a wrong clock and keeps the original.
OF_THE_SDK = {'context': {'library'}, 'properties': {'name', 'category'}}
OF_THE_SERVER = {'originalTimestamp', 'sentAt', 'receivedAt', 'timestamp',
                 '_metadata'}


def skip(why):
    say('skipped: ' + why)
    sys.exit(SKIPPED)


def node_version():
    node = shutil.which('node')
    if not node:
        skip('there is no node')
    text = subprocess.run([node, '--version'], capture_output=True, text=True)
    return [int(n) for n in re.findall(r'\d+', text.stdout)]


def install(cache):
    """The SDK under the cache directory; there already, it is taken."""
    source = os.path.join(HERE, 'segment-node')
    os.makedirs(cache, exist_ok=True)
    for name in ('package.json', 'send.js'):
        shutil.copy(os.path.join(source, name), cache)
    sdk = os.path.join(cache, 'node_modules', '@segment', 'analytics-node',
                       'package.json')
    if not os.path.exists(sdk):
        if not shutil.which('npm'):
            skip('there is no npm')
        r = subprocess.run(['npm', 'install', '--no-audit', '--no-fund',
                            '--no-package-lock'], cwd=cache,
                           capture_output=True, text=True)
        if r.returncode:
            skip('the SDK cannot be installed: ' + r.stderr[-300:])
    with open(sdk) as f:
        wanted = json.load(f)['engines']['node']
    least = [int(n) for n in re.findall(r'\d+', wanted)]
    if node_version()[:len(least)] < least:
        skip('node is %s, the SDK wants %s' % (node_version(), wanted))


def received(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f if line.endswith('\n')]


def differences(sent, got, path=''):
    """Where what was sent does not stand in what was received."""
    if isinstance(sent, dict) and isinstance(got, dict):
        own = OF_THE_SDK.get(path.lstrip('.'), set())
        if not path:
            own = OF_THE_SERVER
        for k in sent:
            if k not in own and k not in got:
                yield '%s.%s is missing' % (path, k)
        for k in got:
            if k not in own and k not in sent:
                yield '%s.%s was not sent' % (path, k)
        for k in (set(sent) & set(got)) - own:
            yield from differences(sent[k], got[k], path + '.' + k)
    elif sent != got or isinstance(sent, bool) != isinstance(got, bool):
        yield '%s: sent %r, received %r' % (path, sent, got)


def test(box):
    box.install('file', 'webhook')
    path = os.path.join(box.out, 'events.ndjson')
    box.write_config(box.config({'archive': box.file('events.ndjson')}))
    host = box.host()
    host.start()
    r = subprocess.run(
        ['node', 'send.js', 'http://' + host.addresses['ingest'][0],
         WRITE_KEY, str(COUNT)], cwd=box.args.cache, capture_output=True,
        text=True, timeout=120)
    check(r.returncode == 0, 'the SDK ended with %d: %s' %
          (r.returncode, r.stderr[-2000:]))
    lines = r.stdout.rstrip('\n').split('\n')
    sent = {e['messageId']: e for e in map(json.loads, lines)}
    check(len(sent) == COUNT, 'the SDK sent %d events' % len(sent))
    until(lambda: host.destination('archive')['delivered'] >= COUNT, 30,
          lambda: 'all are delivered: %s' % host.destination('archive'))
    events = received(path)
    ids = [e['messageId'] for e in events]
    check(len(ids) == len(set(ids)) == COUNT,
          '%d lines, %d different' % (len(ids), len(set(ids))))
    wrong = []
    for e in events:
        wrong += ['%s %s' % (e['messageId'], d)
                  for d in differences(sent[e['messageId']], e)]
        if e['originalTimestamp'] != sent[e['messageId']]['timestamp']:
            wrong.append('%s originalTimestamp %s' %
                         (e['messageId'], e['originalTimestamp']))
    check(not wrong, '%d differences: %s' % (len(wrong), wrong[:10]))
    kinds = sorted({e['type'] for e in events})
    check(len(kinds) == 6, 'kinds: %s' % kinds)
    say('%d events of %s: each exactly once, all fields the same' %
        (len(events), ', '.join(kinds)))


if __name__ == '__main__':
    args = arguments(lambda p: p.add_argument('--cache', required=True))
    install(args.cache)
    run(test, args)
