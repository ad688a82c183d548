#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# nginx.py - ingest on one core beside nginx, which answers the same POSTs on
# the same core with a constant: what durability and validation cost, as a
# ratio seen in one run.
#
#   nginx.py --manifold FILE --load FILE [--seconds S] [--rounds N]
#            [--core N] [--load-core N]
#
# The server has one core and the generator (post_load.c) another. The journal
# is as one that has run for a while: its segments are used again, and none is
# filled with zeros beside. Both servers
# are up all the time and take turns, so that what else the machine does comes
# over both. For each kind of load it prints the median of the rounds: requests
# a second, events a second, microseconds of CPU of the server's process for a
# request, and the ratio of manifold to nginx. Ends with 77 where there is no
# nginx, or but one core.

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
KEY = 'bench'
JOURNAL_BYTES = '256MiB'
WITHIN = 30 # seconds for a server to be up
# name, connections, requests under way on each, events in a request
LOADS = (('single events', 64, 1, 1),
         ('single events, 16 pipelined', 64, 16, 1),
         ('batches of 100', 16, 1, 100))

NGINX = '''
daemon off;
worker_processes 1;
pid %(dir)s/nginx.pid;
error_log %(dir)s/nginx.log crit;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 1m;
    client_body_buffer_size 1m;
    client_body_temp_path %(dir)s;
    proxy_temp_path %(dir)s;
    fastcgi_temp_path %(dir)s;
    uwsgi_temp_path %(dir)s;
    scgi_temp_path %(dir)s;
    default_type application/json;
    server {
        listen 127.0.0.1:%(port)d;
        location / { return 200 '{"success":true}'; }
    }
}
'''


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def children(pid):
    path = '/proc/%d/task/%d/children' % (pid, pid)
    with open(path) as f:
        return [int(p) for p in f.read().split()]


def command_line(pid):
    with open('/proc/%d/cmdline' % pid) as f:
        return f.read()


def cpu_seconds(pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def until(condition, what):
    end = time.monotonic() + WITHIN
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            sys.exit('%s does not come' % what)
        time.sleep(0.05)


class Server:
    """A process on the core, and the one of it that does the work."""

    def __init__(self, name, words, core, port, worker):
        self.name = name
        self.process = subprocess.Popen(
            ['taskset', '-c', str(core), *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port = until(port, name)
        self.pid = until(lambda: next(
            (p for p in children(self.process.pid)
             if worker in command_line(p)), None), name)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def start_nginx(nginx, box, core):
    port = free_port()
    path = os.path.join(box, 'nginx.conf')
    with open(path, 'w') as f:
        f.write(NGINX % {'dir': box, 'port': port})

    def up():
        with socket.socket() as s:
            return s.connect_ex(('127.0.0.1', port)) == 0 and port
    return Server('nginx', [nginx, '-c', path, '-p', box], core, up,
                  'worker process')


def start_manifold(manifold, box, core):
    os.mkdir(os.path.join(box, 'plugins'))
    path = os.path.join(box, 'manifold.json')
    with open(path, 'w') as f:
        json.dump({'data_dir': 'data', 'plugins_dir': 'plugins',
                   'log_level': 'error',
                   'ingest': {'listen': ['127.0.0.1:0']},
                   'journal': {'max_bytes': JOURNAL_BYTES},
                   'admin': {'listen': '127.0.0.1:0'},
                   'sources': {'bench': {'write_key': KEY}}}, f)

    def up():
        try:
            with open(os.path.join(box, 'data', 'run',
                                   'addresses.json')) as f:
                return int(json.load(f)['ingest'][0].rsplit(':', 1)[1])
        except (OSError, ValueError):
            return None
    return Server('manifold', [manifold, 'run', '-c', path], core, up,
                  'role\0ingest')


def measure(args, server, load, seconds):
    """(requests a second, events a second, CPU microseconds a request)"""
    _, connections, pipeline, batch = load
    before = cpu_seconds(server.pid)
    p = subprocess.run(
        ['taskset', '-c', str(args.load_core), args.load, str(server.port),
         str(connections), str(pipeline), str(batch), str(seconds), KEY],
        capture_output=True, text=True)
    used = cpu_seconds(server.pid) - before
    if p.returncode != 0:
        sys.exit('%s: %s%s' % (server.name, p.stdout, p.stderr))
    answered, rate, events = (float(x) for x in re.match(
        r'answered (\d+)  requests/s (\d+)  events/s (\d+)',
        p.stdout).groups())
    return rate, events, used / answered * 1e6


def compare(args, servers, load):
    seen = {s.name: [] for s in servers}
    for _ in range(args.rounds):
        for s in servers:
            seen[s.name].append(measure(args, s, load, args.seconds))
    print(load[0])
    for s in servers:
        rate, events, cpu = (statistics.median(column)
                             for column in zip(*seen[s.name]))
        print('  %-8s %9.0f requests/s  %9.0f events/s  %7.2f us CPU/request' %
              (s.name, rate, events, cpu))
    ratio = statistics.median(m[0] / n[0] for m, n in
                              zip(seen['manifold'], seen['nginx']))
    # Of a short run the kernel may have counted nothing.
    cpu = [m[2] / n[2] for m, n in zip(seen['manifold'], seen['nginx'])
           if n[2]] or [float('nan')]
    print('  manifold to nginx: %.2f of the requests, %.2f of the CPU' %
          (ratio, statistics.median(cpu)), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--manifold', required=True, type=os.path.abspath)
    p.add_argument('--load', required=True, type=os.path.abspath)
    p.add_argument('--seconds', type=float, default=3)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--core', type=int, default=0)
    p.add_argument('--load-core', type=int, default=1)
    args = p.parse_args()
    nginx = shutil.which('nginx', path=os.environ['PATH'] + ':/usr/sbin')
    if not nginx or not {args.core, args.load_core} <= os.sched_getaffinity(0):
        print('there is no nginx, or no second core')
        return SKIPPED
    box = tempfile.mkdtemp(prefix='manifold-nginx-')
    os.chmod(box, 0o755)
    servers = []
    try:
        servers.append(start_nginx(nginx, box, args.core))
        servers.append(start_manifold(args.manifold, box, args.core))
        for _ in range(args.rounds): # until the journal is full
            measure(args, servers[1], LOADS[-1], args.seconds)
        for load in LOADS:
            compare(args, servers, load)
    finally:
        for s in servers:
            s.end()
        shutil.rmtree(box, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
