#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where ingest listens: sockets that a service manager passes in, by name and
by address, over a restart during which nobody is refused; listeners that come
and go with a reload, over IPv4 and IPv6; proxies that say whose requests they
pass on."""
import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

from harness import (Host, Receiver, WRITE_KEY, arguments, check, children,
                     role, run, until)

TOKEN = 'token-of-admin'
# What systemd does: the sockets from descriptor 3 on, and who they are for.
LAUNCH = '''
import os, sys
fds = [int(x) for x in sys.argv[1].split(',')]
high = [os.dup(fd) for fd in fds]
high = [os.dup2(fd, 100 + i) for i, fd in enumerate(high)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(3 + len(high), 1000)
os.environ['LISTEN_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = str(len(high))
os.environ['LISTEN_FDNAMES'] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
'''


def listening(host, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.bind((host, 0))
    s.listen(128)
    return s


def port(s):
    return s.getsockname()[1]


def launcher(passed):
    """The command line before manifold's own; passed: [(socket, name)]."""
    return [sys.executable, '-c', LAUNCH,
            ','.join(str(s.fileno()) for s, _ in passed),
            ':'.join(name for _, name in passed)]


class Activated(Host):
    """A host that is passed sockets."""

    def __init__(self, box, passed):
        super().__init__(box)
        self.passed = passed
        box.hosts.append(self)

    def start(self):
        path = self.addresses_path()
        if os.path.exists(path):
            os.unlink(path)
        self.process = subprocess.Popen(
            launcher(self.passed) + [self.box.manifold, 'run', '-c',
                                     self.box.config_path],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            pass_fds=[s.fileno() for s, _ in self.passed],
            env=self.box.environment())
        threading.Thread(target=self.read_log, args=[self.process],
                         daemon=True).start()
        self.await_ready(path)

    def admin(self, method, path, body=None, timeout=30):
        c = http.client.HTTPConnection(self.addresses['admin'],
                                       timeout=timeout)
        try:
            c.request(method, path, body,
                      {'Authorization': 'Bearer ' + TOKEN})
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()


def event(message_id, headers=''):
    auth = base64.b64encode((WRITE_KEY + ':').encode()).decode()
    body = json.dumps({'type': 'track', 'event': 'E', 'userId': 'u',
                       'messageId': message_id})
    return ('POST /v1/track HTTP/1.1\r\nHost: t\r\nAuthorization: Basic %s\r\n'
            '%sContent-Length: %d\r\n\r\n%s' %
            (auth, headers, len(body), body)).encode()


def answer(s):
    s.settimeout(30)
    got = b''
    while b'\r\n\r\n' not in got or b'}' not in got:
        more = s.recv(4096)
        check(more, 'the connection ended after: %r' % got)
        got += more
    return int(got.split(b' ', 2)[1])


def ask(address, message_id, first=b'', headers=''):
    """A connection of its own; the status."""
    host, number = address.rsplit(':', 1)
    with socket.create_connection((host.strip('[]'), int(number)),
                                  timeout=30) as s:
        s.sendall(first + event(message_id, headers))
        return answer(s)


def addresses(host):
    with open(host.addresses_path()) as f:
        return json.load(f)


def start_refused(box, passed, text):
    p = subprocess.run(launcher(passed) + [box.manifold, 'run', '-c',
                                           box.config_path],
                       pass_fds=[s.fileno() for s, _ in passed],
                       capture_output=True, text=True, timeout=60,
                       env=box.environment())
    check(p.returncode == 1 and text in p.stderr,
          'the start gives %d: %s' % (p.returncode, p.stderr))


def activation(box, receiver):
    one, two = listening('127.0.0.1'), listening('127.0.0.1')
    six = listening('::1', socket.AF_INET6)
    admin, left = listening('127.0.0.1'), listening('127.0.0.1')
    passed = [(one, 'ingest'), (six, 'other'), (two, 'ingest'),
              (admin, 'admin'), (left, 'left')]
    config = box.config({'hook': box.webhook(receiver.url('/hook'))})
    config['ingest']['listen'] = ['fd:ingest', '[::1]:%d' % port(six)]
    config['ingest']['threads'] = 2 # which share each of them
    config['admin'] = {'listen': 'fd:admin', 'token': TOKEN}
    box.write_config(config)
    early = socket.create_connection(one.getsockname())
    early.sendall(event('early'))
    host = Activated(box, passed)
    host.start()
    check(answer(early) == 200, 'who came before the start is answered')
    early.close()
    want = {'127.0.0.1:%d' % port(one), '127.0.0.1:%d' % port(two),
            '[::1]:%d' % port(six)}
    check(set(host.addresses['ingest']) == want, host.addresses)
    check(host.addresses['admin'] == '127.0.0.1:%d' % port(admin),
          host.addresses)
    for i, address in enumerate(want):
        check(ask(address, 'at-%d' % i) == 200, address)
    check(any('under the name left' in l for l in host.log),
          'the socket that nobody uses is not told')
    for pid in [host.pid] + children(host.pid):
        with open('/proc/%d/environ' % pid, 'rb') as f:
            env = f.read()
        if pid != host.pid: # whose environment stays in /proc as it was
            check(b'LISTEN_' not in env, 'a child is told of sockets')

    # Given up and taken again; who comes meanwhile waits.
    config['ingest']['listen'] = ['[::1]:%d' % port(six)]
    box.write_config(config)
    check(not host.hangup()['refused'], 'the reload')
    waiting = socket.create_connection(two.getsockname())
    waiting.sendall(event('waiting'))
    config['ingest']['listen'] = ['fd:ingest']
    box.write_config(config)
    check(not host.hangup()['refused'], 'the reload')
    check(answer(waiting) == 200, 'who waited is answered')
    waiting.close()
    config['ingest']['listen'] = ['fd:ingest', 'fd:nothing']
    box.write_config(config)
    outcome = host.hangup()
    check('FileDescriptorName=nothing' in json.dumps(outcome), outcome)
    config['ingest']['listen'] = ['fd:ingest']
    box.write_config(config)

    # A restart refuses nobody.
    check(host.stop()[0] == 0, 'the stop')
    meanwhile = socket.create_connection(one.getsockname())
    meanwhile.sendall(event('meanwhile'))
    host.start()
    check(answer(meanwhile) == 200, 'who came between is answered')
    meanwhile.close()
    check(host.stop()[0] == 0, 'the stop')

    deaf = socket.socket()
    deaf.bind(('127.0.0.1', 0))
    start_refused(box, [(one, 'ingest'), (deaf, 'deaf')],
                  'under the name deaf, is no TCP socket that listens')
    start_refused(box, [(one, 'web')], 'FileDescriptorName=ingest')
    ids = {'early', 'waiting', 'meanwhile', 'at-0', 'at-1', 'at-2'}
    for s, _ in passed:
        s.close()
    return ids


def come_and_go(box, receiver):
    config = box.config({'hook': box.webhook(receiver.url('/hook'))})
    box.write_config(config)
    host = box.host()
    host.start()
    first = host.addresses['ingest'][0]
    name, number = first.rsplit(':', 1)
    kept = socket.create_connection((name, int(number)))
    kept.sendall(event('kept-1'))
    check(answer(kept) == 200, 'the first listener')
    config['ingest']['listen'] = ['[::1]:0', '*:0']
    box.write_config(config)
    check(not host.hangup()['refused'], 'the reload')
    now = addresses(host)['ingest']
    check(len(now) == 2 and first not in now, now)
    six = [a for a in now if a.startswith('[::1]')][0]
    both = [a for a in now if a != six][0].rsplit(':', 1)[1]
    check(ask(six, 'six') == 200, 'IPv6')
    check(ask('127.0.0.1:' + both, 'any-4') == 200, 'IPv4 at any address')
    check(ask('[::1]:' + both, 'any-6') == 200, 'IPv6 at any address')
    kept.sendall(event('kept-2'))
    check(answer(kept) == 200, 'an open connection stays')
    kept.close()

    def refused():
        try:
            socket.create_connection((name, int(number)), 5).close()
            return False
        except ConnectionRefusedError:
            return True
    until(refused, 10, 'the removed listener is gone')
    with listening('127.0.0.1') as taken:
        config['ingest']['listen'] = ['[::1]:0', '*:0', '127.0.0.1:%d' %
                                      port(taken)]
        box.write_config(config)
        outcome = host.hangup()
        check(outcome['refused'] and 'cannot be listened on' in
              json.dumps(outcome), outcome)
    check(ask(six, 'six-again') == 200, 'what was there stays')
    return host, config, {'kept-1', 'kept-2', 'six', 'any-4', 'any-6',
                          'six-again'}


def contexts(receiver):
    found = {}
    for body in receiver.path('/hook').bodies:
        e = json.loads(body)
        found[e['messageId']] = e.get('context', {})
    return found


def proxies(box, receiver, host, config):
    config['ingest']['listen'] = ['127.0.0.1:0']
    config['ingest']['trusted_proxies'] = ['127.0.0.0/8', '10.0.0.0/8']
    box.write_config(config)
    check(not host.hangup()['refused'], 'the reload')
    at = addresses(host)['ingest'][0]
    origin = 'Origin: https://shop.example.com\r\n'
    chain = 'X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.9\r\n'
    check(ask(at, 'xff', headers=origin + chain) == 200, 'forwarded')
    check(ask(at, 'xff-server', headers=chain) == 200, 'of a server')
    check(ask(at, 'xff-bad', headers=origin +
              'X-Forwarded-For: nobody\r\n') == 200, 'malformed')
    config['ingest']['proxy_protocol'] = True
    box.write_config(config)
    check(not host.hangup()['refused'], 'the reload')
    line = b'PROXY TCP4 203.0.113.8 198.51.100.1 5 443\r\n'
    check(ask(at, 'proxy', line, origin) == 200, 'a PROXY header')
    try:
        status = ask(at, 'none')
    except Exception: # reset, or ended
        status = None
    check(status is None, 'without a header it is answered %s' % status)
    s = lambda: host.status()['ingest']
    until(lambda: s()['not_opened']['proxy_header'] == 1 and
          s()['proxy_headers'] == 1 and s()['forwarded_malformed'] == 1, 10,
          lambda: 'the counts: %s' % json.dumps(s()))
    wanted = {'xff', 'xff-server', 'xff-bad', 'proxy'}
    until(lambda: wanted <= set(contexts(receiver)), 30, 'all have arrived')
    got = contexts(receiver)
    check(got['xff'].get('ip') == '203.0.113.7', got['xff'])
    check('ip' not in got['xff-server'], got['xff-server'])
    check('ip' not in got['xff-bad'], got['xff-bad'])
    check(got['proxy'].get('ip') == '203.0.113.8', got['proxy'])


def test(box):
    receiver = Receiver(box.net)
    box.install('webhook')
    ids = activation(box, receiver)
    host, config, more = come_and_go(box, receiver)
    until(lambda: ids | more <= set(receiver.path('/hook').delivered), 30,
          'all have arrived')
    proxies(box, receiver, host, config)
    check(host.stop()[0] == 0, 'the stop')


run(test, arguments())
