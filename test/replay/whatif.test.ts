// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { failureText, type Result } from '../../core/result.ts';
import type { EventStreams } from '../../formats/events.ts';
import { readEventStreams } from '../../formats/events.ts';
import { compareTallies, withDelay, withoutEvent, type Altered, type Otherwise } from '../../replay/whatif.ts';
import { whatIfText } from '../../replay/whatiftext.ts';
import { captureOf, cluster, connection, eventLine, LOCAL, REMOTE, replayed, slice } from './recording.ts';

const streams = cluster([LOCAL], eventLine(1000, 'MODIFIED', slice([REMOTE])));
const capture = captureOf([
  ...connection(100, 4001, LOCAL),
  ...connection(1500, 4002, LOCAL),
  ...connection(2500, 4003, REMOTE),
]);

function whatIf(altered: Result<Altered>): readonly Otherwise[] {
  if (!altered.ok) throw new Error(failureText(altered.error));
  const now = replayed([capture], streams);
  const then = replayed([capture], altered.value.streams);
  return compareTallies(
    { tally: now.tally, events: streams.events },
    { tally: then.tally, events: altered.value.streams.events },
  );
}

describe('without an event', () => {
  test('what it ended would have gone on, and what it brought would not have been', () => {
    const found = whatIf(withoutEvent(streams, '3'));
    expect(
      found.map(({ frame, permission, choice }) => [frame, permission.was, permission.wouldBe, choice.wouldBe]),
    ).toEqual([
      [
        15,
        'stale: 500.0 ms after EndpointSlice shop/web-1 MODIFIED (line 3)',
        'permitted',
        'forward 10.244.1.9:8080 (new-flow)',
      ],
      [29, 'permitted', 'never permitted in the 60 s before', 'forward 10.244.1.9:8080 (new-flow)'],
    ]);
    expect(
      whatIfText({
        kind: 'WhatIf',
        changes: ['x'],
        verdict: { was: 'a', wouldBe: 'b' },
        connections: 3,
        otherwise: found,
      }),
    ).toContain('otherwise judged         2');
  });
});

describe('with an event that was heard later', () => {
  test('only what came in between is otherwise', () => {
    const found = whatIf(withDelay(streams, 'cluster:3=1000'));
    expect(found.map(({ frame, permission }) => [frame, permission.wouldBe])).toEqual([[15, 'permitted']]);
  });

  test('the same state is neither otherwise chosen nor otherwise judged because it was late by another time', () => {
    expect(whatIf(withDelay(streams, '3=100'))).toEqual([]);
  });

  test('those of its kind in the meantime wait with it, so that the order stays', () => {
    const more = cluster(
      [LOCAL],
      eventLine(1000, 'MODIFIED', slice([REMOTE])),
      eventLine(1200, 'MODIFIED', slice([LOCAL])),
    );
    const altered = withDelay(more, '3=500');
    const times = altered.ok ? altered.value.streams.events.map(({ line, nanoseconds }) => [line, nanoseconds]) : [];
    expect(times).toEqual([
      [1, 0],
      [2, 0],
      [3, 500_000_000],
      [4, 500_000_000],
    ]);
  });
});

describe('an event that is not there', () => {
  const messageOf = (altered: Result<Altered>): string => (altered.ok ? '' : failureText(altered.error));
  const two: EventStreams = readEventStreams(
    ['services.events.ndjson', 'slices.events.ndjson'].map((name) => ({
      name,
      bytes: new TextEncoder().encode(`${eventLine(5000, 'ADDED', slice([LOCAL]))}\n`),
    })),
  );

  test('is answered with its neighbours', () => {
    expect(messageOf(withoutEvent(streams, '99'))).toMatch(
      /^--without-event 99: no event stands in that line; there are cluster:1 Service LISTED/,
    );
  });

  test('is asked for again where several files have the line', () => {
    const lone = { ...two, events: [...two.events, { ...streams.events[0]!, file: 'other.events.ndjson' }] };
    const line = lone.events[0]?.line ?? 0;
    expect(messageOf(withoutEvent(lone, String(line)))).toContain('several files have that line; which: ');
  });

  test.each(['x', '3', '3=x', '=5'])('%s is no delay', (word) => {
    expect(messageOf(withDelay(streams, word))).toContain('write 16=500');
  });
});
