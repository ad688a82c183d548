# SPDX-License-Identifier: Apache-2.0
#
# sdk.py - what the tests of real SDKs share: how one is fetched, the ways on
# which its events go, and that each arrives once with all its fields, at a file
# and at an HTTP receiver.
#
# An SDK comes from its package registry into the build directory, pinned by
# version and hash. Where there is no such language on the machine, or its
# registry cannot be reached, the test is skipped.

import collections
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading

from kit import (TIMES, TYPES, WRITE_KEY, await_stored, check, differences,
                 milliseconds, parse, stored_form, until, wrong_times)
from harness import SKIPPED, say
from proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'crash'))

from campaign import Page

INSTALL_SECONDS = 150
FRESH_MS = 60000 # what the SDK dates itself is from this test's time
SETTLE_SECONDS = 60
ALL = 1000000 # of a million

# name, how many events, what happens to an event's first attempts
PLAIN = ('plain', 300, [])
CUT = ('cut', 60, ['cut'])
BUSY = ('busy', 60, ['429', '503'])


def skip(why):
    say('skipped: ' + why)
    sys.exit(SKIPPED)


# ---- fetching ---------------------------------------------------------------

def fingerprint(paths):
    h = hashlib.sha256()
    for path in paths:
        with open(path, 'rb') as f:
            h.update(f.read())
    return h.hexdigest()


def fetch(cache, folder, locks, command):
    """Copies the folder of this directory to the cache and has the command
    fetch what its lock files name; what is there already is taken."""
    source = os.path.join(HERE, folder)
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, '.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in os.listdir(source):
            shutil.copy(os.path.join(source, name), cache)
        stamp = os.path.join(cache, '.fetched')
        wanted = fingerprint(os.path.join(source, name) for name in locks)
        if os.path.exists(stamp) and open(stamp).read() == wanted:
            return
        run_fetch(command, cache)
        with open(stamp, 'w') as f:
            f.write(wanted)


def run_fetch(command, cache):
    if not shutil.which(command[0]):
        skip('there is no %s' % command[0])
    try:
        r = subprocess.run(command, cwd=cache, capture_output=True, text=True,
                           timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        skip('the registry does not answer')
    if r.returncode:
        skip('the SDK cannot be fetched: ' + (r.stderr or r.stdout)[-500:])


def numbers(text):
    return [int(n) for n in re.findall(r'\d+', text)]


def fetch_node(cache, package):
    """All of them at once; skipped where Node.js is too old for this one."""
    if not shutil.which('node'):
        skip('there is no node')
    fetch(cache, 'node', ['package-lock.json'],
          ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund',
           '--fetch-retries=1', '--fetch-timeout=20000'])
    with open(os.path.join(cache, 'node_modules', package,
                           'package.json')) as f:
        wanted = json.load(f).get('engines', {}).get('node', '0')
    there = subprocess.run(['node', '--version'], capture_output=True,
                           text=True).stdout
    if numbers(there)[:1] < numbers(wanted)[:1]:
        skip('node is %s, the SDK wants %s' % (there.strip(), wanted))


# ---- where the events arrive ------------------------------------------------

class Sink:
    """`manifold sink`: a line for each request."""

    def __init__(self, box):
        self.path = os.path.join(box.dir, 'received.ndjson')
        self.process = subprocess.Popen(
            [box.manifold, 'sink', '--output', self.path, '127.0.0.1:0'],
            stderr=subprocess.PIPE, text=True)
        box.processes.append(self.process)
        self.url = 'http://%s/' % self.process.stderr.readline().split()[-1]

    def events(self):
        self.process.terminate()
        self.process.wait(10)
        with open(self.path, encoding='utf-8') as f:
            return [parse(line)['json'] for line in f]


def with_faults(box):
    """The disk under the host of this box can be made to fail."""
    path = os.path.join(box.dir, 'faults')
    plain = box.environment()
    box.faults = Page(path, os.stat(box.dir).st_dev)
    box.environment = lambda: dict(
        plain, MANIFOLD_FAULTS=path,
        LD_PRELOAD=os.path.join(os.path.dirname(box.built),
                                'manifold-faults.so'),
        ASAN_OPTIONS=plain.get('ASAN_OPTIONS', '') +
        ':verify_asan_link_order=0')


def start(box, sink):
    """A host with a file and the receiver behind it."""
    with_faults(box)
    box.install('file', 'webhook')
    every = ' or '.join('type = "%s"' % t for t in TYPES)
    hook = box.webhook(sink.url)
    hook['subscriptions'][0]['subscribe'] = every
    box.write_config(box.config({'archive': box.file('events.ndjson'),
                                 'hook': hook}))
    host = box.host()
    host.start()
    return host


def counted(host):
    """(events, duplicates) that the host has taken; it tells a little later.
    """
    sources = (host.status()['ingest'] or {}).get('sources')
    return ((sources[0]['received'], sources[0]['duplicates']) if sources else
            (0, 0))


def await_counted(host, events, duplicates):
    until(lambda: counted(host)[0] >= events and
          counted(host)[1] >= duplicates, SETTLE_SECONDS,
          lambda: '%d events, %d duplicates: %s' % (events, duplicates,
                                                    counted(host)))


# ---- sending ----------------------------------------------------------------

def through(box, host, phase, send):
    """Has the SDK send a phase's events: send(address, count, prefix) gives
    what was put into it. Returns that, and the proxy or None."""
    name, count, plan = phase
    proxy = Proxy(box.net, host.addresses['ingest'][0], plan) if plan else None
    events, again = counted(host)
    sent = send(proxy.address if proxy else host.addresses['ingest'][0],
                count, name + '-')
    check(len(sent) == count, 'the SDK was given %d events' % len(sent))
    await_counted(host, events + count, again + count * plan.count('cut'))
    if proxy:
        judge(proxy, plan, count)
    return sent


def judge(proxy, plan, count):
    """What was to happen to each event has happened."""
    for what in set(plan):
        check(proxy.done[what] > 0, 'none was %s: %s' % (what, proxy.done))
    tried = [n for n in proxy.attempts.values() if n > len(plan)]
    check(len(tried) >= count, 'only %d of %d events came %d times: %s' %
          (len(tried), count, len(plan) + 1, proxy.done))


def past_bad_disk(box, host, send, count=60):
    """The host itself refuses: no sync of its disk is done until it has said
    so. What it had written by then is not to be found twice."""
    def heal():
        until(lambda: proxy.statuses[503] > 0, SETTLE_SECONDS, 'it refuses')
        box.faults['sync_fails'] = 0

    proxy = Proxy(box.net, host.addresses['ingest'][0], [])
    box.faults['sync_fails'] = ALL
    healer = threading.Thread(target=heal)
    healer.start()
    events, _ = counted(host)
    sent = send(proxy.address, count, 'refused-')
    healer.join()
    await_counted(host, events + count, 0)
    check(proxy.statuses[503] > 0 and proxy.statuses[200] > 0,
          'the host answered %s' % proxy.statuses)
    return sent


def run_sdk(command, cwd, env=None, timeout=120):
    """What it printed: an object a line, of what it was given."""
    r = subprocess.run(command, cwd=cwd, capture_output=True, text=True,
                       timeout=timeout, env=env)
    check(r.returncode == 0, 'the SDK ended with %d: %s%s' %
          (r.returncode, r.stdout[-500:], r.stderr[-2000:]))
    return [parse(line) for line in r.stdout.split('\n') if line]


# ---- comparing --------------------------------------------------------------

class Form:
    """What an SDK adds to an event by itself: members of the event and of its
    context, which are as it says, and copies, which
    change(event, stored) makes."""

    def __init__(self, library, top=(), context=(), change=None):
        self.library, self.top = library, top
        self.context, self.change = context, change

    def whole(self, event, line):
        """The event as the SDK must have sent it."""
        out = dict(event)
        for k in ('messageId', 'sentAt', *self.top):
            if k in line:
                out.setdefault(k, line[k])
        if 'timestamp' not in out:
            out['timestamp'] = line['originalTimestamp']
        own = {k: line['context'][k] for k in ('library', *self.context)
               if k in line['context']}
        out['context'] = {**own, **event['context'], 'library': own['library']}
        if self.change:
            self.change(out, line)
        return out

    def faults(self, event, line):
        got = {k: v for k, v in line.items() if k not in TIMES}
        whole = self.whole(event, line)
        wrong = list(differences(stored_form(whole), got))
        wrong += wrong_times(whole, None, line)
        if line['context']['library']['name'] != self.library:
            wrong.append('the library is %s' % line['context']['library'])
        made = milliseconds(line['originalTimestamp'])
        if 'timestamp' not in event and abs(
                milliseconds(line['receivedAt']) - made) > FRESH_MS:
            wrong.append('the SDK dated it %s' % line['originalTimestamp'])
        return wrong


def compare(form, sent, lines, where):
    """Each event once, with all its fields."""
    given = {e['context']['test']: e for e in sent}
    came = collections.Counter(e['context']['test'] for e in lines)
    ids = {e['messageId'] for e in lines}
    check(set(came) == set(given) and max(came.values()) == 1 and
          len(ids) == len(given),
          '%s holds %d events, %d different of %d, %d messageIds; missing: '
          '%s; more than once: %s' %
          (where, len(lines), len(came), len(given), len(ids),
           sorted(set(given) - set(came))[:5],
           [k for k, n in came.items() if n > 1][:5]))
    wrong = ['%s (%s) %s' % (e['context']['test'], e['type'], d)
             for e in lines for d in form.faults(given[e['context']['test']],
                                                 e)]
    check(not wrong, '%s: %d differences: %s' %
          (where, len(wrong), '; '.join(wrong[:10])))


def finish(box, host, sink, form, sent):
    """Waits until all is delivered, and compares."""
    until(lambda: all(host.destination(d)['delivered'] >= len(sent)
                      for d in ('archive', 'hook')), SETTLE_SECONDS,
          lambda: 'all are delivered: %s' % host.status())
    compare(form, sent, await_stored(box, host), 'the file')
    compare(form, sent, sink.events(), 'the receiver')


def test(box, name, form, send, phases=(PLAIN, CUT, BUSY),
         bad_disk=False):
    """bad_disk: the SDK is patient enough for one that is mended."""
    sink = Sink(box)
    host = start(box, sink)
    sent = []
    for phase in phases:
        sent += through(box, host, phase, send)
    if bad_disk:
        sent += past_bad_disk(box, host, send)
    finish(box, host, sink, form, sent)
    check({e['type'] for e in sent} == set(TYPES), 'a kind lacks')
    say('%s: %d events of %d kinds at a file and a receiver, each exactly '
        'once, all fields the same: %s' %
        (name, len(sent), len(TYPES),
         ', '.join('%d %s' % (n, how) for how, n, _ in phases) +
         (', 60 past a bad disk' if bad_disk else '')))
