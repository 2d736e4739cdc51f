// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { InputSource } from '../../formats/input.ts';
import { openTimeline, type TimedSource, type Timeline } from '../../replay/timeline.ts';
import { tcp } from './packets.ts';
import { captureOf, CLIENT, cluster, eventLine, on, slice, streamsOf, type Frame } from './recording.ts';

const packet = tcp({ from: `${CLIENT}:1`, to: '192.0.2.1:2', flags: '.' });

function framesAt(...times: readonly number[]): Frame[] {
  return times.map((time) => on(time, 5, 'incoming', packet));
}

function textOf(timeline: Timeline): string[] {
  const texts: string[] = [];
  for (let item = timeline.next(); item !== undefined; item = timeline.next()) {
    const ms = item.timeNs / 1e6;
    texts.push(item.is === 'event' ? `${ms} ${item.timed.event.type}` : `${ms} ${item.file} ${item.record.frame}`);
  }
  return texts;
}

/** Its clock is right. */
function onTime(source: InputSource): TimedSource {
  return { source, offsetNs: 0 };
}

describe('a time line', () => {
  test('merges captures and events, events first at equal times', () => {
    const one = { ...captureOf(framesAt(10, 30)), name: 'one' };
    const two = { ...captureOf(framesAt(20, 30)), name: 'two' };
    const streams = cluster([], eventLine(30, 'MODIFIED', slice([CLIENT])));
    expect(textOf(openTimeline([one, two].map(onTime), streams))).toEqual([
      '0 LISTED',
      '0 LISTED',
      '10 one 1',
      '20 two 1',
      '30 MODIFIED',
      '30 one 2',
      '30 two 2',
    ]);
  });

  test('begins with the first moment of all, to the nanosecond', () => {
    const timeline = openTimeline([captureOf(framesAt(1.000001))].map(onTime), streamsOf([]));
    expect(timeline.origin.nanoseconds).toBe(1_000_001);
    expect(timeline.next()?.timeNs).toBe(0);
  });

  test('never goes back: a frame that claims an earlier time counts as simultaneous, and is counted', () => {
    const timeline = openTimeline([captureOf(framesAt(10, 5, 20))].map(onTime), streamsOf([]));
    expect(textOf(timeline)).toEqual(['0 node1.pcap 1', '0 node1.pcap 2', '10 node1.pcap 3']);
    expect(timeline.backwards()).toBe(1);
  });

  test('holds every frame of every capture in order of time, whatever the captures are', () => {
    const times = fc.array(fc.nat(50), { maxLength: 12 }).map((list) => list.sort((left, right) => left - right));
    fc.assert(
      fc.property(fc.array(times, { maxLength: 4 }), (captures) => {
        const sources = captures.map((list, index) => ({ ...captureOf(framesAt(...list)), name: `c${index}` }));
        const timeline = openTimeline(sources.map(onTime), streamsOf([]));
        const seen: number[] = [];
        for (let item = timeline.next(); item !== undefined; item = timeline.next()) seen.push(item.timeNs);
        const all = captures.flat().sort((left, right) => left - right);
        expect(seen).toEqual(all.map((time) => (time - (all[0] ?? 0)) * 1e6));
        expect(timeline.failures()).toEqual([]);
      }),
    );
  });

  test('says why a capture could not be read and goes on with the others', () => {
    const broken = { name: 'broken', bytes: Uint8Array.of(1, 2, 3, 4, 5) };
    const timeline = openTimeline([broken, captureOf(framesAt(10))].map(onTime), streamsOf([]));
    expect(textOf(timeline)).toEqual(['0 node1.pcap 1']);
    expect(timeline.failures()).toMatchObject([{ kind: 'input', object: 'broken offset 0' }]);
  });
});
