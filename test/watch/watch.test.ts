// SPDX-License-Identifier: Apache-2.0
/** A kind followed through everything a server can do to it, in virtual time: requests and news as one transcript. */
import { concat, NEVER, of, timer, type Observable } from 'rxjs';
import { map, takeUntil } from 'rxjs/operators';
import { TestScheduler } from 'rxjs/testing';
import { expect, test } from 'vitest';
import type { Part } from '../../watch/request.ts';
import { watchCluster, type WatchOptions } from '../../watch/watch.ts';
import { bookmark, line, newsText, requestText, service, serviceList, status } from './words.ts';

/** Parts, and the milliseconds between them. */
type Script = readonly (Part | number)[];

const head = (code: number, retryAfterMs = 0): Part => ({ is: 'head', status: code, retryAfterMs, date: '' });
const bytes = (text: string): Part => ({ is: 'bytes', bytes: Buffer.from(text) });
const end: Part = { is: 'end' };
const lost = (reason: string): Part => ({ is: 'lost', reason });

const listOf = (version: number, ...names: readonly string[]): Script => [
  head(200),
  bytes(serviceList(version, names)),
  end,
];
const refusal = (code: number, message: string, retryAfterMs = 0): Script => [
  head(code, retryAfterMs),
  bytes(JSON.stringify(status(code, message))),
  end,
];

/** Runs the scripts as answers in order, after the last of them silence; lines of `ms what`. */
function play(untilMs: number, scripts: readonly Script[], more: Partial<WatchOptions> = {}): readonly string[] {
  const transcript: string[] = [];
  const rest = [...scripts];
  const scheduler = new TestScheduler(() => {});
  scheduler.run(() => {
    const say = (text: string): void => void transcript.push(`${scheduler.now()} ${text}`);
    const get = (path: string): Observable<Part> => {
      say(requestText(path));
      return concat(...(rest.shift() ?? []).map(step), NEVER);
    };
    const step = (one: Part | number): Observable<Part> =>
      typeof one === 'number' ? timer(one, scheduler).pipe(map(() => bytes(''))) : of(one);
    const options = { kinds: ['Service'] as const, lists: 'latest' as const, random: () => 0 };
    watchCluster({ get, scheduler, ...options, ...more })
      .pipe(takeUntil(timer(untilMs, scheduler)))
      .subscribe((news) => say(newsText(news)));
  });
  return transcript;
}

test('a list, then what the watch tells, in order and with versions', () => {
  const watched = [head(200), 10, bytes(line('ADDED', service('c', 8))), 5, bytes(bookmark(12))];
  expect(play(1000, [listOf(7, 'a', 'b'), watched])).toEqual([
    '0 list',
    '0 LISTED a b @7',
    '0 watch 7',
    '10 ADDED c @8',
    '15 BOOKMARK @12',
  ]);
});

test('a list in pages is one list, at the version of its pages', () => {
  const pages: readonly Script[] = [
    [head(200), bytes(serviceList(7, ['a', 'b'], 'one')), end],
    [head(200), bytes(serviceList(7, ['c'], 'two')), end],
    listOf(7, 'd'),
  ];
  expect(play(1000, pages)).toEqual([
    '0 list',
    '0 list continue=one',
    '0 list continue=two',
    '0 LISTED a b c d @7',
    '0 watch 7',
  ]);
});

test('a page that is gone: the list is asked for again, in one piece', () => {
  const first: Script = [head(200), bytes(serviceList(7, ['a'], 'one')), end];
  expect(play(1000, [first, refusal(410, 'the continue token is too old'), listOf(9, 'a', 'b')])).toEqual([
    '0 list',
    '0 list continue=one',
    '0 DISCONNECTED 410: the continue token is too old',
    '0 list whole',
    '0 LISTED a b @9',
    '0 watch 9',
  ]);
});

test('a watch that expires goes on at its last version, and nothing is said', () => {
  const watched: Script = [head(200), bytes(bookmark(40)), 240_000, end];
  expect(play(241_000, [listOf(7, 'a'), watched])).toEqual([
    '0 list',
    '0 LISTED a @7',
    '0 watch 7',
    '0 BOOKMARK @40',
    '240000 watch 40',
  ]);
});

test('a server that ends every watch at once is asked less and less often', () => {
  const over: Script = [head(200), end];
  expect(play(4000, [listOf(7), over, over, over, over, over])).toEqual([
    '0 list',
    '0 LISTED  @7',
    ...['0 watch 7', '0 watch 7', '500 watch 7', '1500 watch 7', '3500 watch 7'],
  ]);
});

test.each([
  ['as an answer', refusal(410, 'too old resource version: 7 (900)'), '410: too old resource version: 7 (900)'],
  [
    'as a line of the watch',
    [head(200), bytes(line('ERROR', status(410, 'too old resource version: 7 (900)')))],
    'too old resource version: 7 (900)',
  ],
])('410 %s: listed again at once', (_title, gone: Script, reason) => {
  expect(play(100, [listOf(7, 'a'), gone, listOf(901, 'b')])).toEqual([
    '0 list',
    '0 LISTED a @7',
    '0 watch 7',
    `0 DISCONNECTED ${reason}`,
    '0 list',
    '0 LISTED b @901',
    '0 watch 901',
  ]);
});

test('410 for every watch: lists do not follow each other without a pause', () => {
  const gone = refusal(410, 'gone');
  const rounds = Array.from({ length: 20 }, (_, index) => [listOf(7 + index), gone]).flat();
  const lists = play(60_000, rounds).filter((text) => text.endsWith(' list'));
  // 0, 0, then after 500 ms, 1, 2, 4, 8, 15, 15 s.
  expect(lists.map((text) => Number(text.split(' ')[0]))).toEqual([
    0, 0, 500, 1500, 3500, 7500, 15_500, 30_500, 45_500,
  ]);
});

test('a connection that breaks: said once however long it lasts, then a list', () => {
  const refused: Script = [lost('connect ECONNREFUSED')];
  const broken: Script = [head(200), 2000, lost('aborted')];
  expect(play(5500, [listOf(7, 'a'), broken, refused, refused, listOf(9, 'a'), [head(200)]])).toEqual([
    '0 list',
    '0 LISTED a @7',
    '0 watch 7',
    '2000 DISCONNECTED aborted',
    '2250 list',
    '2750 list',
    '3750 list',
    '3750 LISTED a @9',
    '3750 watch 9',
  ]);
});

test('the second outage is said as well', () => {
  const broken: Script = [head(200), 2000, lost('aborted')];
  const told = play(9000, [listOf(7), broken, listOf(8), broken]).filter((text) => text.includes('DISC'));
  expect(told).toEqual(['2000 DISCONNECTED aborted', '4250 DISCONNECTED aborted']);
});

test('waits are between half and the whole of what doubles, by chance', () => {
  const refused: Script = [lost('refused')];
  const whole = play(4000, [refused, refused, refused, refused], { random: () => 0.999_999 });
  const times = whole.filter((text) => text.endsWith(' list')).map((text) => Math.round(Number(text.split(' ')[0])));
  expect(times).toEqual([0, 500, 1500, 3500]);
});

test.each([429, 500, 503])('%i with Retry-After: not asked before', (code) => {
  const asked = play(30_000, [refusal(code, 'busy', 20_000), listOf(7, 'a')]);
  expect(asked).toEqual(['0 list', `0 DISCONNECTED ${code}: busy`, '20000 list', '20000 LISTED a @7', '20000 watch 7']);
});

test('a line cut in the middle is no event, and what follows is not believed without a list', () => {
  const cut = line('ADDED', service('c', 8));
  const broken: Script = [head(200), bytes(cut + cut.slice(0, 40)), end];
  expect(play(400, [listOf(7, 'a'), broken, listOf(9, 'a', 'c')])).toEqual([
    '0 list',
    '0 LISTED a @7',
    '0 watch 7',
    '0 ADDED c @8',
    '0 DISCONNECTED cut in the middle of a line, after 40 bytes of it',
    '250 list',
    '250 LISTED a c @9',
    '250 watch 9',
  ]);
});

const node = { kind: 'Node', apiVersion: 'v1', metadata: { name: 'n', resourceVersion: '8' } };
test.each([
  ['not JSON', '{"type":"ADDED","obj\n', /^DISCONNECTED not JSON: /],
  ['another kind', line('ADDED', node), /^DISCONNECTED ADDED of another kind in a watch of Service$/],
  ['a kind unheard of', line('MODIFIED', { kind: 'Cat', metadata: { resourceVersion: '8' } }), /object of kind Cat$/],
  ['a type unheard of', line('PURRED', service('c', 8)), /^DISCONNECTED a line of type "PURRED"$/],
  ['no version', line('ADDED', { kind: 'Service', metadata: { name: 'c' } }), /without a resourceVersion$/],
  ['an ERROR line', line('ERROR', status(500, 'etcd is ill')), /^DISCONNECTED the watch was ended: etcd is ill$/],
  ['nothing but an HTML page', '<html>\n', /^DISCONNECTED not JSON/],
])('a watch that says %s ends there: later lines of it do not count', (_title, text, expected) => {
  const later = line('ADDED', service('later', 9));
  const told = play(400, [listOf(7), [head(200), bytes(text + later)], listOf(9, 'later')]);
  expect(told.slice(0, 3)).toEqual(['0 list', '0 LISTED  @7', '0 watch 7']);
  expect(told[3]?.replace(/^0 /, '')).toMatch(expected);
  expect(told.slice(4)).toEqual(['250 list', '250 LISTED later @9', '250 watch 9']);
});

test.each([
  ['another list', '{"kind":"NodeList","metadata":{"resourceVersion":"7"},"items":[]}', 'not a ServiceList'],
  ['no version', '{"kind":"ServiceList","metadata":{},"items":[]}', 'a list without a resourceVersion'],
  [
    'an item without a name',
    '{"kind":"ServiceList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{}}]}',
    'items[0]: a Service without metadata.name',
  ],
])('a list with %s is not believed: what it leaves out would count as deleted', (_title, body, reason) => {
  const told = play(300, [[head(200), bytes(body), end], listOf(8, 'a')]);
  expect(told).toEqual(['0 list', `0 DISCONNECTED ${reason}`, '250 list', '250 LISTED a @8', '250 watch 8']);
});

test('a list that is cut is no list', () => {
  const half = serviceList(7, ['a', 'b']).slice(0, -20);
  expect(play(300, [[head(200), bytes(half), lost('aborted')], listOf(8, 'a', 'b')])[1]).toBe('0 DISCONNECTED aborted');
});

test('a server that accepts and says nothing is given up after 30 s', () => {
  const told = play(31_000, [listOf(7, 'a'), [], listOf(8, 'a')]);
  expect(told.slice(3, 5)).toEqual(['30000 DISCONNECTED no answer for 30 s', '30250 list']);
});

test('a watch that the server forgot to end is ended when its time has long been over', () => {
  const told = play(300_000, [listOf(7, 'a'), [head(200), 1, bytes(bookmark(8))], listOf(9, 'a')]);
  expect(told.slice(4, 6)).toEqual(['270000 DISCONNECTED not over after 270 s', '270250 list']);
});

test('lists from a cache are never older than what was heard', () => {
  const broken: Script = [head(200), bytes(bookmark(40)), lost('aborted')];
  const asked = play(400, [listOf(7, 'a'), broken, listOf(41, 'a')], { lists: 'cached' });
  expect(asked.filter((text) => text.includes('list'))).toEqual(['0 list NotOlderThan 0', '250 list NotOlderThan 40']);
});

test('a cache that is behind what is known is passed by: a store put back from a copy has older versions', () => {
  const broken: Script = [head(200), bytes(bookmark(40)), lost('aborted')];
  const behind = refusal(504, 'Too large resource version: 40, current: 12');
  const asked = play(2000, [listOf(7, 'a'), broken, behind, listOf(12, 'a'), broken], { lists: 'cached' });
  const lists = asked.filter((text) => text.includes('list'));
  expect(lists).toEqual(['0 list NotOlderThan 0', '250 list NotOlderThan 40', '750 list', '1000 list NotOlderThan 40']);
});

test('each kind is followed on its own', () => {
  const told = play(100, [listOf(7, 'a'), [head(200), 50, lost('aborted')]], { kinds: ['Service', 'Node'] });
  expect(told.filter((text) => text.includes('list'))).toHaveLength(2);
});
