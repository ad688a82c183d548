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
import os
import shutil
import subprocess
import sys

from kit import (TIMES, TYPES, WRITE_KEY, await_stored, check, differences,
                 milliseconds, parse, stored_form, until, wrong_times)
from harness import SKIPPED, say
from proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
INSTALL_SECONDS = 150
FRESH_MS = 60000 # what the SDK dates itself is from this test's time
SETTLE_SECONDS = 60

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


def fetch_node(cache):
    if not shutil.which('node'):
        skip('there is no node')
    fetch(cache, 'node', ['package-lock.json'],
          ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund',
           '--fetch-retries=1', '--fetch-timeout=20000'])


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


def start(box, sink):
    """A host with a file and the receiver behind it."""
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
    context, which are as it says, and copies, which change(event) makes."""

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
            self.change(out)
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


def test(box, name, form, send, phases=(PLAIN, CUT, BUSY)):
    sink = Sink(box)
    host = start(box, sink)
    sent = []
    for phase in phases:
        sent += through(box, host, phase, send)
    until(lambda: all(host.destination(d)['delivered'] >= len(sent)
                      for d in ('archive', 'hook')), SETTLE_SECONDS,
          lambda: 'all are delivered: %s' % host.status())
    compare(form, sent, await_stored(box, host), 'the file')
    compare(form, sent, sink.events(), 'the receiver')
    check({e['type'] for e in sent} == set(TYPES), 'a kind lacks')
    say('%s: %d events of %d kinds at a file and a receiver, each exactly '
        'once, all fields the same: %s' %
        (name, len(sent), len(TYPES),
         ', '.join('%d %s' % (n, how) for how, n, _ in phases)))
