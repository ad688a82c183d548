#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTPS at ingest, by clients that know nothing of it: Python's ssl, curl,
openssl. A certificate is replaced while an old connection goes on; pairs that
cannot be served with are refused by check and by reload, and the old one stays,
also over a crash of ingest; the key is in no log and no answer."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import http.client
import base64

from harness import (SKIPPED, WRITE_KEY, Receiver, arguments, check, children,
                     role, run, say, until)

DAY = 86400


class Authority:
    """A root that clients trust, and the pairs it issues."""

    def __init__(self, directory):
        self.dir = directory
        self.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt',
                     'ec_paramgen_curve:P-256', '-nodes', '-keyout',
                     self.at('ca.key'), '-out', self.at('ca.pem'), '-subj',
                     '/CN=a root of tests', '-days', '900')

    def at(self, name):
        return os.path.join(self.dir, name)

    def openssl(self, *words):
        p = subprocess.run(['openssl', *words], capture_output=True, text=True)
        check(p.returncode == 0, 'openssl %s: %s' % (words[0], p.stderr))

    def issue(self, name, days=90):
        """name.pem and name.key, for localhost."""
        self.openssl('req', '-new', '-newkey', 'ec', '-pkeyopt',
                     'ec_paramgen_curve:P-256', '-nodes', '-keyout',
                     self.at(name + '.key'), '-out', self.at(name + '.csr'),
                     '-subj', '/CN=' + name)
        with open(self.at('ext'), 'w') as f:
            f.write('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
        self.openssl('x509', '-req', '-in', self.at(name + '.csr'), '-CA',
                     self.at('ca.pem'), '-CAkey', self.at('ca.key'),
                     '-CAcreateserial', '-days', str(days), '-extfile',
                     self.at('ext'), '-out', self.at(name + '.pem'))

    def put(self, cert, key=None):
        """What the configuration names becomes this pair."""
        shutil.copy(self.at(cert + '.pem'), self.at('live.pem'))
        shutil.copy(self.at((key or cert) + '.key'), self.at('live.key'))
        os.chmod(self.at('live.key'), 0o600)


class Client:
    """A keep-alive connection, as an SDK has one."""

    def __init__(self, address, ca, **more):
        context = ssl.create_default_context(cafile=ca)
        for name, value in more.items():
            setattr(context, name, value)
        host, port = address.rsplit(':', 1)
        self.c = http.client.HTTPSConnection('localhost', int(port),
                                             context=context, timeout=30)
        self.c.connect()

    def subject(self):
        return dict(x[0] for x in self.c.sock.getpeercert()['subject'])[
            'commonName']

    def track(self, message_id, **headers):
        auth = base64.b64encode((WRITE_KEY + ':').encode()).decode()
        body = json.dumps({'type': 'track', 'event': 'Paid', 'userId': 'u',
                           'messageId': message_id})
        self.c.request('POST', '/v1/track', body,
                       dict(headers, Authorization='Basic ' + auth))
        r = self.c.getresponse()
        text = r.read()
        check(r.status == 200 and json.loads(text) == {'success': True},
              '%d: %s' % (r.status, text))

    def close(self):
        self.c.close()


def refused(outcome):
    """Why something was, or ''."""
    return ' '.join(l.get('why') or '' for l in outcome['changes']
                    if l['change'] == 'refused')


def refusals(host, box, ca, tls):
    """Each is refused by check with its place, and by reload; nothing else
    changes with it."""
    with open(ca.at('one.pem')) as f:
        chain = f.read()
    ca.openssl('ec', '-in', ca.at('one.key'), '-aes128', '-passout',
               'pass:secret', '-out', ca.at('locked.key'))
    shutil.copy(ca.at('one.pem'), ca.at('locked.pem'))
    with open(ca.at('cut.pem'), 'w') as f:
        f.write(chain[:len(chain) // 2])
    shutil.copy(ca.at('one.key'), ca.at('cut.key'))
    with open(ca.at('swapped.pem'), 'w') as f:
        with open(ca.at('ca.pem')) as root:
            f.write(root.read() + chain)
    shutil.copy(ca.at('one.key'), ca.at('swapped.key'))
    rows = [('one', 'two', '"key": %s: it is not the key of the certificate'),
            ('locked', None, '"key": %s: it is encrypted'),
            ('cut', None, '"certificate": %s: '),
            ('swapped', None, '"certificate": %s: the certificate that the key'
                              ' belongs to is not the first in it')]
    for cert, key, text in rows:
        ca.put(cert, key)
        text = text % ca.at('live.key' if '"key"' in text else 'live.pem')
        p = box.command('check')
        check(p.returncode == 78 and text in p.stderr and
              'manifold.json:' in p.stderr,
              'check says %d: %s' % (p.returncode, p.stderr))
        o = host.hangup()
        check(text in refused(o), 'the reload says: %s' % o)
        c = Client(tls, ca.at('ca.pem'))
        check(c.subject() == 'two', 'the old pair stays')
        c.track('after-%s' % cert)
        c.close()


def s_client(tls, *words):
    p = subprocess.run(['openssl', 's_client', '-connect', tls, *words],
                       input='', capture_output=True, text=True)
    return p.returncode, p.stdout + p.stderr


def others(host, ca, tls):
    """Other programs than this one."""
    code, text = s_client(tls, '-alpn', 'h2,http/1.1', '-CAfile',
                          ca.at('ca.pem'), '-verify_return_error')
    check(code == 0 and 'ALPN protocol: http/1.1' in text, text)
    code, text = s_client(tls, '-tls1_1', '-cipher', 'ALL@SECLEVEL=0')
    check(code != 0, 'TLS 1.1 is taken: %s' % text)
    code, text = s_client(tls, '-alpn', 'h2')
    check(code != 0, 'h2 is promised: %s' % text)
    before = host.status()['ingest']['handshakes_resumed']
    s_client(tls, '-tls1_2', '-reconnect', '-CAfile', ca.at('ca.pem'))
    until(lambda: host.status()['ingest']['handshakes_resumed'] > before, 10,
          'a session is resumed')
    if shutil.which('curl'):
        body = '{"type":"track","event":"Paid","userId":"u","messageId":"curl"}'
        p = subprocess.run(['curl', '-sS', '--http2', '--cacert',
                            ca.at('ca.pem'), '-u', WRITE_KEY + ':', '-d', body,
                            'https://localhost:%s/v1/track' %
                            tls.rsplit(':', 1)[1], '-w', ' %{http_version}'],
                           capture_output=True, text=True)
        check(p.stdout == '{"success":true} 1.1', p.stdout + p.stderr)
    c = Client(tls, ca.at('ca.pem'))
    c.c.request('GET', '/v1/projects/%s/settings' % WRITE_KEY)
    settings = json.loads(c.c.getresponse().read())
    check(settings['integrations']['Segment.io']['protocol'] == 'https',
          settings)
    c.close()
    host_, port = tls.rsplit(':', 1)
    c = http.client.HTTPConnection(host_, int(port), timeout=30)
    c.request('POST', '/v1/track', '{}')
    r = c.getresponse()
    check(r.status == 400 and
          json.loads(r.read())['code'] == 'https_required', 'plain HTTP')
    until(lambda: host.status()['ingest']['not_opened']['plaintext'] == 1, 10,
          'it is counted')
    failed = host.status()['ingest']['not_opened']
    check(failed['version'] == 1 and failed['alpn'] == 1, failed)
    check(metric(host, 'manifold_connections_not_opened_total'
                       '{kind="version"}') == 1, 'no metric of it')


def metric(host, name):
    for line in host.admin('GET', '/metrics')[1].splitlines():
        if line.startswith(name + ' '):
            return float(line.split()[1])
    return None


def renewal(host, ca, tls):
    old = Client(tls, ca.at('ca.pem'))
    old.track('old-1')
    check(old.subject() == 'one', 'the first pair')
    check(abs(metric(host, 'manifold_tls_certificate_expiry_seconds') -
              time.time() - 10 * DAY) < DAY, 'its end is a metric')
    check(any('live.pem expires at' in l for l in host.log),
          'ten days before its end there is no warning')
    p = host.box.command('status')
    check('live.pem expires at' in p.stdout, 'status says: %s' % p.stdout)
    ca.put('two')
    o = host.hangup()
    check(not refused(o), o)
    p = host.box.command('status')
    check('live.pem' not in p.stdout, 'status says: %s' % p.stdout)
    new = Client(tls, ca.at('ca.pem'))
    check(new.subject() == 'two', 'a new connection sees the new pair')
    new.track('new-1')
    old.track('old-2')
    check(metric(host, 'manifold_tls_certificate_expiry_seconds') -
          time.time() > 80 * DAY, 'the new end is a metric')
    old.close()
    new.close()


def crash(host, ca, tls):
    """Ingest that is started again has the pair that was good, whatever the
    files are now."""
    ca.put('one', 'two')
    pid = [p for p in children(host.pid) if role(p) == 'ingest ingest'][0]
    os.kill(pid, signal.SIGKILL)

    def again():
        try:
            c = Client(tls, ca.at('ca.pem'))
            c.track('after-crash')
            return c.subject()
        except (OSError, http.client.HTTPException):
            return None
    check(until(again, 30, 'ingest is back') == 'two', 'the pair that was good')


def mixed(host, box, ca, config):
    """Plain beside TLS, then the other way round on the same port."""
    ca.put('one')
    tls = host.addresses['ingest'][0]
    config['ingest']['listen'] = ['127.0.0.1:0']
    config['ingest']['tls']['listen'] = ['127.0.0.1:0', '[::1]:0']
    box.write_config(config)
    o = host.hangup()
    check(not refused(o), o)
    with open(host.addresses_path()) as f:
        a = json.load(f)
    check(len(a['ingest']) == 3 and len(a['tls']) == 2, a)
    plain = [x for x in a['ingest'] if x not in a['tls']]
    c = http.client.HTTPConnection(plain[0], timeout=30)
    c.request('GET', '/health')
    check(c.getresponse().status == 200, 'plain HTTP')
    six = [x for x in a['tls'] if x.startswith('[')][0]
    raw = socket.create_connection(('::1', int(six.rsplit(':', 1)[1])))
    context = ssl.create_default_context(cafile=ca.at('ca.pem'))
    s = context.wrap_socket(raw, server_hostname='localhost')
    s.sendall(b'GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
    check(b'200 OK' in s.recv(4096), 'HTTPS over IPv6')
    p = box.command('send', '-u', 'ada', '-e', 'Paid')
    check(p.returncode == 0, 'send: %s' % p.stderr)
    del config['ingest']['tls']
    box.write_config(config)
    o = host.hangup()
    check(not refused(o), o)
    with open(host.addresses_path()) as f:
        a = json.load(f)
    check(len(a['ingest']) == 1 and a['tls'] == [], a)
    check(metric(host, 'manifold_tls_certificate_expiry_seconds') is None,
          'no certificate, no end')
    return tls


def secrecy(host, ca):
    """No line of a key is anywhere to be seen."""
    seen = '\n'.join(host.log) + json.dumps(host.status())
    for root, _, names in os.walk(host.box.data):
        for name in names:
            with open(os.path.join(root, name), 'rb') as f:
                seen += f.read().decode('latin-1')
    for name in ('one', 'two'):
        with open(ca.at(name + '.key')) as f:
            for line in f.read().splitlines():
                check(line.startswith('-----') or line not in seen,
                      'a line of %s.key is shown' % name)


def test(box):
    if not shutil.which('openssl'):
        say('there is no openssl here')
        sys.stdout.flush()
        os._exit(SKIPPED)
    receiver = Receiver(box.net)
    box.install('webhook')
    ca = Authority(box.dir)
    ca.issue('one', days=10)
    ca.issue('two')
    ca.put('one')
    config = box.config({'hook': box.webhook(receiver.url('/hook'))})
    config['ingest']['tls'] = {'certificate': 'live.pem', 'key': 'live.key'}
    config['ingest']['threads'] = 2
    box.write_config(config)
    p = box.command('check')
    check(p.returncode == 0 and 'live.pem expires at' in p.stderr,
          'check says: %s' % p.stderr)
    host = box.host()
    host.start()
    tls = host.addresses['tls'][0]
    p = box.command('send', '-u', 'ada', '-e', 'Paid')
    check(p.returncode == 0, 'send: %s' % p.stderr)
    renewal(host, ca, tls)
    refusals(host, box, ca, tls)
    ca.put('two')
    others(host, ca, tls)
    crash(host, ca, tls)
    mixed(host, box, ca, config)
    ids = {'old-1', 'old-2', 'new-1', 'after-crash'}
    until(lambda: ids <= set(receiver.path('/hook').delivered), 30,
          'all have arrived')
    secrecy(host, ca)
    code, _ = host.stop()
    check(code == 0, 'it ends with %d' % code)
    ca.put('one', 'two')
    config['ingest']['tls'] = {'certificate': 'live.pem', 'key': 'live.key'}
    box.write_config(config)
    p = box.command('run')
    check(p.returncode == 78 and 'is not the key' in p.stderr,
          'a start with a broken pair: %d %s' % (p.returncode, p.stderr))


run(test, arguments())
