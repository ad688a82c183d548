#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# config.py - faults in the configuration: `check` and `run` tell them as
# FILE:LINE:COLUMN and exit 78; a host that runs keeps what it has, on SIGHUP
# and on `manifold reload`, which prints the server's refusal and exits 1.

import json
import re
import signal

from harness import Receiver, arguments, check, run, say, until

GOOD = '''{
  "data_dir": "data",
  "plugins_dir": "plugins",
  "ingest": { "listen": ["127.0.0.1:0"] },
  "admin": { "listen": "127.0.0.1:0" },
  "sources": {
    "web": { "write_key": "integration-key", "destinations": ["hook"] }
  },
  "destinations": {
    "hook": {
      "plugin": "webhook",
      "settings": {},
      "allow_private": true,
      "subscriptions": [ {
        "action": "send", "subscribe": "type = \\"track\\"",
        "mapping": { "url": "%s", "method": "POST",
                     "data": { "@path": "$." } } } ]
    }
  }
}
'''

# what is replaced, by what, (line, column) of the fault, words it must hold,
# whether `run` and a reload refuse it too: plugins may come later.
FAULTS = {
    'an unknown key': ('"allow_private"', '"allow_privat"', (13, 7),
                       ['allow_privat', 'allow_private'], True),
    'a wrong type': ('"allow_private": true', '"allow_private": "yes"',
                     (13, 24), ['allow_private'], True),
    'a missing key': ('"write_key": "integration-key", ', '', (7, 12),
                      ['write_key'], True),
    'an unset variable': ('integration-key', 'x${NOT_SET_ANYWHERE}', (7, 29),
                          ['NOT_SET_ANYWHERE'], True),
    'a destination nobody defines': ('["hook"]', '["hook", "nowhere"]',
                                     (7, 71), ['nowhere'], True),
    'a comma too few': ('"data",', '"data"', (3, 3), [], True),
    'an unknown plugin': ('"plugin": "webhook"', '"plugin": "webhok"',
                          (11, 17), ['webhok', 'webhook'], False),
    'an unknown setting': ('"settings": {}', '"settings": {"sharedsecret": '
                           '"s"}', (12, 20), ['sharedsecret'], False),
    'a missing field': ('"url": "%s", ', '', None, ['url'], False),
    'a wrong query': ('"type = \\"track\\"', '"(type = \\"track\\"',
                      (15, 41), ['subscribe', 'not closed'], True),
}


def place_in(text):
    """(file, line, column) of the first line that has them."""
    for line in text.splitlines():
        m = re.search(r'(\S+):(\d+):(\d+): \S', line)
        if m:
            return m.group(1), int(m.group(2)), int(m.group(3))
    return None


def faulty(text, url, what):
    old, new, _, _, _ = FAULTS[what]
    check(old in text, 'the test knows no %s' % old)
    text = text.replace(old, new, 1)
    return text % url if '%s' in text else text


def check_text(what, said, where):
    _, _, place, words, _ = FAULTS[what]
    found = place_in(said)
    check(found, '%s: %s gives no place: %s' % (what, where, said))
    check(found[0].endswith('manifold.json'), '%s: in file %s' %
          (what, found[0]))
    check(place is None or found[1:] == place, '%s: %s tells %s, not %s: %s' %
          (what, where, found[1:], place, said))
    for word in words:
        check(word in said, '%s: %s does not name %s: %s' %
              (what, where, word, said))


def commands(box, url):
    box.write_config(GOOD % url)
    r = box.command('check')
    check(r.returncode == 0, 'a good file: %d %s' % (r.returncode, r.stderr))
    for what, (_, _, _, _, refused) in FAULTS.items():
        box.write_config(faulty(GOOD, url, what))
        r = box.command('check')
        check(r.returncode == 78, '%s: check exits %d: %s' %
              (what, r.returncode, r.stderr))
        check(not r.stdout, '%s: check writes to standard output' % what)
        check_text(what, r.stderr, 'check')
        lines = r.stderr.splitlines()
        places = [line.split(': ')[0] for line in lines]
        check(len(set(places)) == len(places), '%s is told twice: %s' %
              (what, r.stderr))
        say('%s: %s' % (what, lines[0].replace(box.dir + '/', '')))
        if refused:
            r = box.command('run')
            check(r.returncode == 78, '%s: run exits %d: %s' %
                  (what, r.returncode, r.stderr))
            check_text(what, r.stderr, 'run')
    box.config_path += '.nowhere'
    r = box.command('check')
    box.config_path = box.config_path[:-len('.nowhere')]
    check(r.returncode == 78 and 'nowhere' in r.stderr,
          'no file: %d %s' % (r.returncode, r.stderr))


def send_one(host, path, i):
    name = 'after-%d' % i
    status, _ = host.ingest('/v1/track', {'event': 'E', 'userId': 'u',
                                          'messageId': name})
    check(status == 200, 'ingest answers %d' % status)
    until(lambda: name in path.delivered, 10, '%s is delivered' % name)


def running(box, receiver, url):
    """The old configuration serves on, whatever the file says."""
    path = receiver.path('/hook')
    box.write_config(GOOD % url)
    host = box.host()
    host.start()
    send_one(host, path, 0)
    before = host.destination('hook')['worker_pid']
    for i, what in enumerate(FAULTS, 1):
        box.write_config(faulty(GOOD, url, what))
        missing = what == 'an unknown plugin' # may come later: it waits
        outcome = host.hangup()
        check(outcome['refused'] != missing, '%s: the reload gives %s' %
              (what, json.dumps(outcome)))
        why = [c['why'] for c in outcome['changes'] if c.get('why')]
        check(why, '%s: no reason in %s' % (what, outcome))
        if not missing:
            check_text(what, why[0], 'SIGHUP')
        r = box.command('reload')
        if what == 'a comma too few': # where the server is, is not to be read
            check(r.returncode == 78, '%s: reload exits %d' %
                  (what, r.returncode))
        elif missing:
            check(r.returncode == 0 and 'webhok' in r.stdout,
                  '%s: reload: %d %s' % (what, r.returncode, r.stdout))
            check(host.destination('hook')['state'] == 'missing plugin',
                  'without its plugin it is %s' % host.destination('hook'))
            box.write_config(GOOD % url)
            host.hangup()
            before = host.destination('hook')['worker_pid']
        else:
            check(r.returncode == 1 and 'refused' in r.stdout,
                  '%s: reload exits %d: %s%s' % (what, r.returncode,
                                                 r.stdout, r.stderr))
            check_text(what, r.stdout, 'reload')
        check(host.destination('hook')['worker_pid'] == before,
              '%s: the worker is another' % what)
        send_one(host, path, i)
    box.write_config(GOOD % url)
    outcome = host.hangup()
    check(not outcome['refused'], 'a good file again: %s' % outcome)
    send_one(host, path, 100)
    say('a running host kept what it had through %d faults' % len(FAULTS))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)
    r = box.command('reload')
    check(r.returncode == 1 and 'no server' in r.stderr,
          'reload without a server: %d %s' % (r.returncode, r.stderr))


def test(box):
    receiver = Receiver(box.net)
    box.install('webhook')
    commands(box, receiver.url('/hook'))
    running(box, receiver, receiver.url('/hook'))


if __name__ == '__main__':
    args = arguments()
    run(test, args)
