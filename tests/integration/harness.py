# SPDX-License-Identifier: Apache-2.0
#
# harness.py - what every integration test needs: a directory of its own, a
# host that is started and awaited, a receiver that counts by messageId, a
# load that knows what was acknowledged, and the process tree.
#
# Nothing waits for a fixed time: until() looks again and again at a condition,
# and its deadline is only for a test that fails. Receivers and loads share one
# asyncio loop in a thread of its own; the test itself runs in the main thread.

import argparse
import asyncio
import base64
import collections
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

SKIPPED = 77
WRITE_KEY = 'integration-key'
KEPT_LOG_LINES = 200


class Failure(Exception):
    """What a test expected and did not see."""


def check(ok, text):
    if not ok:
        raise Failure(text)


def say(text):
    print(text, flush=True)


def until(condition, seconds, what, every=0.02):
    """Waits until condition() is true, and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise Failure('not within %g s: %s' %
                          (seconds, what() if callable(what) else what))
        time.sleep(every)


def arguments(add=None):
    p = argparse.ArgumentParser()
    p.add_argument('--manifold', required=True)
    p.add_argument('--plugins', required=True)
    p.add_argument('--keep', action='store_true',
                   help='leave the directory, and say where it is')
    if add:
        add(p)
    return p.parse_args()


def run(test, args):
    """Runs test(box), prints the host's log when it fails, and exits."""
    box = Box(args)
    code = 0
    try:
        test(box)
        for host in box.hosts:
            host.check_log()
        say('ok')
    except Exception as e:
        if isinstance(e, Failure):
            say('FAILED: %s' % e)
        else:
            traceback.print_exc()
        for host in box.hosts:
            host.print_log()
        code = 1
    finally:
        box.close()
    sys.stdout.flush()
    os._exit(code)


# ---- receivers and loads: one loop -----------------------------------------

class Net:
    """The asyncio loop in its thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever,
                                       daemon=True)
        self.thread.start()

    def run(self, coroutine, timeout=None):
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(timeout)

    def spawn(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)


class Mode:
    """How a path answers: status, headers, after a delay or never."""

    def __init__(self, status=200, delay=0, never=False, headers='',
                 times=None, body='{}', chance=1):
        self.chance = chance # of this answer; else it is OK
        self.status, self.delay, self.never = status, delay, never
        self.headers, self.body = headers, body
        self.left = times  # answers of this kind, then 200; None: always


OK = Mode()
MESSAGE_ID = re.compile(rb'"messageId":"([^"]+)"')


class Path:
    """What one path of a receiver has seen."""

    def __init__(self):
        self.mode = OK
        self.requests = 0
        self.seen = collections.Counter()      # by messageId, all requests
        self.delivered = collections.Counter() # those answered with 2xx
        self.times = []                        # of requests, monotonic
        self.bodies = []                       # the first few
        self.per_id = collections.defaultdict(list)

    def largest_gap(self, start, end):
        at = [start] + [t for t in self.times if start < t < end] + [end]
        return max(b - a for a, b in zip(at, at[1:]))

    def rate(self, start, end):
        n = sum(1 for t in self.times if start <= t < end)
        return n / (end - start)


class ReceiverProtocol(asyncio.Protocol):
    def __init__(self, receiver):
        self.receiver = receiver
        self.data = b''

    def connection_made(self, transport):
        self.transport = transport
        self.receiver.connections.add(transport)

    def connection_lost(self, why):
        self.receiver.connections.discard(self.transport)

    def data_received(self, more):
        self.data += more
        while True:
            end = self.data.find(b'\r\n\r\n')
            if end < 0:
                return
            head = self.data[:end]
            at = head.lower().find(b'\r\ncontent-length:')
            length = 0
            if at >= 0:
                length = int(head[at + 17:].split(b'\r\n', 1)[0])
            if len(self.data) < end + 4 + length:
                return
            body = self.data[end + 4:end + 4 + length]
            self.data = self.data[end + 4 + length:]
            self.request(head, body)

    def request(self, head, body):
        name = head.split(b' ', 2)[1].decode()
        path = self.receiver.path(name)
        mode = path.mode
        if mode.left is not None:
            if mode.left == 0:
                mode = OK
            else:
                mode.left -= 1
        if mode.chance < 1 and random.random() >= mode.chance:
            mode = OK
        now = time.monotonic()
        ids = [i.decode() for i in MESSAGE_ID.findall(body)]
        path.requests += 1
        path.times.append(now)
        path.seen.update(ids)
        if self.receiver.keep_times:
            for i in ids:
                path.per_id[i].append(now)
        if len(path.bodies) < 100:
            path.bodies.append(body)
        if mode.never:
            return
        if mode.delay:
            asyncio.get_running_loop().call_later(mode.delay, self.answer,
                                                  path, mode, ids)
        else:
            self.answer(path, mode, ids)

    def answer(self, path, mode, ids):
        if self.transport.is_closing():
            return
        if 200 <= mode.status < 300:
            path.delivered.update(ids)
        self.transport.write(
            ('HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s' %
             (mode.status, len(mode.body), mode.headers,
              mode.body)).encode())


class Receiver:
    """An HTTP server on loopback, a Path for each path asked for."""

    def __init__(self, net, keep_times=False):
        self.paths = {}
        self.connections = set()
        self.keep_times = keep_times
        self.server = net.run(self.start(net))
        self.port = self.server.sockets[0].getsockname()[1]

    async def start(self, net):
        return await net.loop.create_server(lambda: ReceiverProtocol(self),
                                            '127.0.0.1', 0, backlog=4096)

    def path(self, name):
        if name not in self.paths:
            self.paths[name] = Path()
        return self.paths[name]

    def url(self, name):
        return 'http://127.0.0.1:%d%s' % (self.port, name)


class Api(Receiver):
    """A vendor's API on loopback. Derived classes have
    reply(method, path, headers, data), which gives a status and JSON data, and
    may give headers as a third, or is a coroutine that does; data is the
    body's JSON, or a form as a dict, or None."""

    async def start(self, net):
        return await net.loop.create_server(lambda: ApiProtocol(self),
                                            '127.0.0.1', 0, backlog=4096)


class ApiProtocol(ReceiverProtocol):
    def request(self, head, body):
        first, *lines = head.decode().split('\r\n')
        method, path, _ = first.split(' ', 2)
        headers = {k.lower(): v.strip() for k, v in
                   (line.split(':', 1) for line in lines)}
        try:
            data = json.loads(body)
        except ValueError:
            data = dict(urllib.parse.parse_qsl(body.decode())) or None
        reply = self.receiver.reply(method, path, headers, data)
        if asyncio.iscoroutine(reply):
            asyncio.ensure_future(self.send_later(reply))
        else:
            self.send(*reply)

    async def send_later(self, reply):
        self.send(*await reply)

    def send(self, status, answer, *more):
        text = json.dumps(answer).encode()
        fields = dict(more[0] if more else {},
                      **{'Content-Type': 'application/json',
                         'Content-Length': len(text)})
        self.transport.write(
            ('HTTP/1.1 %d X\r\n%s\r\n' %
             (status, ''.join('%s: %s\r\n' % f for f in fields.items()))
             ).encode() + text)


class Load:
    """Events at a rate over some connections, each event once acknowledged
    or sent again until it is. Each has a messageId of its own."""

    def __init__(self, net, host, rate, connections=8, batch=1,
                 prefix='e', pad=0, limit=None, key=WRITE_KEY):
        self.limit = limit # events in all, then it ends by itself
        self.host = host # asked for its address at each connection
        self.rate, self.connections, self.batch = rate, connections, batch
        self.prefix, self.pad = prefix, 'x' * pad
        self.acknowledged = set()
        self.refused = collections.Counter() # answers by status, not 200
        self.broken = 0                      # connections that ended
        self.slowest = 0.0                   # answer, seconds
        self.made = 0
        self.stopping = False
        auth = base64.b64encode((key + ':').encode()).decode()
        self.head = ('POST /v1/%%s HTTP/1.1\r\nHost: t\r\n'
                     'Authorization: Basic %s\r\n'
                     'Content-Type: application/json\r\n'
                     'Content-Length: %%d\r\n\r\n' % auth)
        self.began = time.monotonic()
        self.futures = [net.spawn(self.one(i)) for i in range(connections)]

    def event(self, n):
        return ('{"type":"track","event":"Tested","userId":"u%d",'
                '"messageId":"%s-%d","properties":{"n":%d,"pad":"%s"}}' %
                (n % 100, self.prefix, n, n, self.pad))

    def request(self, numbers):
        if self.batch == 1:
            body, path = self.event(numbers[0]), 'track'
        else:
            body = '{"batch":[%s]}' % ','.join(map(self.event, numbers))
            path = 'batch'
        return (self.head % (path, len(body)) + body).encode()

    async def exchange(self, stream, request):
        reader, writer = stream
        writer.write(request)
        head = await reader.readuntil(b'\r\n\r\n')
        status = int(head.split(b' ', 2)[1])
        at = head.lower().find(b'content-length:')
        length = int(head[at + 15:].split(b'\r\n', 1)[0])
        body = await reader.readexactly(length)
        keep = b'connection: close' not in head.lower()
        return status, body, keep

    async def one(self, index):
        stream, numbers = None, None
        due = time.monotonic() + index * self.batch / self.rate
        step = self.connections * self.batch / self.rate
        while True:
            if numbers is None:
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                if self.stopping or (self.limit is not None and
                                     self.made >= self.limit):
                    break
                due += step
                numbers = range(self.made, self.made + self.batch)
                self.made += self.batch
            elif self.stopping == 'now':
                break
            began = time.monotonic()
            try:
                if stream is None:
                    address, port = (self.host.addresses['ingest'][0]
                                     .rsplit(':', 1))
                    stream = await asyncio.open_connection(address,
                                                           int(port))
                status, body, keep = await self.exchange(
                    stream, self.request(numbers))
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
                if stream:
                    stream[1].close()
                stream = None
                await asyncio.sleep(0.02)
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            if not keep:
                stream[1].close()
                stream = None
            if status == 200:
                if b'rejected' in body:
                    self.refused['rejected'] += 1
                self.acknowledged.update('%s-%d' % (self.prefix, n)
                                         for n in numbers)
                numbers = None
            else:
                self.refused[status] += 1
                await asyncio.sleep(0.05)
        if stream:
            stream[1].close()

    def stop(self, now=False, timeout=30):
        """now: what is not acknowledged is given up."""
        self.stopping = 'now' if now else True
        self.end(timeout)

    def end(self, timeout=30):
        """Waits until its limit is made and acknowledged."""
        for f in self.futures:
            f.result(timeout)
        self.took = time.monotonic() - self.began


# ---- the host --------------------------------------------------------------

class Host:
    """`manifold run` on the box's configuration."""

    def __init__(self, box):
        self.box = box
        self.log = []
        self.process = None
        self.addresses = None

    def addresses_path(self):
        return os.path.join(self.box.data, 'run', 'addresses.json')

    def start(self, wait=True):
        path = self.addresses_path()
        if os.path.exists(path):
            os.unlink(path)
        self.process = subprocess.Popen(
            [self.box.manifold, 'run', '-c', self.box.config_path],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env=self.box.environment())
        threading.Thread(target=self.read_log, args=[self.process],
                         daemon=True).start()
        if wait:
            self.await_ready(path)

    def await_ready(self, path):
        def ready():
            check(self.process.poll() is None,
                  'the host ended with %s at its start' %
                  self.process.returncode)
            try:
                with open(path) as f:
                    self.addresses = json.load(f)
                return self.admin('GET', '/readyz')[0] == 200
            except (OSError, ValueError, http.client.HTTPException):
                return False
        until(ready, 30, 'the host is ready')

    def read_log(self, process):
        for line in process.stderr:
            self.log.append(line.decode(errors='replace').rstrip())

    def check_log(self):
        """No sanitizer of any process of it may have spoken."""
        for line in self.log:
            check('Sanitizer' not in line and 'runtime error:' not in line and
                  'assertion' not in line.lower(),
                  'the host said: ' + line)

    def print_log(self):
        say('---- log of the host, last %d lines' % KEPT_LOG_LINES)
        for line in self.log[-KEPT_LOG_LINES:]:
            say('  ' + line)

    @property
    def pid(self):
        return self.process.pid

    def admin(self, method, path, body=None, timeout=30):
        c = http.client.HTTPConnection(self.addresses['admin'],
                                       timeout=timeout)
        try:
            c.request(method, path, body)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def get(self, path):
        status, text = self.admin('GET', path)
        check(status == 200, 'GET %s gives %d: %s' % (path, status, text))
        return json.loads(text)

    def status(self):
        return self.get('/v1/status')

    def destination(self, name):
        return self.get('/v1/destinations/' + name)

    def ingest(self, path, body, key=WRITE_KEY):
        """One request to the ingest API: (status, JSON)."""
        c = http.client.HTTPConnection(self.addresses['ingest'][0],
                                       timeout=30)
        auth = base64.b64encode((key + ':').encode()).decode()
        text = body if isinstance(body, str) else json.dumps(body)
        try:
            c.request('POST', path, text,
                      {'Authorization': 'Basic ' + auth,
                       'Content-Type': 'application/json'})
            r = c.getresponse()
            return r.status, json.loads(r.read())
        finally:
            c.close()

    def signal(self, number):
        os.kill(self.pid, number)

    def reload_count(self):
        s = self.status()
        return s['reloads'], s['reloading']

    def hangup(self):
        """SIGHUP, and the outcome of the reload that it makes."""
        before = self.reload_count()[0]
        self.signal(signal.SIGHUP)

        def done():
            n, under_way = self.reload_count()
            return n > before and not under_way and n
        n = until(done, 40, 'the reload after SIGHUP')
        return self.get('/v1/reloads/%d' % n)

    def stop(self, seconds=40):
        """TERM; the exit status, and the seconds it took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure('the host is still there %g s after TERM' %
                          seconds) from None
        return code, time.monotonic() - began

    def kill_tree(self):
        """kill -9 of the supervisor and of every child, all at once."""
        pids = [self.pid] + children(self.pid)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        until(lambda: not any(alive(p) for p in pids), 10,
              'the killed tree is gone')


# ---- processes -------------------------------------------------------------

def children(pid):
    """Those whose parent is pid, by /proc."""
    found = []
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/stat' % name) as f:
                fields = f.read().rsplit(')', 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(name))
    return sorted(found)


def command_line(pid):
    try:
        with open('/proc/%d/cmdline' % pid, 'rb') as f:
            return f.read().decode(errors='replace').split('\0')[:-1]
    except OSError:
        return []


def role(pid):
    """'ingest ingest', 'worker webhook', ..."""
    return ' '.join(command_line(pid)[2:4])


def cpu_seconds(pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def ingest_threads():
    """MANIFOLD_TEST_THREADS=N runs any test with N threads of ingest."""
    n = os.environ.get('MANIFOLD_TEST_THREADS')
    return {'threads': int(n)} if n else {}


# ---- the box ---------------------------------------------------------------

class Box:
    """A directory with plugins, data and configuration, and what runs in it.
    Children of a host that root runs are another user, so that the directory
    can be passed by all."""

    def __init__(self, args):
        self.args = args
        self.manifold = os.path.abspath(args.manifold)
        self.built = os.path.abspath(args.plugins)
        self.dir = tempfile.mkdtemp(prefix='manifold-test-')
        os.chmod(self.dir, 0o755)
        self.plugins = os.path.join(self.dir, 'plugins')
        self.data = os.path.join(self.dir, 'data')
        self.out = os.path.join(self.dir, 'out')
        self.config_path = os.path.join(self.dir, 'manifold.json')
        os.mkdir(self.plugins)
        os.mkdir(self.out)
        os.chmod(self.out, 0o777)
        self.net = Net()
        self.hosts = []
        self.processes = []

    def environment(self):
        env = dict(os.environ, NO_COLOR='1')
        env.pop('MANIFOLD_CONFIG', None)
        env.pop('NOTIFY_SOCKET', None)
        return env

    def install(self, *slugs):
        """Copies built plugins in, each by a rename."""
        for slug in slugs:
            to = os.path.join(self.plugins, slug + '.so')
            shutil.copy(os.path.join(self.built, slug + '.so'), to + '.new')
            os.rename(to + '.new', to)

    def put_plugin(self, slug, data):
        to = os.path.join(self.plugins, slug + '.so')
        with open(to + '.new', 'wb') as f:
            f.write(data)
        os.rename(to + '.new', to)

    def remove_plugin(self, slug):
        os.unlink(os.path.join(self.plugins, slug + '.so'))

    def plugin_bytes(self, slug):
        with open(os.path.join(self.built, slug + '.so'), 'rb') as f:
            return f.read()

    def config(self, destinations, **more):
        c = {
            'data_dir': 'data',
            'plugins_dir': 'plugins',
            'ingest': dict({'listen': ['127.0.0.1:0']}, **ingest_threads()),
            'admin': {'listen': '127.0.0.1:0'},
            'sources': {'web': {'write_key': WRITE_KEY,
                                'destinations': sorted(destinations)}},
            'destinations': destinations,
        }
        c.update(more)
        return c

    def write_config(self, c):
        text = c if isinstance(c, str) else json.dumps(c, indent=2)
        with open(self.config_path + '.new', 'w') as f:
            f.write(text)
        os.rename(self.config_path + '.new', self.config_path)

    def webhook(self, url, **more):
        d = {
            'plugin': 'webhook',
            'allow_private': True,
            'settings': {},
            'subscriptions': [{
                'action': 'send', 'subscribe': 'type = "track"',
                'mapping': {'url': url, 'method': 'POST',
                            'data': {'@path': '$.'}}}],
        }
        d.update(more)
        return d

    def file(self, name, **more):
        d = {'plugin': 'file', 'batch_wait': '50ms',
             'settings': {'path': os.path.join(self.out, name)}}
        d.update(more)
        return d

    def audit(self, wanted=0, data=None):
        """The report of `manifold audit`, beside a running host or without
        one; its exit status must be `wanted`."""
        where = ['--data', data] if data else ['-c', self.config_path]
        p = subprocess.run([self.manifold, 'audit', '--json'] + where,
                           capture_output=True, text=True,
                           env=self.environment())
        check(p.returncode == wanted and p.stdout,
              'the audit ends with %d, and says: %s%s' %
              (p.returncode, p.stdout[:2000], p.stderr))
        return json.loads(p.stdout)

    def host(self):
        h = Host(self)
        self.hosts.append(h)
        return h

    def command(self, *words, timeout=60):
        """`manifold WORDS -c CONFIG`: a CompletedProcess with text."""
        return subprocess.run(
            [self.manifold, *words, '-c', self.config_path],
            capture_output=True, text=True, timeout=timeout,
            env=self.environment())

    def close(self):
        for h in self.hosts:
            if h.process and h.process.poll() is None:
                h.kill_tree()
        for p in self.processes:
            if p.poll() is None:
                p.kill()
                p.wait()
        if self.args.keep:
            say('left: %s' % self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
