// SPDX-License-Identifier: Apache-2.0
/** Laws that need no second opinion: what must hold between two runs of the model, whatever the packet. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { frameOf, segment, SYN, sumOf, type Segment } from '../../../proof/traffic/frame.ts';
import { runCampaign, type CampaignReport } from '../../../proof/campaign.ts';
import { settingsOf } from '../../../proof/settings.ts';
import { openModel } from './model.ts';
import { client, cluster, many, Stage, web, webBackend, type Answer, type Host } from './stage.ts';

const stage = new Stage([openModel().side]);
const families = ['IPv4', 'IPv6'] as const;

const host: fc.Arbitrary<Host> = fc.record({
  address: fc.integer({ min: 0x0b000001, max: 0x0bffffff }),
  port: fc.integer({ min: 1, max: 65535 }),
});
const padded = fc.integer({ min: 0, max: 10 }).map((words) => new Uint8Array(words * 4).fill(1));
const dress: fc.Arbitrary<Partial<Segment>> = fc.record({
  payload: fc.uint8Array({ maxLength: 200 }),
  ipOptions: padded,
  tcpOptions: padded,
  id: fc.nat({ max: 65535 }),
  timeToLive: fc.integer({ min: 1, max: 255 }),
  sequence: fc.nat({ max: 0xffffffff }),
});

/** Length of the IP header. */
function headerOf(frame: Uint8Array): number {
  return frame[12] === 0x86 ? 40 : ((frame[14] ?? 0) & 15) * 4;
}

/** Bytes behind the two headers. */
function payloadOf(frame: Uint8Array): Uint8Array {
  const transport = 14 + headerOf(frame);
  return frame.slice(transport + ((frame[transport + 12] ?? 0) >>> 4) * 4);
}

/** Sums that a receiver would compute: all 0xffff where the checksums are right. */
function sumsOf({ frame }: Answer): readonly number[] {
  const header = headerOf(frame);
  const packet = frame.subarray(14);
  const length = packet.length - header;
  const isSix = frame[12] === 0x86;
  const addresses = isSix ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const transport = sumOf(
    packet.subarray(header),
    sumOf(Uint8Array.of(0, 6, length >>> 8, length & 255), sumOf(addresses)),
  );
  return isSix ? [transport] : [sumOf(packet.subarray(0, header)), transport];
}

test.each(families)('what is translated keeps its payload and has right checksums with %s', (family) => {
  const staged = new Stage([openModel().side], family);
  const law = fc.property(host, dress, (from, more) => {
    staged.begin();
    const it = segment(from, many, SYN, more);
    const answer = staged.fromPod(it);
    expect(answer.verdict).toBe('forward');
    expect(payloadOf(answer.frame)).toEqual(it.payload);
    expect(new Set(sumsOf(answer))).toEqual(new Set([0xffff]));
  });
  fc.assert(law, { numRuns: 500 });
});

test.each(families)('the answer to a translated %s packet comes from where the client sent it', (family) => {
  const staged = new Stage([openModel().side], family);
  const law = fc.property(host, dress, (from, more) => {
    staged.begin();
    const there = staged.fromPod(segment(from, many, SYN, more));
    const back = staged.toPod(segment(there.to, from, SYN | 16, more));
    expect([back.verdict, back.from, back.to]).toEqual(['reply', many, from]);
    expect(back.frame).toEqual(staged.frameOf(segment(many, from, SYN | 16, more)));
  });
  fc.assert(law, { numRuns: 500 });
});

test('the choice of a backend is the same with and without a flow, and for every Service address of the same name', () => {
  const law = fc.property(host, (from) => {
    stage.begin();
    const cold = stage.fromPod(segment(from, many, SYN)).to;
    const warm = stage.fromPod(segment(from, many, SYN)).to;
    const elsewhere = { address: 0x0a600077, port: 80 };
    const moved = cluster.services.map((it) => (it.name === 'many' ? { ...it, addresses: [elsewhere.address] } : it));
    stage.begin({ services: moved });
    expect([warm, stage.fromPod(segment(from, elsewhere, SYN)).to]).toEqual([cold, cold]);
  });
  fc.assert(law, { numRuns: 100 });
});

test('an unrelated Service changes nothing', () => {
  const other = { name: 'other', addresses: [0x0a600099], isLocal: false, ports: [], endpoints: [] } as const;
  const law = fc.property(host, dress, fc.boolean(), (from, more, isFirst) => {
    const it = segment(from, many, SYN, more);
    stage.begin();
    const alone = stage.fromPod(it);
    const services = isFirst ? [other, ...cluster.services] : [...cluster.services, other];
    stage.begin({ services });
    expect(stage.fromPod(it)).toEqual(alone);
  });
  fc.assert(law, { numRuns: 100 });
});

test('what is not for a Service leaves as it came, at both hooks', () => {
  const law = fc.property(fc.uint8Array({ minLength: 14, maxLength: 200 }), (bytes) => {
    stage.begin();
    for (const hook of ['from-pod', 'to-pod'] as const) {
      const answer = stage.frame(hook, bytes);
      if (answer.verdict === 'pass') expect(answer.frame).toEqual(bytes);
    }
  });
  fc.assert(law, { numRuns: 1000 });
});

test('answers are found whatever the hour: the clock may wrap', () => {
  const law = fc.property(fc.nat({ max: 0xffffffff }), (now) => {
    stage.begin();
    const frame = frameOf(segment(client, web, SYN));
    stage.frame('from-pod', frame, { now });
    const later = { now: (now + 59) >>> 0 };
    expect(stage.frame('to-pod', frameOf(segment(webBackend, client, SYN | 16)), later).verdict).toBe('reply');
    const tooLate = { now: (now + 60) >>> 0 };
    expect(stage.frame('from-pod', frame, tooLate).reason).toBe('new-flow');
  });
  fc.assert(law, { numRuns: 200 });
});

test('two models with the same input do the same, marks and tables included: nothing comes from outside', () => {
  const run = (seed: number): CampaignReport => {
    const settings = settingsOf(seed);
    const sides = { model: openModel(settings).side, kernel: openModel(settings).side };
    const report = runCampaign({ seed, sides, settings, packetsMax: 20_000 });
    if (!report.ok) throw new Error(report.error.message);
    return report.value;
  };
  for (const seed of [1, 2, 3]) expect(run(seed).found).toBeUndefined();
});
