# SPDX-License-Identifier: Apache-2.0
#
# pgserver.py - a PostgreSQL server of the machine's own packages, in a
# directory of its own, on a port of loopback. It refuses to be run by root, so
# that root starts it as another user.

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess

from harness import Failure, alive, say, until

PASSWORD = 'integration'


def binaries():
    """The directory of initdb and postgres, the newest; None: not there."""
    places = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
    if shutil.which('initdb'):
        places.insert(0, os.path.dirname(shutil.which('initdb')))
    places = [p for p in places
              if all(os.access(os.path.join(p, n), os.X_OK)
                     for n in ('initdb', 'postgres', 'psql'))]
    return places[-1] if places else None


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, box, settings=()):
        self.bin = binaries()
        self.dir = os.path.join(box.dir, 'pg')
        self.port = free_port()
        self.user = None
        self.process = None
        self.settings = list(settings)
        self.made = os.path.join(self.dir, 'data')
        os.mkdir(self.dir)
        if os.geteuid() == 0:
            self.user = 'nobody'
            entry = pwd.getpwnam(self.user)
            os.chown(self.dir, entry.pw_uid, entry.pw_gid)
        password = os.path.join(self.dir, 'password')
        with open(password, 'w') as f:
            f.write(PASSWORD)
        os.chmod(password, 0o644)
        self.call('initdb', '-D', self.made, '-U', 'manifold', '-N',
                  '-A', 'scram-sha-256', '--pwfile', password, '-E', 'UTF8',
                  '--locale', 'C')
        box.servers = getattr(box, 'servers', []) + [self]

    def certify(self):
        """A certificate of its own, and TLS; False if none can be made."""
        if not shutil.which('openssl'):
            return False
        key, cert = [os.path.join(self.made, n)
                     for n in ('server.key', 'server.crt')]
        r = subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048',
                            '-nodes', '-keyout', key, '-out', cert, '-subj',
                            '/CN=localhost', '-days', '2'], user=self.user,
                           cwd=self.dir, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        if r.returncode != 0:
            return False
        os.chmod(key, 0o600)
        self.settings.append('ssl=on')
        return True

    def call(self, name, *args):
        r = subprocess.run([os.path.join(self.bin, name), *args],
                           user=self.user, cwd=self.dir, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if r.returncode != 0:
            raise Failure('%s: %s' % (name, r.stdout))

    def start(self):
        options = ['-p', str(self.port), '-h', '127.0.0.1', '-k', self.dir]
        for s in self.settings:
            options += ['-c', s]
        log = open(os.path.join(self.dir, 'log'), 'ab')
        self.process = subprocess.Popen(
            [os.path.join(self.bin, 'postgres'), '-D', self.made, *options],
            user=self.user, cwd=self.dir, stdout=log, stderr=log)
        until(self.answers, 30, 'the database answers')

    def answers(self):
        return self.psql('SELECT 1', check=False) == [['1']]

    def kill(self):
        """As if its machine had gone: nobody says good-bye."""
        pid = self.process.pid
        os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        # Its children end when they see it gone; two servers must not meet.
        until(lambda: self.orphans() == 0, 20, 'the killed server is gone')

    def orphans(self):
        n = 0
        for name in os.listdir('/proc'):
            if not name.isdigit() or not alive(int(name)):
                continue
            try:
                if os.readlink('/proc/%s/cwd' % name) == self.made:
                    n += 1
            except OSError:
                pass
        return n

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def psql(self, *sql, check=True, timeout=600):
        """The rows of statements, each a list of texts."""
        env = dict(os.environ, PGPASSWORD=PASSWORD, PGSSLMODE='disable',
                   PGOPTIONS='--client-min-messages=warning')
        command = [os.path.join(self.bin, 'psql'), '-X', '-q', '-A', '-t',
                   '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1',
                   '-p', str(self.port), '-U', 'manifold', '-d', 'postgres']
        for s in sql:
            command += ['-c', s]
        r = subprocess.run(command, env=env, text=True, timeout=timeout,
                           cwd=self.dir, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        if r.returncode != 0:
            if check:
                raise Failure('%s: %s' % (sql[0], r.stderr))
            return None
        return [line.split('\t') for line in r.stdout.splitlines()]

    def log(self):
        with open(os.path.join(self.dir, 'log'), errors='replace') as f:
            return f.read()

    def value(self, sql):
        rows = self.psql(sql)
        return rows[0][0] if rows else None

    def connection(self, **more):
        """Settings of a destination that is to load into it."""
        return dict({'hostname': '127.0.0.1', 'port': self.port,
                     'database': 'postgres', 'username': 'manifold',
                     'password': PASSWORD, 'sslMode': 'disable'}, **more)


def stop_all(box):
    for s in getattr(box, 'servers', []):
        try:
            s.stop()
        except (OSError, subprocess.SubprocessError) as e:
            say('the server could not be stopped: %s' % e)
