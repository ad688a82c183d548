# SPDX-License-Identifier: Apache-2.0
#
# proxy.py - a bad way between an SDK and the host. Requests that carry events
# are treated by how often each of these came: `plan` says what happens to the
# first attempt, to the second and so on; what comes after it passes.
#
#   'cut'   the host has the request and has answered; the connection is reset
#           or closed before the client has a byte of the answer
#   '429'   refused as the host does it when it is behind; it sees nothing
#   '503'   likewise, as when the disk is full
#
# All else passes: preflights, settings, images.

import asyncio
import collections
import gzip
import re
import socket
import struct

MESSAGE_ID = re.compile(rb'"messageId"\s*:\s*"([^"]+)"')
LINES = {'429': '429 Too Many Requests', '503': '503 Service Unavailable'}
RESET = struct.pack('ii', 1, 0)


def header(head, name):
    found = re.search(rb'(?im)^' + name + rb':[ \t]*([^\r\n]*)', head)
    return found and found[1]


async def read_message(reader):
    """(head, body as it came, body without chunks); None at the end."""
    try:
        head = await reader.readuntil(b'\r\n\r\n')
    except asyncio.IncompleteReadError:
        return None
    if b'chunked' in (header(head, rb'Transfer-Encoding') or b''):
        raw, plain = b'', b''
        while True:
            line = await reader.readuntil(b'\r\n')
            chunk = await reader.readexactly(int(line, 16) + 2)
            raw += line + chunk
            plain += chunk[:-2]
            if len(chunk) == 2:
                return head, raw, plain
    body = await reader.readexactly(int(header(head, rb'Content-Length')
                                        or 0))
    return head, body, body


class Proxy:
    def __init__(self, net, address, plan):
        self.host, self.port = address.rsplit(':', 1)
        self.plan = plan
        self.attempts = collections.Counter() # by messageId
        self.done = collections.Counter()     # 'pass', 'cut', '429', '503'
        self.paths = collections.Counter()    # 'OPTIONS /v1/t'
        self.statuses = collections.Counter() # of the host's answers
        server = net.run(asyncio_server(net, self))
        self.address = '127.0.0.1:%d' % server.sockets[0].getsockname()[1]

    def what_to_do(self, head, plain):
        if (header(head, rb'Content-Encoding') or b'').lower() == b'gzip':
            plain = gzip.decompress(plain)
        ids = set(MESSAGE_ID.findall(plain))
        before = min((self.attempts[i] for i in ids), default=None)
        self.attempts.update(ids)
        if before is None or before >= len(self.plan):
            return 'pass'
        return self.plan[before]

    async def forward(self, request):
        """What the host answers, over a connection of its own."""
        reader, writer = await asyncio.open_connection(self.host,
                                                       int(self.port))
        writer.write(request)
        answer = await read_message(reader)
        writer.close()
        return answer[0] + answer[1]

    async def serve(self, reader, writer):
        try:
            while await self.one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass # the client has gone
        finally:
            writer.close()

    async def one(self, reader, writer):
        got = await read_message(reader)
        if not got:
            return False
        head, raw, plain = got
        method, path = head.split(b' ', 2)[:2]
        self.paths['%s %s' % (method.decode(),
                              path.decode().split('?')[0])] += 1
        what = self.what_to_do(head, plain)
        self.done[what] += 1
        if what in LINES:
            writer.write(refusal(what, header(head, rb'Origin')))
            return True
        answer = await self.forward(head + raw)
        self.statuses[int(answer.split(b' ', 2)[1])] += 1
        if what == 'pass':
            writer.write(answer)
            return b'Connection: close' not in answer
        if self.done['cut'] % 2:
            writer.get_extra_info('socket').setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return False


async def asyncio_server(net, proxy):
    return await net.loop.create_server(
        lambda: asyncio.StreamReaderProtocol(
            asyncio.StreamReader(limit=1 << 22, loop=net.loop), proxy.serve,
            loop=net.loop), '127.0.0.1', 0)


def refusal(what, origin):
    """As host/ingest/api.c says it."""
    code = 'overloaded' if what == '429' else 'disk_full'
    body = ('{"success":false,"code":"%s","message":"send it again later",'
            '"error":"send it again later"}' % code)
    lines = ['HTTP/1.1 ' + LINES[what], 'Content-Type: application/json',
             'Retry-After: 1', 'X-RateLimit-Reset: 1',
             'Content-Length: %d' % len(body)]
    if origin:
        lines += ['Access-Control-Allow-Origin: ' + origin.decode(),
                  'Access-Control-Allow-Credentials: true',
                  'Access-Control-Expose-Headers: Retry-After, '
                  'X-RateLimit-Reset', 'Vary: Origin']
    return ('\r\n'.join(lines) + '\r\n\r\n' + body).encode()
