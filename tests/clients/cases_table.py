# SPDX-License-Identifier: Apache-2.0
#
# cases_table.py - which rows of cases_test.py belong to which case of a client,
# what is decided for it, and the table that tells what was answered.

import cases_events as ev
import cases_http as http
import cases_json
import cases_pixel as pixel
import cases_repeated as again

# (case, what is decided, its rows)
CASES = [
    ('every path, with slash and query', '200, once',
     [ev.every_path, ev.path_over_type, pixel.slashes]),
    ('another path', '404', [ev.unknown_path]),
    ('metrics of an SDK', '200, dropped', [ev.metrics_are_dropped]),
    ('unknown write key', '400', [ev.key_unknown]),
    ('no or empty write key', '400', [ev.key_missing]),
    ('key in header, body, batch, event', '200, once',
     [ev.key_in_header, ev.key_in_body, ev.key_in_events]),
    ('malformed JSON, not UTF-8, empty', '400', [ev.not_json]),
    ('JSON that is no event', '400', [ev.not_an_event]),
    ('32,768 B event, single and in batch', '200, once', [ev.largest_event]),
    ('larger single event', '400', [ev.event_too_large]),
    ('batch with a larger member', '200, the others', [ev.member_too_large]),
    ('batch of 512,000 B', '200, all', [ev.largest_batch]),
    ('larger batch, also packed', '400', [ev.batch_too_large]),
    ('gzip bomb', '400', [ev.gzip_bomb]),
    ('more than 2,500 events', '400', [ev.most_events]),
    ('empty batch', '200', [ev.empty_batch]),
    ('wide context around a batch', '400', [ev.envelope_too_large]),
    ('not valid, single and in batch', '400; 200, kept apart', [ev.not_valid]),
    ('unknown type', '200, kept apart', [ev.unknown_type]),
    ('batch with some bad members', '200, good ones', [ev.bad_members]),
    ('bad, cut, mislabelled gzip; br', '400', [http.bad_gzip]),
    ('gzip, also chunked', '200, once', [http.gzipped]),
    ('any content type with JSON inside', '200, once', [http.content_types]),
    ('chunked', '200, once', [http.chunked]),
    ('pipelined x5', '200, once',
     [http.pipelined, http.pipelined_with_refusals]),
    ('keep-alive x50', '200, once', [http.kept_alive]),
    ('3-byte writes, slow body', '200, once',
     [http.small_writes, http.slow_body]),
    ('HTTP/1.0, Connection: close', '200, once', [http.closes]),
    ('Expect: 100-continue', '200, once', [http.expects]),
    ('60 stalled uploads beside', '200, < 2 s', [http.stalled_uploads]),
    ('two lengths, bad chunks', '400 or close', [http.smuggling]),
    ('not HTTP', '400 or close', [http.not_http]),
    ('HEAD, GET, PUT, DELETE, PATCH', '405', [http.other_methods]),
    ('OPTIONS', '200, names listed', [http.preflight]),
    ('a page of another origin', 'readable', [http.browsers]),
    ('settings of SDKs', '200; 404', [http.settings, pixel.source_config]),
    ('messageId x3', '200, once', [again.three_times]),
    ('messageId twice in a batch', '200, once', [again.in_one_batch]),
    ('messageId x20 at once', '200, once', [again.all_at_once]),
    ('messageId after a lost answer', '200, once', [again.lost_answer]),
    ('messageId with other content', '200, the first', [again.other_content]),
    ('no messageId', '200, once, one is set', [ev.no_message_id]),
    ('clock skew', '200, put right', [ev.clocks]),
    ('null, empty, numbers, names', '200, once',
     [ev.valid, ev.numbers, ev.escaped_names, ev.names_twice]),
    ('context of a batch', '200, merged', [ev.merged]),
    ('pixel with data', '200 image, once', [pixel.pixel_of_data]),
    ('pixel with parameters', '200 image, once', [pixel.pixel_of_parameters]),
    ('pixel again', '200 image, once', [pixel.pixel_twice]),
    ('pixel that is wrong', '200 image, kept apart', [pixel.pixel_refused]),
    ('beacon of RudderStack', '200, once', [pixel.beacon]),
    ('JSONTestSuite as properties.v', 'y 200 equal, n 400, i alike',
     [cases_json.json_suite, cases_json.json_transforms]),
]


def without_suite():
    """The cases, when there is no JSONTestSuite."""
    return [c for c in CASES if cases_json.json_suite not in c[2]]


def forgotten():
    """Rows that stand in no case; each must stand in one."""
    listed = [row for _, _, rows in CASES for row in rows]
    every = (ev.ROWS + http.ROWS + pixel.ROWS + again.ROWS + cases_json.ROWS)
    return [row.__name__ for row in every if listed.count(row) != 1]


def seen(answers):
    """'200 x12, 400 invalid_json x3'"""
    return ', '.join(label if n == 1 else '%s x%d' % (label, n)
                     for label, n in sorted(answers.items()))


def lines(done):
    """done: (case, decided, answers by label, events to store)"""
    widths = [max(len(row[i]) for row in done) for i in (0, 1)]
    yield '%-*s  %-*s  %6s  %s' % (widths[0], 'CASE', widths[1], 'DECIDED',
                                   'STORED', 'ANSWERED')
    for case, decided, answers, events in done:
        yield '%-*s  %-*s  %6d  %s' % (widths[0], case, widths[1], decided,
                                       events, seen(answers) or 'closed')
