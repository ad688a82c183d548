# SPDX-License-Identifier: Apache-2.0
#
# cdp.py - headless Chromium over a pipe, by its own protocol: pages that are
# each in a context of their own, with no cookies, caches or storage of others.

import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from kit import Failure, check

NAMES = ['chromium', 'chromium-browser', 'google-chrome']
FLAGS = ['--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--disable-extensions', '--disable-dev-shm-usage',
         '--no-default-browser-check', '--remote-debugging-pipe']
ANSWER_SECONDS = 30


def program():
    """The browser's path, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


# Run by a Python of its own, which becomes the browser: the pipes' ends are to
# be its descriptors 3 and 4, whatever they are here.
LAUNCH = '''
import fcntl, os, sys
down, up = (fcntl.fcntl(int(n), fcntl.F_DUPFD_CLOEXEC, 10)
            for n in sys.argv[1:3])
os.dup2(down, 3)
os.dup2(up, 4)
os.execv(sys.argv[3], sys.argv[3:])
'''


class Browser:
    """Commands go down one pipe and answers come up another, each ended by a
    zero byte: descriptors 3 and 4 of the browser."""

    def __init__(self, path):
        self.home = tempfile.mkdtemp(prefix='manifold-browser-')
        self.numbers = itertools.count(1)
        self.events = []
        self.data = b''
        down, self.commands = os.pipe()
        self.answers, up = os.pipe()
        flags = FLAGS + ['--user-data-dir=' + self.home]
        if os.geteuid() == 0:
            flags.append('--no-sandbox')
        self.log = open(os.path.join(self.home, 'log'), 'wb')
        self.process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, str(down), str(up), path, *flags,
             'about:blank'], pass_fds=[down, up], stdout=self.log,
            stderr=self.log, start_new_session=True,
            env=dict(os.environ, HOME=self.home))
        os.close(down)
        os.close(up)

    def read(self, seconds):
        """The next message; None when none comes."""
        end = time.monotonic() + seconds
        while b'\0' not in self.data:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [],
                                              left)[0]:
                return None
            got = os.read(self.answers, 1 << 16)
            check(got, 'the browser has ended: ' + self.said())
            self.data += got
        text, self.data = self.data.split(b'\0', 1)
        return json.loads(text)

    def said(self):
        with open(self.log.name, errors='replace') as f:
            return f.read()[-1000:]

    def call(self, method, session=None, **params):
        number = next(self.numbers)
        message = {'id': number, 'method': method, 'params': params}
        if session:
            message['sessionId'] = session
        os.write(self.commands, json.dumps(message).encode() + b'\0')
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            got = self.read(end - time.monotonic())
            check(got, '%s is not answered: %s' % (method, self.said()))
            if got.get('id') != number:
                self.events.append(got)
                continue
            if 'error' in got:
                raise Failure('%s: %s' % (method, got['error']))
            return got['result']

    def pump(self, condition, what):
        """Reads events until the condition holds."""
        end = time.monotonic() + ANSWER_SECONDS
        while not condition():
            got = self.read(end - time.monotonic())
            check(got, '%s: %s' % (what, self.said()))
            self.events.append(got)

    def page(self, url):
        return Page(self, url)

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        os.close(self.commands)
        os.close(self.answers)
        shutil.rmtree(self.home, ignore_errors=True)


class Page:
    """In a context of its own."""

    def __init__(self, browser, url):
        self.browser = browser
        self.context = browser.call('Target.createBrowserContext')[
            'browserContextId']
        self.target = browser.call('Target.createTarget', url='about:blank',
                                   browserContextId=self.context)['targetId']
        self.session = browser.call('Target.attachToTarget',
                                    targetId=self.target,
                                    flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log'):
            self.call(domain + '.enable')
        self.go(url)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def go(self, url):
        """There when it is loaded."""
        before = self.loads()
        got = self.call('Page.navigate', url=url)
        check('errorText' not in got, '%s: %s' % (url, got))
        self.browser.pump(lambda: self.loads() > before,
                          url + ' is not loaded')

    def loads(self):
        return sum(e['method'] == 'Page.loadEventFired' and
                   e.get('sessionId') == self.session
                   for e in self.browser.events)

    def run(self, script):
        """The value of an expression, a promise's when it is kept; it fails
        with what the page throws."""
        got = self.call('Runtime.evaluate', expression=script,
                        awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in got:
            told = got['exceptionDetails']
            raise Failure('the page throws: %s; %s' % (
                told.get('exception', {}).get('description', told),
                self.complaints()))
        return got['result'].get('value')

    def complaints(self):
        """What the browser's console says: blocked requests, errors."""
        lines = []
        for e in self.browser.events:
            if e.get('sessionId') != self.session:
                continue
            if e['method'] == 'Log.entryAdded':
                entry = e['params']['entry']
                lines.append('%s %s' % (entry['text'], entry.get('url', '')))
            elif e['method'] == 'Runtime.consoleAPICalled':
                lines.append(' '.join(str(a.get('value', a.get('description')))
                                      for a in e['params']['args']))
        return '; '.join(lines[-10:])

    def close(self):
        """The context goes, and the page with it."""
        self.browser.call('Target.disposeBrowserContext',
                          browserContextId=self.context)
