#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# browser_sdk.py - SDKs in a real browser, on a page of another origin: so every
# event has its preflight, and an answer that a page may not read would be sent
# again. Only the host is changed: settings come from it, and they name it for
# the events.
#
#   segment   @segment/analytics-next: one event a request, batches, on leaving
#             the page, over connections that are cut, past refusals; and page
#             code without an SDK: beacons, an image, fetch
#   rudder    @rudderstack/analytics-js, and its beacons
#
# Skipped where there is no Chromium.

import http.server
import json
import os
import threading

import cdp
import sdk
from harness import arguments, check, run, say, until
from kit import TYPES, WRITE_KEY, parse
from proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE_KEYS = ('path', 'referrer', 'search', 'title', 'url')
SLOW = {'strategy': 'batching', 'config': {'size': 100, 'timeout': 60000}}
BATCHES = {'strategy': 'batching', 'config': {'size': 10, 'timeout': 500}}


# ---- the page ---------------------------------------------------------------

class Files(http.server.SimpleHTTPRequestHandler):
    """The page, its script, and the SDKs as their packages hold them."""

    def translate_path(self, path):
        path = path.split('?')[0]
        for prefix, directory in self.roots:
            if path.startswith(prefix):
                return os.path.join(directory, os.path.basename(path) or
                                    'index.html')
        return '/nothing'

    def log_message(self, *_):
        pass


def serve(cache):
    modules = os.path.join(cache, 'node_modules')
    roots = [('/analytics-next/bundles/',
              os.path.join(modules, '@segment/analytics-next/dist/umd')),
             ('/rudder/', os.path.join(modules, '@rudderstack/analytics-js/'
                                       'dist/npm/modern/bundled/umd')),
             ('/', os.path.join(HERE, 'browser'))]
    handler = type('Handler', (Files,), {'roots': roots})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return 'http://127.0.0.1:%d/' % server.server_port


# ---- what the SDKs add ------------------------------------------------------

def additions(event, line):
    """Of load() its options; of a page its address, title and name."""
    own = line['integrations'].get('Segment.io')
    if own:
        check(own is True or set(own) == {'deliveryStrategy'},
              'options: %s' % own)
        event['integrations'] = {**event['integrations'], 'Segment.io': own}
    if event['type'] != 'page':
        return
    own = {k: line['properties'][k] for k in PAGE_KEYS
           if k in line['properties']}
    event['properties'] = {**own, **event['properties']}
    for k in ('name', 'category'):
        event['properties'][k] = event[k]


FORMS = {
    'segment': sdk.Form('analytics.js', ('anonymousId', 'userId', '_metadata'),
                        ('page', 'userAgent', 'userAgentData', 'locale',
                         'timezone'), additions),
    'page': sdk.Form('page'),
}


def traits(event, line):
    """The user's, with each event; the page's address with its properties."""
    own = {k: v for k, v in line['context'].items()
           if k not in event['context']}
    event['context'].update(own)
    if event['type'] == 'identify':
        check(event['traits'] == line['context']['traits'], 'other traits')
        del event['traits']
    elif event['type'] == 'page':
        event['properties'] = {**line['properties'], **event['properties']}
        for k in ('name', 'category'):
            event['properties'][k] = event[k]


FORMS['rudder'] = sdk.Form('RudderLabs JavaScript SDK',
                           ('anonymousId', 'userId', 'channel'), (), traits)


class Forms:
    """A form for each of several kinds of sender."""

    @staticmethod
    def faults(event, line):
        name = event['context']['test'].split('-')[0]
        return FORMS[name].faults(event, line)


# ---- ways to send -----------------------------------------------------------

class Shop:
    """The browser, the page, the host; and all that was sent."""

    def __init__(self, box, host, browser, page_url):
        self.box, self.host, self.browser = box, host, browser
        self.page_url, self.sent, self.done = page_url, [], []
        self.direct = host.addresses['ingest'][0]

    def open(self):
        return self.browser.page(self.page_url)

    def take(self, page):
        """What the page has sent; its SDK need not be ready with it."""
        got = parse(page.run('JSON.stringify(sent)'))
        self.sent += got
        return got

    def load(self, page, address, strategy=None):
        page.run('segment(%s, %s, %s)' % (json.dumps('http://' + address),
                                          json.dumps(WRITE_KEY),
                                          json.dumps(strategy)))

    def accepted(self, page, again=0):
        """Waits until the host has all there is."""
        try:
            sdk.await_counted(self.host, len(self.sent), again)
        except Exception as e:
            raise type(e)('%s; the browser says: %s' %
                          (e, page.complaints())) from None

    def proxy(self, plan):
        return Proxy(self.box.net, self.direct, plan)


def standard(shop):
    page = shop.open()
    shop.load(page, shop.direct)
    page.run("send(24, 'segment-standard')")
    shop.take(page)
    shop.accepted(page)
    page.close()


def snippet(shop):
    """Its script comes from the page's site, all else from the host."""
    page = shop.open()
    page.run('snippet(%s, %s, 3)' % (json.dumps('http://' + shop.direct),
                                     json.dumps(WRITE_KEY)))
    shop.take(page)
    shop.accepted(page)
    page.close()


def batching(shop):
    page = shop.open()
    shop.load(page, shop.direct, BATCHES)
    page.run("send(25, 'segment-batching')")
    shop.take(page)
    shop.accepted(page)
    page.close()


def with_cookies(shop):
    """credentials: 'include' refuses any answer that says '*'."""
    for name, strategy in (('one', {'config': {'credentials': 'include'}}),
                           ('many', {'strategy': 'batching', 'config': {
                               'credentials': 'include', 'timeout': 100}})):
        page = shop.open()
        shop.load(page, shop.direct, strategy)
        page.run("send(6, 'segment-cookies-%s')" % name)
        shop.take(page)
        shop.accepted(page)
        page.close()


def leaving(shop):
    """What waits for its batch goes when the page does."""
    page = shop.open()
    shop.load(page, shop.direct, SLOW)
    check(page.run("send(15, 'segment-leaving'), handled") == 15, 'handled')
    before = sdk.counted(shop.host)[0]
    shop.take(page)
    check(before == len(shop.sent) - 15, 'the batch did not wait')
    page.go('about:blank')
    shop.accepted(page)
    page.close()


def kept_alive(shop):
    """Requests under way outlive the page."""
    page = shop.open()
    shop.load(page, shop.direct, {'config': {'keepalive': True}})
    page.run("((all) => (send(6, 'segment-keepalive'), all))(issued(6))")
    shop.take(page)
    page.go('about:blank')
    shop.accepted(page)
    page.close()


def coming_back(shop):
    """What no answer came for is kept, and sent by the next page."""
    proxy = shop.proxy(['503'] * 1000)
    page = shop.open()
    shop.load(page, proxy.address)
    page.run("send(6, 'segment-back')")
    shop.take(page)
    until(lambda: proxy.done['503'] >= 6, 20, 'each was refused')
    page.go(shop.page_url)
    proxy.plan = []
    shop.load(page, proxy.address)
    shop.accepted(page)
    page.close()


def cut(shop):
    for name, count, strategy in (('one', 12, None), ('many', 20, BATCHES)):
        proxy = shop.proxy(['cut'])
        page = shop.open()
        again = sdk.counted(shop.host)[1]
        shop.load(page, proxy.address, strategy)
        page.run("send(%d, 'segment-cut-%s')" % (count, name))
        shop.take(page)
        shop.accepted(page, again + count)
        sdk.judge(proxy, ['cut'], count)
        check(proxy.paths['GET /v1/projects/%s/settings' % WRITE_KEY] == 1 and
              any(p.startswith('OPTIONS /v1/') for p in proxy.paths),
              'no settings or no preflight: %s' % proxy.paths)
        page.close()


def busy(shop):
    for name, count, strategy in (('one', 6, None), ('many', 10, BATCHES)):
        plan = ['429', '503']
        proxy = shop.proxy(plan)
        page = shop.open()
        shop.load(page, proxy.address, strategy)
        page.run("send(%d, 'segment-busy-%s')" % (count, name))
        shop.take(page)
        shop.accepted(page)
        sdk.judge(proxy, plan, count)
        page.close()


def transports(shop):
    page = shop.open()
    got = page.run('transports(%s, %s)' % (
        json.dumps('http://' + shop.direct), json.dumps(WRITE_KEY)))
    check(got == {'width': 1, 'beacon': True, 'blob': True, 'opaque': 'opaque',
                  'cors': {'success': True}, 'refused': [400, 'invalid_json']},
          'the browser makes of it: %s' % got)
    shop.take(page)
    page.go('about:blank')
    shop.accepted(page)
    page.close()


NO_SCREEN = [0, 1, 2, 4, 5] # of the page's calls: this SDK has no screen()


def rudder(shop, address, count, name, options):
    page = shop.open()
    page.run('rudder(%s, %s, %s)' % (json.dumps('http://' + address),
                                     json.dumps(WRITE_KEY),
                                     json.dumps(options)))
    page.run("send(%d, 'rudder-%s', %s)" % (count, name, NO_SCREEN))
    shop.take(page)
    return page


def rudder_standard(shop):
    page = rudder(shop, shop.direct, 20, 'standard', {})
    shop.accepted(page)
    page.close()


def rudder_beacon(shop):
    """Kept for a minute, or until the page is left."""
    proxy = shop.proxy([])
    page = rudder(shop, proxy.address, 10, 'beacon', {
        'useBeacon': True, 'beaconQueueOptions': {
            'maxItems': 100, 'flushQueueInterval': 60000}})
    check(sdk.counted(shop.host)[0] <= len(shop.sent) - 10, 'none waited')
    page.go('about:blank')
    shop.accepted(page)
    check(proxy.paths['POST /beacon/v1/batch'] > 0 and
          not any(p.startswith('POST /v1') for p in proxy.paths),
          'it went otherwise: %s' % proxy.paths)
    page.close()


def rudder_refused(shop):
    for plan in (['cut'], ['429', '503']):
        proxy = shop.proxy(plan)
        again = sdk.counted(shop.host)[1]
        page = rudder(shop, proxy.address, 5, plan[0], {})
        shop.accepted(page, again + 5 * plan.count('cut'))
        sdk.judge(proxy, plan, 5)
        page.close()


WAYS = {
    'rudder': [rudder_standard, rudder_beacon, rudder_refused],
    'segment': [standard, snippet, batching, with_cookies, leaving, kept_alive,
                coming_back, cut, busy, transports],
}


def test(box):
    sink = sdk.Sink(box)
    host = sdk.start(box, sink)
    browser = cdp.Browser(cdp.program())
    try:
        shop = Shop(box, host, browser, serve(args.cache))
        for way in WAYS[args.sdk]:
            before = len(shop.sent)
            way(shop)
            shop.done.append('%d %s' % (len(shop.sent) - before,
                                        way.__name__))
    finally:
        browser.close()
    sdk.finish(box, host, sink, Forms, shop.sent)
    kinds = {e['type'] for e in shop.sent}
    check(kinds == set(TYPES) - ({'screen'} if args.sdk == 'rudder' else
                                 set()), 'the kinds are %s' % kinds)
    say('%s in %s: %d events at a file and a receiver, each exactly once, all '
        'fields the same: %s' % (args.sdk, os.path.basename(cdp.program()),
                                 len(shop.sent), ', '.join(shop.done)))


def options(p):
    p.add_argument('--cache', required=True)
    p.add_argument('--sdk', required=True, choices=sorted(WAYS))


if __name__ == '__main__':
    args = arguments(options)
    if not cdp.program():
        sdk.skip('there is no Chromium')
    sdk.fetch_node(args.cache, '@segment/analytics-next')
    run(test, args)
