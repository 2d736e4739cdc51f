// SPDX-License-Identifier: Apache-2.0
/** Captures of two nodes: whose each is, how their clocks differ, and what the one shows of the other's packets. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { InputSource } from '../../formats/input.ts';
import { readNodeFacts, type NodeFacts } from '../../formats/node.ts';
import { memoryOutput } from '../../formats/output.ts';
import { openCapture } from '../../formats/open.ts';
import { createPcapWriter } from '../../formats/pcap.ts';
import { failureText } from '../../core/result.ts';
import { addNanoseconds } from '../../formats/instant.ts';
import { assignCaptures, clockText, compareClocks } from '../../replay/nodes.ts';

const folder = join(import.meta.dirname, '../../fixtures/rolling-update');

function factsOf(name: string): NodeFacts {
  const facts = readNodeFacts(join(folder, `${name}.json`));
  if (!facts.ok) throw new Error(failureText(facts.error));
  return facts.value;
}

function captureOf(name: string): InputSource {
  return { name: `${name}.pcap`, bytes: readFileSync(join(folder, `${name}.pcap`)) };
}

/** The same capture by a clock that is ahead, and of the frames that are wanted. */
function shifted(name: string, aheadNs: number, isWanted: (frame: number) => boolean = () => true): InputSource {
  const opened = openCapture(captureOf(name));
  if (!opened.ok) throw new Error(failureText(opened.error));
  const output = memoryOutput(`${name}.pcap`);
  let writer: ReturnType<typeof createPcapWriter> | undefined;
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) {
    writer ??= createPcapWriter(output, { linkType: record.linkType, resolution: 'nanoseconds' });
    const { bytes, frame, originalLength } = record;
    if (isWanted(frame)) writer.write({ ...addNanoseconds(record, aheadNs), bytes, originalLength });
  }
  writer?.finish();
  return { name: `${name}.pcap`, bytes: output.bytes() };
}

const nodes = [factsOf('node1'), factsOf('node2')];
const [one, two] = nodes;
if (one === undefined || two === undefined) throw new Error('two nodes');

describe('a capture', () => {
  test('is of the node whose pods it shows, in whatever order files come', () => {
    const assigned = assignCaptures([captureOf('node2'), captureOf('node1')], nodes);
    if (!assigned.ok) throw new Error(failureText(assigned.error));
    const names = assigned.value.map(({ captures, facts }) => [
      facts.name,
      ...captures.map((source) => (typeof source === 'string' ? source : source.name)),
    ]);
    expect(names).toEqual([
      ['node1', 'node1.pcap'],
      ['node2', 'node2.pcap'],
    ]);
  });

  test('of no node that was given is named, and so is a node without a capture', () => {
    const strange = { ...two, name: 'other', addresses: [], podRanges: [], devices: [] };
    expect(assignCaptures([captureOf('node1'), captureOf('node2')], [one, strange])).toMatchObject({
      error: {
        object: 'node2.pcap',
        message: 'none of its first 5000 frames is of a node that was given (node1, other)',
      },
    });
    expect(assignCaptures([captureOf('node1')], nodes)).toMatchObject({
      error: { object: 'node node2', message: 'no capture is of it' },
    });
  });
});

describe('the clock of another node', () => {
  const own = { facts: one, captures: [captureOf('node1')] };

  test.each([0, 3_000_000, -250_000_000, 7_000_000_000])('that is %i ns ahead is found to be so', (aheadNs) => {
    const clock = compareClocks(own, { facts: two, captures: [shifted('node2', aheadNs)] });
    expect(clock).toMatchObject({ node: 'node2', there: 708, back: 472 });
    expect(clock.errorNs).toBeLessThan(20_000);
    expect(Math.abs(clock.offsetNs - aheadNs)).toBeLessThanOrEqual(clock.errorNs + 1_000);
  });

  test('that was seen one way only has a bound, and one that was not seen is left as it is', () => {
    const early = compareClocks(own, { facts: two, captures: [shifted('node2', 0, (frame) => frame <= 400)] });
    expect(early.there + early.back).toBeGreaterThan(0);
    const nothing = compareClocks(own, { facts: two, captures: [shifted('node2', 0, () => false)] });
    expect(clockText(nothing)).toBe('node2: no packet was seen on both nodes; its clock is taken as it is');
    expect(clockText({ ...early, back: 0, errorNs: Infinity, offsetNs: 1_500_000, there: 3 })).toBe(
      'node2: its clock is 1.500 ms ahead at most (3 packets there, 0 back), seen one way only; taken off',
    );
    const oneWay = (offsetNs: number, there: number, back: number): string =>
      clockText({ node: 'n', errorNs: Infinity, offsetNs, there, back });
    expect(oneWay(-1e6, 3, 0)).toContain('1.000 ms behind at least');
    expect(oneWay(-1e6, 0, 3)).toContain('1.000 ms behind at most');
    expect(oneWay(1e6, 0, 3)).toContain('1.000 ms ahead at least');
  });
});
