// SPDX-License-Identifier: Apache-2.0
/** A recording tells the same story in both formats of captures. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { readEventStreams } from '../../formats/events.ts';
import type { InputSource } from '../../formats/input.ts';
import { readNodeFacts } from '../../formats/node.ts';
import { openCapture } from '../../formats/open.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapngWriter } from '../../formats/pcapngwriter.ts';
import type { PacketLine } from '../../replay/lines.ts';
import { replay } from '../../replay/run.ts';
import { summarize, type ReplaySummary } from '../../replay/summary.ts';
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

function replayOf(bytes: Uint8Array): { readonly summary: ReplaySummary; readonly lines: readonly PacketLine[] } {
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
  return { summary: summarize(tally, setting), lines };
}

test('a recording rewritten as pcapng is judged as it was', () => {
  const original = readFileSync(join(FOLDER, 'node1.pcap'));
  const before = replayOf(original);
  const after = replayOf(rewritten({ name: NAME, bytes: original }));
  expect(before.lines.length).toBeGreaterThan(1000);
  expect(after.summary).toEqual(before.summary);
  expect(after.lines).toEqual(before.lines);
});
