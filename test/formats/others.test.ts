// SPDX-License-Identifier: Apache-2.0
/** Readers that others have written find in our captures what we find, and no more. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import * as fc from 'fast-check';
import pcapParser from 'pcap-parser';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { failureText } from '../../core/result.ts';
import { openCapture } from '../../formats/open.ts';
import { memoryOutput, openFileOutput } from '../../formats/output.ts';
import { createPcapWriter } from '../../formats/pcap.ts';
import { createPcapngWriter, type PcapngWriter } from '../../formats/pcapngwriter.ts';

import { readAll } from './captures.ts';

type Plain = {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly originalLength: number;
  readonly bytes: readonly number[];
};

const FIXTURES = join(import.meta.dirname, '../../fixtures');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-others-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** In one piece: the package cannot join pieces with a Node of today. */
async function parsedElsewhere(bytes: Uint8Array): Promise<readonly Plain[]> {
  const parser = pcapParser.parse(Readable.from([Buffer.from(bytes)]));
  const frames: Plain[] = [];
  parser.on('packet', ({ header, data }) => {
    const { timestampSeconds: seconds, timestampMicroseconds, originalLength } = header;
    frames.push({ seconds, nanoseconds: timestampMicroseconds * 1000, originalLength, bytes: [...data] });
  });
  await new Promise<void>((resolve, reject) => {
    parser.on('end', resolve);
    parser.on('error', reject);
  });
  return frames;
}

function parsedHere(bytes: Uint8Array): readonly Plain[] {
  const { frames, failure } = readAll({ name: 'made.pcap', bytes });
  expect(failure).toBeUndefined();
  return frames.map(({ seconds, nanoseconds, originalLength, bytes: data }) => {
    return { seconds, nanoseconds, originalLength, bytes: data };
  });
}

test('pcap-parser reads what we write with microseconds, and as we do', async () => {
  const frame = fc.record({
    seconds: fc.nat(0xffffffff),
    nanoseconds: fc.nat(999_999).map((micro) => micro * 1000),
    bytes: fc.uint8Array({ maxLength: 200 }),
  });
  const byteOrder = fc.constantFrom('little' as const, 'big' as const);
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 8 }), byteOrder, async (frames, order) => {
      const output = memoryOutput('made.pcap');
      const writer = createPcapWriter(output, { linkType: 1, resolution: 'microseconds', byteOrder: order });
      for (const one of frames) writer.write(one);
      writer.finish();
      const elsewhere = await parsedElsewhere(output.bytes());
      expect(elsewhere).toEqual(
        frames.map(({ bytes, ...rest }) => ({ ...rest, originalLength: bytes.length, bytes: [...bytes] })),
      );
      expect(parsedHere(output.bytes())).toEqual(elsewhere);
    }),
  );
});

test('pcap-parser finds in a recording what we find', async () => {
  const nanoseconds = readFileSync(join(FIXTURES, 'rolling-update/node1.pcap'));
  const output = memoryOutput('made.pcap');
  const writer = createPcapWriter(output, { linkType: 276, resolution: 'microseconds' });
  const opened = openCapture({ name: 'node1.pcap', bytes: nanoseconds });
  if (!opened.ok) throw new Error(failureText(opened.error));
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) writer.write(record);
  expect(writer.finish()).toEqual({ ok: true, value: 5359 });
  const here = parsedHere(output.bytes());
  expect(await parsedElsewhere(output.bytes())).toEqual(here);
  expect(here.length).toBe(5359);
});

/** Two sections, three interfaces, and everything that a frame can be told. */
function fill(writer: PcapngWriter): void {
  const frame = { seconds: 1_795_358_567, bytes: Buffer.from('4500001400010000400100000a0000010a000002', 'hex') };
  writer.addInterface({ linkType: 101, name: 'veth1' });
  const uplink = writer.addInterface({ linkType: 228, name: 'eth0', snapLength: 2048 });
  writer.write({
    ...frame,
    nanoseconds: 895_139_308,
    interfaceId: 0,
    comments: ['from-pod: forward, née 10.96.0.1', 'b'],
  });
  writer.write({ ...frame, nanoseconds: 895_139_309, interfaceId: uplink, direction: 'outgoing', packetId: 77n });
  writer.beginSection({ byteOrder: 'big' });
  // The same name again: tshark 4.0 looks it up by its number in the first section.
  writer.addInterface({ linkType: 101, name: 'veth1' });
  const bytes = frame.bytes.subarray(0, 20);
  writer.write({ seconds: 1_795_358_568, nanoseconds: 0, bytes, originalLength: 60, interfaceId: 0, comments: ['c'] });
}

/** What a frame says, in the words of tshark's fields. */
const LINES: readonly string[] = [
  '1|1795358567.895139308|veth1|20|20|from-pod: forward, née 10.96.0.1;b||',
  '2|1795358567.895139309|eth0|20|20||0x00000002|77',
  '3|1795358568.000000000|veth1|20|60|c||',
];

function linesHere(path: string): readonly string[] {
  const { frames, failure } = readAll(path);
  expect(failure).toBeUndefined();
  return frames.map((frame) => {
    const time = `${frame.seconds}.${String(frame.nanoseconds).padStart(9, '0')}`;
    const lengths = `${frame.capturedLength}|${frame.originalLength}`;
    const flags = { incoming: '0x00000001', outgoing: '0x00000002', untold: '' }[frame.direction ?? 'untold'];
    const told = `${frame.comments.join(';')}|${flags}|${frame.packetId ?? ''}`;
    return `${frame.frame}|${time}|${frame.interfaceName}|${lengths}|${told}`;
  });
}

/** Undefined where tshark is not installed. */
function linesOfTshark(path: string): readonly string[] | undefined {
  const fields = ['number', 'time_epoch', 'interface_name', 'cap_len', 'len', 'comment', 'packet_flags', 'packet_id'];
  const options = ['-T', 'fields', '-E', 'separator=|', '-E', 'aggregator=;'];
  const words = ['-r', path, ...options, ...fields.flatMap((field) => ['-e', `frame.${field}`])];
  const answer = spawnSync('tshark', words, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });
  if (answer.error !== undefined) return undefined;
  expect(answer.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Running as user'))).toEqual([]);
  expect(answer.status).toBe(0);
  return answer.stdout.trimEnd().split('\n');
}

test('what we write is what we, and tshark where it is installed, read: names, times, lengths, comments', () => {
  const path = join(folder, 'told.pcapng');
  const output = openFileOutput(path);
  if (!output.ok) throw new Error(failureText(output.error));
  const writer = createPcapngWriter(output.value, { comments: ['of a test'] });
  fill(writer);
  expect(writer.finish()).toEqual({ ok: true, value: 3 });
  expect(linesHere(path)).toEqual(LINES);
  expect(linesOfTshark(path) ?? LINES).toEqual(LINES);
});

/** Three interfaces at once, then statistics; the second file after `editcap -a` and `editcap --inject-secrets`. */
const RECORDED: readonly string[] = [
  '1|1795392439.113022592|lo|46|46|',
  '2|1795392439.113034359|lo|74|74|',
  '3|1795392439.112977965|v0|47|47|',
  '4|1795392439.314557008|v0|47|47|',
  '5|1795392439.112977965|any|49|49|',
  '6|1795392439.112986157|any|49|49|',
  '7|1795392439.113022592|any|48|48|',
  '8|1795392439.314557008|any|49|49|',
  '9|1795392439.314566652|any|49|49|',
];

test.each([
  ['dumpcap', ''],
  ['editcap', 'once more'],
])('a file of %s is read as tshark reads it', (name, comment) => {
  const path = join(import.meta.dirname, `${name}.pcapng`);
  const told = RECORDED.map((line, index) => `${line}${index === 1 ? comment : ''}||`);
  expect(linesHere(path)).toEqual(told);
  expect(linesOfTshark(path) ?? told).toEqual(told);
  expect(new Set(readAll(path).frames.map(({ linkType }) => linkType))).toEqual(new Set([1, 113]));
});
