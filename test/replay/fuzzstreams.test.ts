// SPDX-License-Identifier: Apache-2.0
/** Any stream that the grammar of events allows, with garbage in it or none, is judged as its own few rules say. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkOutcome,
  cutsOf,
  flipsOf,
  inputsOf,
  run,
  sweep,
  type File,
  type Outcome,
  type Recorded,
} from './damaged.ts';
import {
  captureOf,
  connection,
  eventLine,
  LOCAL,
  momentOfMs,
  REMOTE,
  service,
  slice,
  type Frame,
} from './recording.ts';
import { instantText } from '../../formats/instant.ts';

const NODE = {
  node: 'node1',
  nodeIPs: ['10.88.0.11'],
  podCIDRs: ['10.244.1.0/24'],
  links: [2, 5, 6].map((ifindex) => ({
    ifindex,
    ifname: `dev${ifindex}`,
    mtu: 1500,
    role: ifindex === 2 ? 'uplink' : 'pod',
  })),
};
const node: File = { name: 'node1.json', bytes: Buffer.from(JSON.stringify(NODE)) };

function recordedWith(frames: readonly Frame[], text: string): Recorded {
  return { capture: captureOf(frames), events: { name: 'cluster.events.ndjson', bytes: Buffer.from(text) }, node };
}

/** What a line of a stream says, in the words of its grammar. */
type Line =
  | { readonly is: 'slice'; readonly type: 'ADDED' | 'MODIFIED'; readonly addresses: readonly string[] }
  | { readonly is: 'gone' | 'bookmark' | 'disconnected' | 'empty' | 'stray' }
  | { readonly is: 'listed'; readonly addresses: readonly string[] | undefined }
  | { readonly is: 'garbage'; readonly text: string };

/** Lines are so far apart, and connections in the middle between them. */
const STEP_MS = 3000;
const BEGIN_MS = 5000;

const addresses = fc.constantFrom<readonly string[]>([], [LOCAL], [REMOTE], [LOCAL, REMOTE]);
/** A lone brace is none: with the lines beside it it may be an object as kubectl prints it. */
const garbage = fc.oneof(
  fc.constantFrom(
    '[]',
    'null',
    '17',
    '{"at":"yesterday","type":"ADDED"}',
    '{"type":"RENAMED"}',
    '{"at":',
    'ADDED',
    '\u0000',
  ),
  fc.string({ minLength: 1, maxLength: 20 }).map((text) => `?${text.replaceAll(/[\n\r]/g, ' ')}`),
);
const line: fc.Arbitrary<Line> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      is: fc.constant('slice' as const),
      type: fc.constantFrom('ADDED' as const, 'MODIFIED' as const),
      addresses,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      is: fc.constantFrom(
        'gone' as const,
        'bookmark' as const,
        'disconnected' as const,
        'empty' as const,
        'stray' as const,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ is: fc.constant('listed' as const), addresses: fc.option(addresses, { nil: undefined }) }),
  },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('garbage' as const), text: garbage }) },
);

function at(index: number): number {
  return BEGIN_MS + index * STEP_MS;
}

function textOf(one: Line, atMs: number): string {
  switch (one.is) {
    case 'slice':
      return eventLine(atMs, one.type, slice(one.addresses));
    case 'gone':
      return eventLine(atMs, 'DELETED', slice([]));
    case 'bookmark':
      return eventLine(atMs, 'BOOKMARK', { kind: 'EndpointSlice', metadata: { resourceVersion: '7' } });
    case 'disconnected':
      return JSON.stringify({
        at: instantText(momentOfMs(atMs)),
        type: 'DISCONNECTED',
        kind: 'EndpointSlice',
        reason: 'EOF',
      });
    case 'stray':
      return eventLine(atMs, 'ADDED', slice([REMOTE], 'other-1', 'other'));
    case 'listed': {
      const items = one.addresses === undefined ? [] : [slice(one.addresses)];
      return JSON.stringify({
        at: instantText(momentOfMs(atMs)),
        type: 'LISTED',
        kind: 'EndpointSlice',
        resourceVersion: '9',
        items,
      });
    }
    case 'empty':
      return '';
    case 'garbage':
      return one.text;
  }
}

/** Who may be chosen after each line; the one slice is all there is. */
function statesOf(lines: readonly Line[]): readonly (readonly string[])[] {
  let now: readonly string[] = [];
  return lines.map((one) => {
    if (one.is === 'slice') now = one.addresses;
    else if (one.is === 'listed') now = one.addresses ?? [];
    else if (one.is === 'gone') now = [];
    return now;
  });
}

type Case = { readonly lines: readonly Line[]; readonly backend: string; readonly after: number };

const cases: fc.Arbitrary<Case> = fc
  .record({
    first: addresses,
    more: fc.array(line, { maxLength: 7 }),
    backend: fc.constantFrom(LOCAL, REMOTE),
    after: fc.nat(7),
  })
  .map(({ after, backend, first, more }) => {
    const lines: readonly Line[] = [{ is: 'slice', type: 'ADDED', addresses: first }, ...more];
    return { lines, backend, after: after % lines.length };
  });

function outcomeOf({ after, backend, lines }: Case, by = run): Outcome {
  const head = eventLine(0, 'ADDED', service);
  const text = [head, ...lines.map((one, index) => textOf(one, at(index)))].map((one) => `${one}\n`).join('');
  const recorded = recordedWith(connection(at(after) + STEP_MS / 2, 4242, backend), text);
  const outcome = by(inputsOf(recorded));
  checkOutcome(outcome, recorded.events);
  return outcome;
}

/**
 * Of a connection between two lines: permitted now, or within the last minute, or never. What comes later than the last
 * line before garbage can't be judged.
 */
function expectedOf({ after, backend, lines }: Case): {
  readonly verdict: string;
  readonly badLine: number | undefined;
} {
  const bad = lines.findIndex(({ is }) => is === 'garbage');
  const badLine = bad < 0 ? undefined : bad + 2;
  const lastGood = bad < 0 ? lines.length : lines.slice(0, bad).findLastIndex(({ is }) => is !== 'empty');
  if (after >= lastGood && bad >= 0) return { verdict: 'events-incomplete', badLine };
  const states = statesOf(lines).slice(0, after + 1);
  if (states.at(-1)?.includes(backend) === true) return { verdict: 'permitted', badLine };
  return { verdict: states.some((state) => state.includes(backend)) ? 'stale' : 'never', badLine };
}

function expectAsExpected(by = run): void {
  fc.assert(
    fc.property(cases, (one) => {
      const { messages, stories } = outcomeOf(one, by);
      const { badLine, verdict } = expectedOf(one);
      expect([...stories.values()]).toEqual([`answered 8080 ${verdict}`]);
      expect(messages).toHaveLength(badLine === undefined ? 0 : 1);
      if (badLine !== undefined) expect(messages[0]).toContain(`cluster.events.ndjson line ${badLine}: `);
    }),
    { numRuns: 600 },
  );
}

describe('an event stream by its grammar', () => {
  test('is judged as its rules say, up to garbage, which is named by its line', () => {
    expectAsExpected();
  });

  test.each<[string, (outcome: Outcome) => Partial<Outcome>]>([
    ['garbage that is stepped over', () => ({ messages: [], end: 'agreed' })],
    [
      'what is judged although lines are missing',
      ({ stories }) => ({
        stories: new Map([...stories].map(([flow, told]) => [flow, told.replace('events-incomplete', 'permitted')])),
      }),
    ],
    [
      'late taken for never',
      ({ stories }) => ({
        stories: new Map([...stories].map(([flow, told]) => [flow, told.replace('stale', 'never')])),
      }),
    ],
  ])('would show %s', (_what, change) => {
    const planted: typeof run = (inputs) => {
      const outcome = run(inputs);
      return { ...outcome, ...change(outcome) };
    };
    expect(() => expectAsExpected(planted)).toThrow(/Property failed/);
  });
});

/** As `kubectl get services,endpointslices -o json --watch --output-watch-events` prints it: times are those of changes. */
describe('what kubectl printed', () => {
  const changed = (second: number, given: object): object => {
    const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': `2026-01-02T03:04:${second}Z` };
    const { metadata } = given as { readonly metadata: object };
    return { ...given, metadata: { ...metadata, annotations } };
  };
  const printed = (type: string, object: unknown): string => `${JSON.stringify({ type, object }, undefined, 1)}\n`;
  const sliceOf = (list: readonly string[]): object => slice(list) as object;
  const head = printed('ADDED', service) + printed('ADDED', changed(10, sliceOf([LOCAL])));
  const first = connection(7000, 4242, LOCAL).slice(0, 4);
  const second = connection(12_000, 24_381, REMOTE).slice(0, 4);
  const text =
    head + printed('MODIFIED', changed(14, sliceOf([LOCAL]))) + printed('MODIFIED', changed(15, sliceOf([REMOTE])));
  const recorded = recordedWith([...first, ...second], text);
  const { bytes } = recorded.events;
  const last = text.lastIndexOf(' "type": "MODIFIED"') - 2;
  const stories = [...run(inputsOf(recorded)).stories];
  const lineAt = (offset: number): number => text.slice(0, offset).split('\n').length;
  /** Of an object that is not well-formed the place of the mistake is told, or where it began. */
  const holds = ({ messages, stories: told }: Outcome, damage: { readonly at: number }): void => {
    const isTime = Math.abs(damage.at - text.lastIndexOf('2026-')) < 30;
    if (damage.at >= last && !isTime) expect([...told][0]).toEqual(stories[0]);
    const begins = Math.max(text.lastIndexOf('\n{\n', damage.at - 3), 0);
    for (const message of messages) {
      const named = Number(/ line (\d+)/.exec(message)?.[1]);
      expect(named, message).toBeGreaterThanOrEqual(lineAt(begins));
    }
  };

  test('is judged', () => {
    expect(stories.map(([, story]) => story)).toEqual(['answered 8080 permitted', 'answered 8080 permitted']);
  });

  test('with any byte changed is followed up to there', () => {
    expect(sweep(recorded, 'events', flipsOf(bytes, ['all']), { holds })).toBe(bytes.length);
    expect(sweep(recorded, 'events', flipsOf(bytes, ['one']), { holds })).toBeGreaterThan(bytes.length / 8);
  });

  test('cut at any byte is followed up to there', () => {
    expect(sweep(recorded, 'events', cutsOf(bytes), { holds })).toBeGreaterThan(bytes.length - 10);
  });
});
