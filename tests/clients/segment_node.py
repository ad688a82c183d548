#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# segment_node.py - Segment's SDK for Node.js, only its host changed, sends
# 1,000 events of all six kinds; a file and an HTTP receiver hold each exactly
# once with all its fields. Skipped where Node.js is missing or older than the
# SDK wants, or where the SDK cannot be had.

import json
import os
import re
import shutil
import subprocess
import sys

from kit import (TIMES, TYPES, WRITE_KEY, await_stored, check, differences,
                 milliseconds, parse, stored_form, until, wrong_times)
from harness import SKIPPED, arguments, run, say

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = 1000
INSTALL_SECONDS = 90
FRESH_MS = 60000 # what the SDK dates itself is from this test's time


def skip(why):
    say('skipped: ' + why)
    sys.exit(SKIPPED)


def numbers(text):
    return [int(n) for n in re.findall(r'\d+', text)]


def install(cache):
    """The SDK as locked, under the cache directory; there already, it is
    taken."""
    source = os.path.join(HERE, 'segment-node')
    sdk = os.path.join(cache, 'node_modules', '@segment', 'analytics-node',
                       'package.json')
    if not shutil.which('node') or not shutil.which('npm'):
        skip('there is no node, or no npm')
    os.makedirs(cache, exist_ok=True)
    for name in ('package.json', 'package-lock.json', 'send.js'):
        shutil.copy(os.path.join(source, name), cache)
    if not os.path.exists(sdk):
        try:
            r = subprocess.run(
                ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund',
                 '--fetch-retries=1', '--fetch-timeout=20000'], cwd=cache,
                capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            skip('the registry does not answer')
        if r.returncode:
            skip('the SDK cannot be installed: ' + r.stderr[-300:])
    with open(sdk) as f:
        wanted = json.load(f)['engines']['node']
    there = subprocess.run(['node', '--version'], capture_output=True,
                           text=True).stdout
    if numbers(there)[:1] < numbers(wanted)[:1]:
        skip('node is %s, the SDK wants %s' % (there.strip(), wanted))


class Sink:
    """`manifold sink`: a line for each request."""

    def __init__(self, box):
        self.path = os.path.join(box.dir, 'received.ndjson')
        self.process = subprocess.Popen(
            [box.manifold, 'sink', '--output', self.path, '127.0.0.1:0'],
            stderr=subprocess.PIPE, text=True)
        self.url = 'http://%s/' % self.process.stderr.readline().split()[-1]

    def events(self):
        self.process.terminate()
        self.process.wait(10)
        with open(self.path, encoding='utf-8') as f:
            return [parse(line)['json'] for line in f]


def configure(box, sink):
    box.install('file', 'webhook')
    every = ' or '.join('type = "%s"' % t for t in TYPES)
    hook = box.webhook(sink.url)
    hook['subscriptions'][0]['subscribe'] = every
    box.write_config(box.config({'archive': box.file('events.ndjson'),
                                 'hook': hook}))


def send(box, host):
    """Runs the SDK: what was put into it, by the number in its context."""
    r = subprocess.run(
        ['node', 'send.js', 'http://' + host.addresses['ingest'][0],
         WRITE_KEY, str(COUNT)], cwd=box.args.cache, capture_output=True,
        text=True, timeout=120)
    check(r.returncode == 0, 'the SDK ended with %d: %s' %
          (r.returncode, r.stderr[-2000:]))
    sent = [parse(line) for line in r.stdout.split('\n') if line]
    check(len(sent) == COUNT, 'the SDK was given %d events' % len(sent))
    return {e['context']['test']: e for e in sent}


def with_additions(event, line):
    """The event and what the SDK adds to it by itself. Of a page it copies
    the category into the properties."""
    out = dict(event)
    out.setdefault('integrations', {})
    out.setdefault('messageId', line['messageId'])
    if 'timestamp' not in out:
        out['timestamp'] = line['originalTimestamp']
    if out['type'] == 'page' and 'category' in out:
        out['properties'] = dict(out['properties'], category=out['category'])
    out['context'] = dict(
        out['context'], library=line['context'].get('library'))
    out['_metadata'] = line.get('_metadata')
    out['sentAt'] = line['sentAt']
    return out


def faults(event, line):
    name = line['context'].get('library', {}).get('name')
    got = {k: v for k, v in line.items() if k not in TIMES}
    whole = with_additions(event, line)
    made = milliseconds(line['originalTimestamp'])
    wrong = list(differences(stored_form(whole), got))
    wrong += wrong_times(whole, None, line)
    if name != '@segment/analytics-node':
        wrong.append('the library is %s' % name)
    if ('timestamp' not in event and
            abs(milliseconds(line['receivedAt']) - made) > FRESH_MS):
        wrong.append('the SDK dated it %s' % line['originalTimestamp'])
    return wrong


def compare(sent, lines, where):
    keys = [e['context']['test'] for e in lines]
    ids = {e['messageId'] for e in lines}
    check(sorted(keys) == sorted(sent) and len(ids) == COUNT,
          '%s holds %d events, %d different, %d messageIds' %
          (where, len(keys), len(set(keys)), len(ids)))
    wrong = ['%d (%s) %s' % (e['context']['test'], e['type'], d)
             for e in lines for d in faults(sent[e['context']['test']], e)]
    check(not wrong, '%s: %d differences: %s' %
          (where, len(wrong), '; '.join(wrong[:10])))


def test(box):
    sink = Sink(box)
    try:
        configure(box, sink)
        host = box.host()
        host.start()
        sent = send(box, host)
        until(lambda: all(host.destination(d)['delivered'] >= COUNT
                          for d in ('archive', 'hook')), 30,
              lambda: 'all are delivered: %s' % host.status())
        compare(sent, await_stored(box, host), 'the file')
        compare(sent, sink.events(), 'the receiver')
    finally:
        sink.process.kill()
    check({e['type'] for e in sent.values()} == set(TYPES), 'a kind lacks')
    say('%d events of %d kinds at a file and a receiver: each exactly once, '
        'all fields the same' % (COUNT, len(TYPES)))


if __name__ == '__main__':
    args = arguments(lambda p: p.add_argument('--cache', required=True))
    install(args.cache)
    run(test, args)
