// SPDX-License-Identifier: Apache-2.0
/** Event streams: lists, merging, and what becomes of lines that cannot be read. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import type { ClusterEvent } from '../../core/objects.ts';
import { failureText } from '../../core/result.ts';
import { readEventStreams, timesText, type EventOptions, type EventStreams } from '../../formats/events.ts';
import type { InputSource } from '../../formats/input.ts';
import { instantText } from '../../formats/instant.ts';

type Json = Readonly<Record<string, unknown>>;

function stream(name: string, ...lines: readonly (Json | string)[]): InputSource {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)));
  return { name, bytes: Buffer.from(text.map((line) => `${line}\n`).join('')) };
}

/** A time of the test's morning, `second` after 10:00:00. */
function at(second: number): string {
  return instantText({ seconds: 1_767_261_600 + Math.floor(second), nanoseconds: Math.round((second % 1) * 1e9) });
}

function object(kind: string, name: string, more: Json = {}): Json {
  return { kind, metadata: { name, namespace: 'shop', ...more } };
}

function added(second: number, kind: string, name: string): Json {
  return { at: at(second), type: 'ADDED', object: object(kind, name) };
}

function modified(second: number, kind: string, name: string): Json {
  return { at: at(second), type: 'MODIFIED', object: object(kind, name) };
}

/** One word for an event: `LISTED Service[web,api]`. */
function word(event: ClusterEvent): string {
  switch (event.type) {
    case 'LISTED':
      return `LISTED ${event.kind}[${event.items.map((item) => item.metadata?.name).join(',')}]`;
    case 'DISCONNECTED':
    case 'BOOKMARK':
      return `${event.type} ${event.kind}`;
    default:
      return `${event.type} ${event.object.kind} ${event.object.metadata?.name}`;
  }
}

/** One line for each event: time, place, event. */
function told(streams: EventStreams): string[] {
  return streams.events.map(
    (timed) => `${instantText(timed).slice(14, -8)} ${timed.file}:${timed.line} ${word(timed.event)}`,
  );
}

function read(sources: readonly InputSource[], options: EventOptions = {}): EventStreams {
  return readEventStreams(sources, options);
}

test('leading ADDED lines of a kind are its list, whatever stands between them', () => {
  const streams = read([
    stream(
      'a',
      added(0, 'Service', 'web'),
      added(0.1, 'EndpointSlice', 'web-1'),
      added(0.2, 'Service', 'api'),
      modified(0.3, 'Service', 'web'),
      added(0.4, 'Service', 'new'),
      added(0.5, 'EndpointSlice', 'web-2'),
    ),
  ]);
  expect(told(streams)).toEqual([
    '00:00.20 a:3 LISTED Service[web,api]',
    '00:00.30 a:4 MODIFIED Service web',
    '00:00.40 a:5 ADDED Service new',
    '00:00.50 a:6 LISTED EndpointSlice[web-1,web-2]',
  ]);
});

test('a gap of a second ends the list', () => {
  const streams = read([
    stream('a', added(0, 'Service', 'web'), added(0.999, 'Service', 'api'), added(1.999, 'Service', 'new')),
  ]);
  expect(told(streams)).toEqual(['00:00.99 a:2 LISTED Service[web,api]', '00:01.99 a:3 ADDED Service new']);
});

test('a stream with its own list keeps the ADDED lines after it', () => {
  const listed = {
    at: at(0),
    type: 'LISTED',
    kind: 'Service',
    resourceVersion: '7',
    items: [{ metadata: { name: 'web' } }],
  };
  const streams = read([stream('a', listed, added(0.1, 'Service', 'api'))]);
  expect(told(streams)).toEqual(['00:00.00 a:1 LISTED Service[web]', '00:00.10 a:2 ADDED Service api']);
  expect(streams.events[0]?.event).toEqual({
    type: 'LISTED',
    kind: 'Service',
    items: [{ kind: 'Service', metadata: { name: 'web' } }],
  });
});

test('an object that is told twice stands once in the list, as it was last', () => {
  const streams = read([stream('a', added(0, 'Pod', 'p'), added(0.1, 'Pod', 'q'), added(0.2, 'Pod', 'p'))]);
  expect(told(streams)).toEqual(['00:00.20 a:3 LISTED Pod[p,q]']);
});

test('files are merged by time, then kind, then order of files', () => {
  const streams = read([
    stream('pods', modified(5, 'Pod', 'p')),
    stream('slices', modified(5, 'EndpointSlice', 'first'), modified(5, 'EndpointSlice', 'second')),
    stream('more', modified(5, 'EndpointSlice', 'third'), modified(4.5, 'EndpointSlice', 'held')),
    stream('services', modified(5, 'Service', 's'), modified(6, 'Service', 's')),
    stream('nodes', modified(4, 'Node', 'n'), modified(5, 'Node', 'n')),
  ]);
  expect(told(streams)).toEqual([
    '00:04.00 nodes:1 MODIFIED Node n',
    '00:05.00 nodes:2 MODIFIED Node n',
    '00:05.00 services:1 MODIFIED Service s',
    '00:05.00 slices:1 MODIFIED EndpointSlice first',
    '00:05.00 slices:2 MODIFIED EndpointSlice second',
    '00:05.00 more:1 MODIFIED EndpointSlice third',
    '00:05.00 more:2 MODIFIED EndpointSlice held',
    '00:05.00 pods:1 MODIFIED Pod p',
    '00:06.00 services:2 MODIFIED Service s',
  ]);
  expect(streams.problems.map(failureText)).toContain(
    'more line 2: time goes back by 500.000 ms; from here on the order of lines counts',
  );
});

test('watches of two namespaces that begin together are one list', () => {
  const streams = read([
    stream('shop', added(0, 'EndpointSlice', 'web-1')),
    stream('bank', added(0.5, 'EndpointSlice', 'money-1')),
  ]);
  expect(told(streams)).toEqual(['00:00.50 bank:1 LISTED EndpointSlice[web-1,money-1]']);
});

test('disconnections, bookmarks and the header are kept', () => {
  const header = { type: 'STREAM', cluster: 'prod', recorder: 'tandem 0.1', clock: { offsetNs: -5, errorNs: 900 } };
  const streams = read([
    stream(
      'a',
      header,
      { at: at(1), type: 'BOOKMARK', object: { kind: 'Service', metadata: { resourceVersion: '9' } } },
      { at: at(2), type: 'DISCONNECTED', kind: 'EndpointSlice', reason: 'EOF' },
      { at: at(3), type: 'DELETED', object: object('EndpointSlice', 'web-1') },
    ),
  ]);
  expect(told(streams)).toEqual([
    '00:00.99 a:2 BOOKMARK Service',
    '00:01.99 a:3 DISCONNECTED EndpointSlice',
    '00:02.99 a:4 DELETED EndpointSlice web-1',
  ]);
  expect(timesText(streams)).toEqual([
    '3 events with the time of their arrival',
    'a: -0.000005 ms added to its clock, which may still be off by 0.0009 ms',
  ]);
  const { type: _, ...rest } = header;
  expect(streams.headers).toEqual([{ file: 'a', header: rest }]);
});

test('lines without a time get the time of the change behind them, or that of the line before', () => {
  const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': at(3) };
  const streams = read([
    stream(
      'kubectl',
      { type: 'ADDED', object: object('Service', 'web') },
      { type: 'MODIFIED', object: object('EndpointSlice', 'web-1', { annotations }) },
      { type: 'MODIFIED', object: object('EndpointSlice', 'web-2') },
    ),
  ]);
  expect(streams.events.map((timed) => timed.seconds)).toEqual([0, 1_767_261_603, 1_767_261_603]);
  expect(streams.times).toEqual({ exact: 0, trigger: 1, arrival: 2 });
});

const GOOD_BEFORE = modified(1, 'Service', 'before');
const GOOD_AFTER = modified(9, 'Service', 'after');

test.each([
  ['text', 'hello', 'not JSON: '],
  ['a line cut in the middle', '{"at":"2026-01-01T10:00:05Z","type":"ADD', 'not JSON: '],
  ['a list', '[]', 'not a JSON object'],
  ['no type', '{}', '"type" is missing'],
  ['another type', '{"type":"CHANGED","object":{"kind":"Pod"}}', 'unknown type "CHANGED"'],
  ['a time that is none', { ...GOOD_BEFORE, at: 'yesterday' }, '"at": time "yesterday": not a time as in RFC 3339'],
  ['a time that is a number', { ...GOOD_BEFORE, at: 5 }, '"at" is not text'],
  ['no object', { at: at(2), type: 'ADDED' }, 'not an object'],
  ['an object without a kind', { at: at(2), type: 'ADDED', object: {} }, 'an object without a kind'],
  ['an object without a name', { at: at(2), type: 'ADDED', object: { kind: 'Pod' } }, 'a Pod without metadata.name'],
  ['a list without items', { at: at(2), type: 'LISTED', kind: 'Pod' }, '"items" is not a list'],
  [
    'a list with a bad item',
    { at: at(2), type: 'LISTED', kind: 'Pod', items: [object('Pod', 'p'), object('Service', 's')] },
    'items[1]: a Service in a list of Pod',
  ],
  ['a disconnection of nothing', { at: at(2), type: 'DISCONNECTED' }, '"kind" is missing'],
  ['a header in the middle', { type: 'STREAM' }, 'a STREAM line that is not the first'],
])('%s is a bad line: what was before it is kept', (_, line, message) => {
  const stopped = read([stream('a.events.ndjson', GOOD_BEFORE, line, GOOD_AFTER)]);
  expect(stopped.failures.map(failureText)).toEqual([expect.stringContaining(`a.events.ndjson line 2: ${message}`)]);
  expect(told(stopped)).toEqual(['00:01.00 a.events.ndjson:1 MODIFIED Service before']);
  expect(stopped.badLines).toBe(1);
  expect(stopped.completeUntil).toEqual({ seconds: 1_767_261_601, nanoseconds: 0 });

  const skipped = read([stream('a.events.ndjson', GOOD_BEFORE, line, GOOD_AFTER)], { onBad: 'skip' });
  expect(skipped.failures).toEqual(stopped.failures);
  expect(told(skipped)).toEqual([...told(stopped), '00:09.00 a.events.ndjson:3 MODIFIED Service after']);
  expect(skipped.completeUntil).toBeUndefined();
});

test('a line that is not UTF-8 is a bad line', () => {
  const bytes = Buffer.concat([Buffer.from(`${JSON.stringify(GOOD_BEFORE)}\n`), Buffer.of(0x7b, 0xff, 0x7d, 0x0a)]);
  expect(read([{ name: 'a', bytes }]).failures.map(failureText)).toEqual(['a line 2: not UTF-8']);
});

test('a bad line in one file does not end the reading of another', () => {
  const streams = read([stream('bad', GOOD_BEFORE, 'x'), stream('good', modified(5, 'Pod', 'p'))]);
  expect(told(streams)).toEqual(['00:01.00 bad:1 MODIFIED Service before', '00:05.00 good:1 MODIFIED Pod p']);
});

test('a file that is missing is a failure, and nothing is complete', () => {
  const streams = read(['/nowhere/a.events.ndjson', stream('good', GOOD_BEFORE)]);
  expect(streams.failures.map(failureText)).toEqual(['/nowhere/a.events.ndjson: cannot be opened: ENOENT']);
  expect(streams.events.length).toBe(1);
  expect(streams.completeUntil).toEqual({ seconds: 0, nanoseconds: 0 });
});

test('unknown kinds are skipped, counted and told once', () => {
  const foreign = {
    at: at(2),
    type: 'ADDED',
    object: { ...object('Service', 'fn'), apiVersion: 'serving.knative.dev/v1' },
  };
  const streams = read([
    stream(
      'a',
      GOOD_BEFORE,
      added(1, 'Ingress', 'i'),
      foreign,
      added(3, 'Ingress', 'j'),
      { at: at(3), type: 'LISTED', kind: 'Ingress', items: [] },
      GOOD_AFTER,
    ),
  ]);
  expect(streams.failures).toEqual([]);
  expect([...streams.skipped]).toEqual([
    ['Ingress', 3],
    ['Service (serving.knative.dev/v1)', 1],
  ]);
  expect(streams.problems.map(failureText)).toEqual([
    'a line 2: objects of kind Ingress are skipped',
    'a line 3: objects of kind Service (serving.knative.dev/v1) are skipped',
    'a line 1: no list of Service stands before its first MODIFIED',
  ]);
  expect(streams.events.length).toBe(2);
});

test('empty lines, carriage returns and a last line without an end are nothing special', () => {
  const text = `\n${JSON.stringify(GOOD_BEFORE)}\r\n\n  \n${JSON.stringify(GOOD_AFTER)}`;
  const streams = read([{ name: 'a', bytes: Buffer.from(text) }]);
  expect(told(streams)).toEqual(['00:01.00 a:2 MODIFIED Service before', '00:09.00 a:5 MODIFIED Service after']);
});

test('a file of garbage does not fill memory with complaints', () => {
  const streams = read([{ name: 'a', bytes: Buffer.from('x\n'.repeat(5000)) }], { onBad: 'skip' });
  expect(streams.failures.length).toBe(100);
  expect(streams.badLines).toBe(5000);
});

test('a stream with any byte changed never crashes, and the other line is told as before', () => {
  const bytes = Buffer.from(`${JSON.stringify(GOOD_BEFORE)}\n${JSON.stringify(GOOD_AFTER)}\n`);
  const first = bytes.indexOf('\n');
  for (let index = 0; index < bytes.length - 1; index += 1) {
    for (const flip of [0x01, 0x20, 0x80]) {
      const damaged = Uint8Array.from(bytes);
      damaged[index] = (bytes[index] ?? 0) ^ flip;
      const streams = read([{ name: 'a', bytes: damaged }], { onBad: 'skip' });
      const skipped = [...streams.skipped.values()].reduce((sum, count) => sum + count, 0);
      if (index === first) {
        expect(streams.failures.map(({ object }) => object)).toEqual(['a line 1']);
        continue;
      }
      const other = index < first ? 'MODIFIED Service after' : 'MODIFIED Service before';
      expect(
        streams.events.map(({ event }) => word(event)),
        `byte ${index}`,
      ).toContain(other);
      expect(streams.events.length + streams.badLines + skipped, `byte ${index}`).toBe(2);
      for (const { object } of streams.failures) expect(object).toBe(index < first ? 'a line 1' : 'a line 2');
    }
  }
});

test('a stream that is cut at any byte gives the whole lines before the cut', () => {
  const bytes = Buffer.from(`${JSON.stringify(GOOD_BEFORE)}\n${JSON.stringify(GOOD_AFTER)}\n`);
  const first = bytes.indexOf('\n');
  for (let length = 0; length < bytes.length; length += 1) {
    const streams = read([{ name: 'a', bytes: bytes.subarray(0, length) }]);
    const whole = length >= bytes.length - 1 ? 2 : length >= first ? 1 : 0;
    expect(streams.events.length, `cut at ${length}`).toBe(whole);
    const isBetweenLines = length === 0 || length === first || length === first + 1 || length >= bytes.length - 1;
    expect(streams.failures.length, `cut at ${length}`).toBe(isBetweenLines ? 0 : 1);
  }
});

test('splitting a stream into files by kind does not change what is told', () => {
  const kinds = ['Node', 'Service', 'EndpointSlice', 'Pod'] as const;
  const line = fc.record({
    kind: fc.constantFrom(...kinds),
    type: fc.constantFrom('ADDED', 'MODIFIED', 'DELETED'),
    name: fc.constantFrom('a', 'b', 'c'),
    gap: fc.constantFrom(0, 0.25, 1.5),
  });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 30 }), (made) => {
      let second = 0;
      const lines = made.map(({ kind, type, name, gap }) => {
        second += gap;
        return { at: at(second), type, object: object(kind, name) };
      });
      const words = (sources: readonly InputSource[]): string[] =>
        read(sources).events.map((timed) => `${instantText(timed)} ${word(timed.event)}`);
      const split = kinds.map((kind) => stream(kind, ...lines.filter((one) => one.object['kind'] === kind)));
      expect(words(split)).toEqual(words([stream('all', ...lines)]));
    }),
  );
});
