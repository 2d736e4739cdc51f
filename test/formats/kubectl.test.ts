// SPDX-License-Identifier: Apache-2.0
/** What kubectl prints as an event stream: watch events, bare objects, Lists; pretty or not; whole, cut or damaged. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { failureText } from '../../core/result.ts';
import { readEventStreams, timesText, type EventOptions, type EventStreams } from '../../formats/events.ts';
import { instantText } from '../../formats/instant.ts';

type Json = Readonly<Record<string, unknown>>;

const TRIGGER = 'endpoints.kubernetes.io/last-change-trigger-time';

/** As the API server sends it, with what we do not read. */
function slice(name: string, second?: number, addresses: readonly string[] = ['10.244.1.4']): Json {
  const annotations = second === undefined ? {} : { annotations: { [TRIGGER]: `2026-01-01T10:00:0${second}Z` } };
  return {
    addressType: 'IPv4',
    apiVersion: 'discovery.k8s.io/v1',
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    kind: 'EndpointSlice',
    metadata: { ...annotations, name, namespace: 'shop', resourceVersion: '17' },
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

function watched(type: string, object: Json): Json {
  return { type, object };
}

/** kubectl indents by four, jq by two, `-o json --watch --output-watch-events` of some versions not at all. */
function printed(indent: number, ...values: readonly Json[]): string {
  return values.map((value) => `${JSON.stringify(value, undefined, indent)}\n`).join('');
}

function read(text: string | Uint8Array, options: EventOptions = {}): EventStreams {
  return readEventStreams([{ name: 'slices', bytes: typeof text === 'string' ? Buffer.from(text) : text }], options);
}

function told({ events }: EventStreams): string[] {
  return events.map(({ event, line, ...moment }) => {
    const time = instantText(moment).slice(17, 19);
    if (event.type === 'LISTED') {
      return `${line} :${time} LISTED ${event.kind} ${event.items.map((item) => item.metadata?.name).join(',')}`;
    }
    const what = 'object' in event ? event.object.metadata?.name : event.kind;
    return `${line} :${time} ${event.type} ${what}`;
  });
}

test.each([0, 2, 4])('watch events with an indent of %i are told one by one, the first ones as a list', (indent) => {
  const streams = read(
    printed(
      indent,
      watched('ADDED', slice('api-1', 5)),
      watched('ADDED', slice('web-1', 1)),
      watched('MODIFIED', slice('web-1', 7, [])),
      watched('ADDED', slice('web-2', 8)),
      watched('DELETED', slice('web-1')),
    ),
  );
  expect(streams.failures).toEqual([]);
  expect(told(streams).map((text) => text.replace(/^\d+ /, ''))).toEqual([
    ':05 LISTED EndpointSlice api-1,web-1',
    ':07 MODIFIED web-1',
    ':08 ADDED web-2',
    ':08 DELETED web-1',
  ]);
  expect(streams.times).toEqual({ exact: 0, trigger: 4, arrival: 1 });
  expect(timesText(streams)).toEqual([
    '0 events with the time of their arrival',
    `4 with the time of the change behind them, to the second (${TRIGGER})`,
    '1 without a time: they count from the one before them in their file',
  ]);
});

test('an ADDED out of the order of a list is a later one, also before anything else was told', () => {
  const names = ['api-1', 'web-1', 'chat-1', 'web-2'];
  const streams = read(printed(4, ...names.map((name) => watched('ADDED', slice(name)))));
  expect(told(streams).map((text) => text.slice(text.indexOf(':')))).toEqual([
    ':00 LISTED EndpointSlice api-1,web-1',
    ':00 ADDED chat-1',
    ':00 ADDED web-2',
  ]);
});

test('bare objects are the list, then changes; that deletions are not seen is said', () => {
  const streams = read(printed(4, slice('api-1', 1), slice('web-1', 1), slice('web-1', 4, [])));
  expect(told(streams).map((text) => text.slice(text.indexOf(':')))).toEqual([
    ':01 LISTED EndpointSlice api-1,web-1',
    ':04 MODIFIED web-1',
  ]);
  expect(streams.untyped).toBe(3);
  expect(streams.problems.map(failureText)).toEqual([
    'slices line 1: nothing says what happened to these objects, so deletions are not seen; ' +
      'give kubectl --output-watch-events',
  ]);
});

test('a List holds all there is of each of its kinds, and of its own kind also nothing', () => {
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'shop' } };
  const ingress = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: { name: 'i' } };
  const mixed = { apiVersion: 'v1', kind: 'List', items: [slice('web-1', 3), service, ingress] };
  const { kind: _, ...item } = slice('web-9', 6);
  const own = { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSliceList', items: [item] };
  const none = { ...own, items: [] };
  const streams = read(printed(4, mixed, own, none));
  expect(told(streams).map((text) => text.slice(text.indexOf(':')))).toEqual([
    ':03 LISTED Service web',
    ':03 LISTED EndpointSlice web-1',
    ':06 LISTED EndpointSlice web-9',
    ':06 LISTED EndpointSlice ',
  ]);
  expect([...streams.skipped]).toEqual([['Ingress', 1]]);
});

test('an error of the API server is a gap in all that the file tells', () => {
  const status = { kind: 'Status', code: 410, reason: 'Gone', message: 'too old resource version: 1 (2)' };
  const streams = read(printed(0, watched('ADDED', slice('web-1', 1)), watched('ERROR', status)));
  expect(told(streams)).toEqual(['1 :01 LISTED EndpointSlice web-1', '2 :01 DISCONNECTED EndpointSlice']);
  expect(streams.problems.map(failureText)).toEqual([
    'slices line 2: the API server ended the watch: Gone 410 too old resource version: 1 (2)',
  ]);
});

test('a change that may have happened at any time makes nobody look wrong: nothing after the list is complete', () => {
  const untimed = read(printed(4, watched('ADDED', slice('web-1')), watched('DELETED', slice('web-1'))));
  expect(untimed.completeUntil).toEqual({ seconds: 0, nanoseconds: 0 });
  expect(untimed.problems.map(failureText)).toEqual([
    expect.stringMatching(/^slices line \d+: nothing says when this change happened, nor those before it: /),
  ]);
  const listed = read(printed(4, watched('ADDED', slice('web-1'))));
  expect([listed.completeUntil, listed.problems]).toEqual([undefined, []]);
});

test('a change without a time after one with a time counts from that, and it is said', () => {
  const changes = [watched('MODIFIED', slice('web-1', 5)), watched('DELETED', slice('web-1'))];
  const streams = read(printed(0, watched('ADDED', slice('web-1', 1)), ...changes, ...changes));
  expect(streams.completeUntil).toBeUndefined();
  expect(streams.problems.map(failureText)).toEqual([
    'slices line 3: nothing says when this change happened: it counts from the one before it, and so do others below',
  ]);
});

test('a mistake in the middle of a pretty object is told by its own line', () => {
  const good = printed(4, watched('MODIFIED', slice('web-1', 1)));
  const lines = good.length - good.replaceAll('\n', '').length;
  const damaged = good.replace('"port": 8080', '"port": 80 80');
  const wrongLine = damaged.split('\n').findIndex((line) => line.includes('80 80')) + 1;
  const streams = read(good + damaged + good, { onBad: 'skip' });
  expect(streams.failures.map(({ object }) => object)).toEqual([`slices line ${lines + wrongLine}`]);
  expect(streams.events.length).toBe(2);
});

const documentShape = fc.record({
  type: fc.constantFrom('ADDED', 'MODIFIED', 'DELETED', undefined),
  name: fc.constantFrom('a', 'b', 'c', '}', '{"', '\n{'),
  second: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
  indent: fc.constantFrom(0, 1, 2, 4),
});

type Shape = typeof documentShape extends fc.Arbitrary<infer T> ? T : never;

function textOf({ type, name, second, indent }: Shape): string {
  const object = slice(name, second);
  return printed(indent, type === undefined ? object : watched(type, object));
}

/** Objects that were told, in order of lines: a list counts for each of its items. */
function namesOf({ events }: EventStreams): string[] {
  return events
    .toSorted((left, right) => left.line - right.line)
    .flatMap(({ event }) => (event.type === 'LISTED' ? event.items : 'object' in event ? [event.object] : []))
    .map((object) => object.metadata?.name ?? '');
}

test('every object is told, whatever the mixture of forms and indents', () => {
  fc.assert(
    fc.property(fc.array(documentShape, { maxLength: 12 }), (shapes) => {
      const streams = read(shapes.map(textOf).join(''));
      expect(streams.failures).toEqual([]);
      expect(namesOf(streams).sort()).toEqual(shapes.map(({ name }) => name).sort());
    }),
  );
});

/** Lines that no stream should hold. */
const garbage = fc.oneof(
  fc.constantFrom(
    'x',
    '{',
    '}',
    '[',
    '    "a": 1,',
    'error: the server is gone',
    '{"type":',
    '\u0000',
    '{}',
    'null',
    ']',
  ),
  fc.string({ maxLength: 40 }).map((text) => text.replaceAll(/[\r\n]/g, ' ')),
);

test('garbage between objects costs no object before it, and is told with file and line', () => {
  fc.assert(
    fc.property(
      fc.array(documentShape, { minLength: 1, maxLength: 6 }),
      garbage,
      fc.array(documentShape, { maxLength: 6 }),
      (before, bad, after) => {
        const head = before.map(textOf).join('');
        const text = `${head}${bad}\n${after.map(textOf).join('')}`;
        const stopped = read(text);
        const names = namesOf(stopped).sort();
        const wanted = [...before, ...(bad.trim() === '' ? after : [])].map(({ name }) => name).sort();
        expect(names).toEqual(wanted);
        if (bad.trim() === '') return;
        const badLine = head.split('\n').length;
        expect(stopped.failures.map(({ object, kind }) => `${kind} ${object}`)).toEqual([
          expect.stringMatching(new RegExp(`^input slices line ${badLine}$`)),
        ]);
        // Going on costs at most the one object that the garbage ran into.
        const skipped = read(text, { onBad: 'skip' });
        expect(namesOf(skipped).length).toBeGreaterThanOrEqual(before.length + after.length - 1);
      },
    ),
  );
});

test('cuts and flips never crash, and what stood before them is told', () => {
  fc.assert(
    fc.property(
      fc.array(documentShape, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.constantFrom<'cut' | number>('cut', 1, 0x20, 0x80, 0xff),
      (shapes, place, damage) => {
        const texts = shapes.map((shape) => Buffer.from(textOf(shape)));
        const whole = Buffer.concat(texts);
        const at = place % whole.length;
        const damaged = damage === 'cut' ? whole.subarray(0, at) : Buffer.from(whole);
        if (damage !== 'cut') damaged[at] = (whole[at] ?? 0) ^ damage;
        let end = 0;
        const untouched = texts.filter((text) => (end += text.length) <= at);
        for (const onBad of ['stop', 'skip'] as const) {
          const streams = read(damaged, { onBad });
          const names = namesOf(streams);
          expect(names.length).toBeGreaterThanOrEqual(untouched.length);
          for (const { object } of streams.failures) expect(object).toMatch(/^slices line [1-9]\d*$/);
        }
      },
    ),
  );
});

test('a List that is nested a million deep is one object that cannot be read, and no crash', () => {
  const streams = read(`${'{"a":['.repeat(1_000_000)}\n${printed(0, slice('web-1', 1))}`, { onBad: 'skip' });
  expect(streams.failures.length).toBe(1);
  expect(namesOf(streams)).toEqual(['web-1']);
});
