#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# oauth.py - access tokens fetched by the host, for two destinations of one
# plugin: tokens that end under load, tokens that are revoked, a token server
# that is down, refresh tokens that are replaced at each use and outlive the
# host, an event that no token helps. Each event arrives once all the same,
# and no token is to be seen anywhere.

import collections
import json
import os
import signal
import stat
import time
import urllib.parse

from harness import (MESSAGE_ID, Load, Receiver, ReceiverProtocol, arguments,
                     check, children, role, run, say, until)

SECRET = 'client-secret-of-'
FIRST = 'first-refresh-token-of-'


class Client:
    """What the server knows of one destination."""

    def __init__(self, name):
        self.refresh = FIRST + name # the one that is good now
        self.access = {}            # token -> end, monotonic
        self.fetches = 0
        self.reused = 0             # fetches with a token used before
        self.at_once = self.most = 0
        self.delivered = collections.Counter()
        self.unauthorised = 0


class TokenServer(Receiver):
    """Issues tokens at /token, takes events at /events."""

    def __init__(self, net):
        self.clients = {n: Client(n) for n in ('one', 'two')}
        self.life = 2
        self.down = False
        self.silent = False # takes token requests and never answers
        self.asked = 0
        self.issued = set()
        self.wrong = [] # what no client should have asked
        super().__init__(net)

    async def start(self, net):
        return await net.loop.create_server(lambda: Exchange(self),
                                            '127.0.0.1', 0)

    def revoke(self):
        for c in self.clients.values():
            c.access.clear()

    def token(self, form):
        name = form.get('client_id', '')
        client = self.clients.get(name)
        if self.down:
            return 503, {'error': 'temporarily_unavailable'}
        if client is None or form.get('client_secret') != SECRET + name or \
                form.get('grant_type') != 'refresh_token':
            self.wrong.append(form)
            return 401, {'error': 'invalid_client'}
        if form.get('refresh_token') != client.refresh:
            client.reused += 1
            return 400, {'error': 'invalid_grant'}
        client.fetches += 1
        access = 'access-%s-%d' % (name, client.fetches)
        client.refresh = 'refresh-%s-%d' % (name, client.fetches)
        client.access[access] = time.monotonic() + self.life
        self.issued |= {access, client.refresh}
        return 200, {'access_token': access, 'expires_in': self.life,
                     'refresh_token': client.refresh}

    def event(self, head, body):
        at = head.lower().find(b'\r\nauthorization: bearer ')
        token = head[at + 24:].split(b'\r\n', 1)[0].decode()
        name = token.split('-')[1] if token.count('-') == 2 else ''
        client = self.clients.get(name)
        if client is None:
            self.wrong.append(head.decode())
            return 401, {}
        if client.access.get(token, 0) < time.monotonic() or b'"bad"' in body:
            client.unauthorised += 1
            return 401, {'said': 'no to ' + token}
        client.delivered.update(i.decode() for i in MESSAGE_ID.findall(body))
        return 200, {}


class Exchange(ReceiverProtocol):
    def request(self, head, body):
        server = self.receiver
        if head.split(b' ', 2)[1] == b'/token':
            form = dict(urllib.parse.parse_qsl(body.decode()))
            server.asked += 1
            if server.silent:
                return
            status, answer = server.token(form)
        else:
            status, answer = server.event(head, body)
        text = json.dumps(answer)
        self.transport.write(
            ('HTTP/1.1 %d X\r\nContent-Type: application/json\r\n'
             'Content-Length: %d\r\n\r\n%s' %
             (status, len(text), text)).encode())


def all_delivered(host, server, load):
    for name, client in server.clients.items():
        until(lambda c=client: load.acknowledged <= set(c.delivered), 30,
              lambda c=client, n=name: '%d missing at %s, %d dead' %
              (len(load.acknowledged - set(c.delivered)), n,
               host.destination(n)['dead']))
        twice = [i for i, n in client.delivered.items() if n > 1]
        check(not twice, '%d events came twice at %s' % (len(twice), name))


def under_load(box, host, server):
    load = Load(box.net, host, 300)
    until(lambda: all(c.fetches >= 4 for c in server.clients.values()), 30,
          'four tokens for each')
    load.stop()
    all_delivered(host, server, load)
    for name, c in server.clients.items():
        took = load.took / server.life
        check(c.fetches <= 2 * took + 2, '%d fetches of %s in %.1f s' %
              (c.fetches, name, load.took))
    say('%d events at each of two; fetches: %s, 401: %s' %
        (len(load.acknowledged),
         [c.fetches for c in server.clients.values()],
         [c.unauthorised for c in server.clients.values()]))


def revoked(box, host, server):
    server.life = 600
    load = Load(box.net, host, 300, prefix='r')
    until(lambda: all(max(c.access.values()) > time.monotonic() + 500
                      for c in server.clients.values()), 30,
          'each has a token of ten minutes')
    before = {n: c.fetches for n, c in server.clients.items()}
    server.revoke()
    until(lambda: all(c.fetches > before[n]
                      for n, c in server.clients.items()), 30,
          'new tokens after 401')
    load.stop()
    all_delivered(host, server, load)
    for name, c in server.clients.items():
        check(c.fetches == before[name] + 1, '%d fetches of %s after one '
              'revocation' % (c.fetches - before[name], name))
    say('tokens revoked: one fetch each, %d events once each' %
        len(load.acknowledged))


def outage(box, host, server):
    server.down = True
    server.revoke()
    load = Load(box.net, host, 100, prefix='o')
    until(lambda: all(host.destination(n)['state'] == 'backing off'
                      for n in server.clients), 20,
          lambda: 'they back off: %s' %
          [host.destination(n)['state'] for n in server.clients])
    error = host.destination('one')['last_error']
    check('no access token' in error and 'temporarily_unavailable' in error,
          'the last error is %s' % error)
    until(lambda: host.destination('one')['pending'] > 100, 20,
          'events gather')
    seen = sum(c.unauthorised for c in server.clients.values())
    until(lambda: host.destination('one')['pending'] > 200, 20,
          'more events gather')
    check(seen == sum(c.unauthorised for c in server.clients.values()),
          'events were sent without a token')
    server.down = False
    load.stop()
    all_delivered(host, server, load)
    until(lambda: all(host.destination(n)['state'] == 'active'
                      for n in server.clients), 10, 'they are active again')
    say('token server down: %d events waited and arrived' %
        len(load.acknowledged))


def killed(host, server):
    """The worker dies while it fetches: the next one may."""
    asked = server.asked
    server.silent = True
    server.revoke()
    host.ingest('/v1/track', {'event': 'E', 'userId': 'u', 'messageId': 'k'})
    until(lambda: server.asked >= asked + 2, 20, 'both tokens are asked for')
    worker = [p for p in children(host.pid) if role(p) == 'worker oauth-demo']
    check(len(worker) == 1, 'workers: %s' % worker)
    server.silent = False
    os.kill(worker[0], signal.SIGKILL)
    until(lambda: all('k' in c.delivered for c in server.clients.values()),
          20, 'delivered by the next worker')
    check(server.asked == asked + 4, '%d token requests' %
          (server.asked - asked))
    say('worker killed while it fetched: the next one did')


def reauthorised(box, host, server, configure):
    """What the operator enters counts, not what came of the old one."""
    for name, c in server.clients.items():
        c.refresh = 'second-refresh-token-of-' + name
    server.revoke()
    configure('second-refresh-token-of-')
    outcome = host.hangup()
    check(outcome['done'] and not outcome['refused'],
          'the reload: %s' % outcome)
    host.ingest('/v1/track', {'event': 'E', 'userId': 'u', 'messageId': 'n'})
    until(lambda: all('n' in c.delivered for c in server.clients.values()),
          20, lambda: 'delivered with the new refresh tokens: %s' %
          host.destination('one')['last_error'])
    say('authorised anew: the new refresh tokens were used')


def helpless(host, server):
    host.ingest('/v1/track', {'event': 'E', 'userId': 'u', 'messageId': 'h',
                              'properties': {'bad': 1}})
    until(lambda: all(host.destination(n)['dead'] == 1
                      for n in server.clients), 20,
          'the one that no token helps is dead')
    dead = until(lambda: host.get('/v1/destinations/one/dead')['dead'], 5,
                 'its dead letter')
    check(dead[0]['result'] == 401 and dead[0]['message_id'] == 'h',
          'the dead letter is %s' % dead)
    check('***' in dead[0]['response'], 'the answer kept is %s' %
          dead[0]['response'])
    say('refused twice: dead, %s' % dead[0]['error'])
    return json.dumps(dead)


def restarted(box, host, server):
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    mode = stat.S_IMODE(os.stat(os.path.join(box.data, 'state.db')).st_mode)
    check(mode == 0o600, 'state.db has mode %o' % mode)
    before = {n: c.fetches for n, c in server.clients.items()}
    host.start()
    host.ingest('/v1/track', {'event': 'E', 'userId': 'u', 'messageId': 's'})
    until(lambda: all('s' in c.delivered for c in server.clients.values()),
          20, 'delivered after a restart')
    check(before == {n: c.fetches for n, c in server.clients.items()},
          'a token that was good was fetched again')
    server.revoke()
    host.ingest('/v1/track', {'event': 'E', 'userId': 'u', 'messageId': 't'})
    until(lambda: all('t' in c.delivered for c in server.clients.values()),
          20, 'delivered with the refresh token of before the restart')
    say('restarted: the replaced refresh tokens were kept')


def test(box):
    server = TokenServer(box.net)
    origin = 'http://127.0.0.1:%d' % server.port
    box.built = os.path.join(os.path.dirname(box.built), 'test-plugins')
    box.install('oauth-demo')

    def configure(refresh):
        box.write_config(box.config({
            name: {'plugin': 'oauth-demo', 'endpoint': origin,
                   'allow_private': True,
                   'settings': {'clientId': name,
                                'clientSecret': SECRET + name,
                                'refreshToken': refresh + name}}
            for name in server.clients}))

    configure(FIRST)
    host = box.host()
    host.start()
    under_load(box, host, server)
    revoked(box, host, server)
    outage(box, host, server)
    killed(host, server)
    dead = helpless(host, server)
    shown = dead + json.dumps(host.status())
    restarted(box, host, server)
    reauthorised(box, host, server, configure)
    shown += '\n'.join(host.log) + json.dumps(host.status())
    for token in server.issued | {SECRET + 'one', FIRST + 'one'}:
        check(token not in shown, '%s is shown' % token)
    check(not server.wrong, 'asked with %s' % server.wrong[:1])
    check(not any(c.reused for c in server.clients.values()),
          'a refresh token was used twice')
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)


if __name__ == '__main__':
    args = arguments()
    run(test, args)
