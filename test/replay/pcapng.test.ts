// SPDX-License-Identifier: Apache-2.0
/** A recording tells the same story in both formats of captures. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { failureText, type Failure } from '../../core/result.ts';
import { readEventStreams } from '../../formats/events.ts';
import type { InputSource } from '../../formats/input.ts';
import { readNodeFacts } from '../../formats/node.ts';
import { openCapture } from '../../formats/open.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapngWriter } from '../../formats/pcapngwriter.ts';
import type { PacketLine } from '../../replay/lines.ts';
import { replay } from '../../replay/run.ts';
import { endOf, summarize, type ReplayEnd, type ReplaySummary } from '../../replay/summary.ts';
import { modelTwin, setting } from './recording.ts';

const FOLDER = join(import.meta.dirname, '../../fixtures/rolling-update');
const NAME = 'node1.capture';

/** The same frames, with a comment each, behind interfaces of which no frame comes. */
function rewritten(source: InputSource): Uint8Array {
  const opened = openCapture(source);
  if (!opened.ok) throw new Error(failureText(opened.error));
  const output = memoryOutput(NAME);
  const writer = createPcapngWriter(output, { byteOrder: 'big' });
  const ids = ['eth0', 'lo', 'any'].map((name) => writer.addInterface({ linkType: 276, name }));
  const interfaceId = ids[2] ?? 0;
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) {
    const { seconds, nanoseconds, originalLength, bytes, frame } = record;
    writer.write({ seconds, nanoseconds, originalLength, bytes, interfaceId, comments: [`frame ${frame}`] });
  }
  expect(writer.finish()).toEqual({ ok: true, value: 5359 });
  return output.bytes();
}

type Replayed = {
  readonly summary: ReplaySummary;
  readonly lines: readonly PacketLine[];
  readonly failures: readonly Failure[];
  readonly end: ReplayEnd;
};

function replayOf(bytes: Uint8Array): Replayed {
  const facts = readNodeFacts(join(FOLDER, 'node1.json'));
  if (!facts.ok) throw new Error(failureText(facts.error));
  const names = ['services', 'endpointslices', 'nodes'].map((name) => join(FOLDER, `${name}.events.ndjson`));
  const lines: PacketLine[] = [];
  const tally = replay({
    captures: [{ name: NAME, bytes }],
    streams: readEventStreams(names),
    facts: facts.value,
    oracle: { nodeName: facts.value.name, nodeAddresses: facts.value.addresses, serviceRanges: [] },
    model: modelTwin(),
    kernel: undefined,
    onLine: (line) => lines.push(line),
  });
  return { summary: summarize(tally, setting), lines, failures: tally.failures, end: endOf(tally, setting) };
}

test('a recording rewritten as pcapng is judged as it was', () => {
  const original = readFileSync(join(FOLDER, 'node1.pcap'));
  const before = replayOf(original);
  const after = replayOf(rewritten({ name: NAME, bytes: original }));
  expect(before.lines.length).toBeGreaterThan(1000);
  expect(after.summary).toEqual(before.summary);
  expect(after.lines).toEqual(before.lines);
});

test('a pcapng that is cut is judged up to the cut, and the cut is named with its place', () => {
  const original = readFileSync(join(FOLDER, 'node1.pcap'));
  const whole = rewritten({ name: NAME, bytes: original });
  const cut = whole.subarray(0, whole.length - 7);
  const { lines, failures, end } = replayOf(cut);
  expect(end).toBe('input-unreadable');
  expect(failures.map(failureText)).toEqual([
    expect.stringMatching(/^node1\.capture offset \d+: the file is cut inside frame 5359: \d+ of \d+ bytes are there$/),
  ]);
  const before = replayOf(whole).lines.filter(({ frame }) => frame < 5000);
  expect(before.length).toBeGreaterThan(1000);
  expect(lines.filter(({ frame }) => frame < 5000)).toEqual(before);
});
