// SPDX-License-Identifier: Apache-2.0
/** Packets whose checksum state and shape are posed on a real device leave it with right checksums, all of them. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { failureText } from '../../core/result.ts';
import type { Mutant } from '../../proof/mutants/plant.ts';
import { families } from '../lab/cluster.ts';
import { TunRig } from './tunrig.ts';
import { Talk, type Shape } from './tuntalk.ts';
import { ETHERNET } from './wire.ts';

const object = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url));
const protocols = ['TCP', 'UDP'] as const;
let nextPort = 1_000;

/** A frame of more than a page, so that the kernel keeps most of it in fragments. */
const longBytes = 7_000;
const gso = { payloadBytes: 5_000, segmentBytes: 1_400, checksum: 'partial' } as const;

const linear: readonly Shape[] = [
  { name: 'a whole checksum', checksum: 'whole', payloadBytes: 33 },
  { name: 'a checksum that a device has verified', checksum: 'verified', payloadBytes: 32 },
  { name: 'a partial checksum', checksum: 'partial', payloadBytes: 33 },
  { name: 'a partial checksum and nothing else', checksum: 'partial', payloadBytes: 0 },
  { name: 'no checksum', checksum: 'none', payloadBytes: 33 },
  { name: 'a partial checksum in a packet of several segments', ...gso },
  { name: 'a whole checksum behind a page', checksum: 'whole', payloadBytes: longBytes, linearBytes: ETHERNET },
  { name: 'a partial checksum behind a page', checksum: 'partial', payloadBytes: longBytes, linearBytes: ETHERNET },
];

/** The first piece of a packet in fragments is what the driver has copied: its Ethernet header at least. */
const pieces: readonly Shape[] = [
  { name: 'IP header and all in a fragment', checksum: 'whole', payloadBytes: 33, cutsAt: [ETHERNET] },
  { name: 'a partial checksum, all in a fragment', checksum: 'partial', payloadBytes: 33, cutsAt: [ETHERNET] },
  { name: 'a cut in the IP header', checksum: 'whole', payloadBytes: 33, cutsAt: [ETHERNET + 10] },
  { name: 'a cut in the ports', checksum: 'partial', payloadBytes: 33, cutsAt: [ETHERNET + 22, ETHERNET + 42] },
  { name: 'many small pieces', checksum: 'whole', payloadBytes: 33, cutsAt: [14, 20, 27, 35, 43, 50, 55] },
  { name: 'several segments in fragments', ...gso, cutsAt: [ETHERNET, 2_000, 4_000] },
];

describe.each([
  { what: 'a device of whole frames', shapes: linear, fragments: false },
  { what: 'a device whose frames come in pieces', shapes: pieces, fragments: true },
])('through $what', ({ shapes, fragments }) => {
  let rig: TunRig;
  beforeAll(() => {
    rig = new TunRig(object, { fragments });
  });
  afterAll(() => rig[Symbol.dispose]());

  const rows = families.flatMap((family) =>
    protocols.flatMap((protocol) =>
      shapes
        .filter(({ checksum }) => checksum !== 'none' || protocol === 'UDP')
        .map((shape) => ({ family, protocol, shape, name: shape.name })),
    ),
  );

  test.each(rows)('$protocol over $family reaches its backend and is answered with $name', async (row) => {
    expect(await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).whole()).toEqual([]);
  });

  test.each(rows)('$protocol over $family comes back to a pod that is its own backend with $name', async (row) => {
    expect(await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).hairpin()).toEqual([]);
  });

  test.each(rows.filter(({ shape }) => shape.segmentBytes === undefined))(
    '$protocol over $family with $name comes back no more once its time is over',
    async (row) => {
      expect(await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).hairpinExpired()).toEqual([]);
    },
  );

  test.each(rows.filter(({ shape }) => shape.segmentBytes === undefined))(
    '$protocol over $family with $name is refused by a Service without endpoints',
    async (row) => {
      expect(await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).refused()).toEqual([]);
    },
  );

  test.each(rows.filter(({ shape }) => shape.segmentBytes !== undefined))(
    '$protocol over $family with $name is dropped by name where it would be refused',
    async (row) => {
      const before = rig.count('cannot-answer');
      const faults = await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).refused();
      expect(faults).toEqual(['refusal: nothing came']);
      expect(rig.count('cannot-answer') - before).toBe(1);
    },
  );

  test.each(rows.filter(({ shape }) => shape.segmentBytes !== undefined))(
    '$protocol over $family with $name is dropped by name where its time is over on the way back',
    async (row) => {
      const before = rig.count('cannot-answer');
      const faults = await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).hairpinExpired();
      expect(faults).toEqual(['expired: nothing came']);
      expect(rig.count('cannot-answer') - before).toBe(1);
    },
  );

  test.each(rows.filter(({ shape }) => shape.checksum === 'whole'))(
    'an ICMP error of the backend about $protocol over $family shows the client its own packet, with $name',
    async (row) => {
      expect(await new Talk(rig, row.family, row.protocol, row.shape, nextPort++).unreachable()).toEqual([]);
    },
  );
});

/** Wrong rules, and the shapes of packets that show them. */
const wrongRules: readonly (Pick<Mutant, 'name' | 'file' | 'find' | 'replace'> & {
  readonly shape: Shape;
  readonly protocol: 'TCP' | 'UDP';
  readonly act: 'whole' | 'refused' | 'hairpin';
  readonly fault: string;
})[] = [
  {
    name: 'partial-as-whole',
    file: 'checksum.h',
    find: 'if (mode == CHECKSUM_MODE_PARTIAL) {',
    replace: 'if (0) {',
    shape: { name: '', ...gso },
    protocol: 'TCP',
    act: 'whole',
    fault: 'wrong checksum of TCP',
  },
  {
    name: 'ports-in-partial',
    file: 'checksum.h',
    find: 'return checksum_fold((__u32)check + address_delta);',
    replace: 'return checksum_fold((__u32)check + address_delta + port_delta);',
    shape: { name: '', checksum: 'partial', payloadBytes: 33 },
    protocol: 'UDP',
    act: 'whole',
    fault: 'wrong checksum of UDP',
  },
  {
    name: 'a-checksum-for-none',
    file: 'checksum.h',
    find: 'if (!check && mode != CHECKSUM_MODE_PARTIAL) {',
    replace: 'if (0) {',
    shape: { name: '', checksum: 'none', payloadBytes: 33 },
    protocol: 'UDP',
    act: 'whole',
    fault: 'wrong checksum of UDP',
  },
  {
    name: 'pending-as-it-stands-in-a-quote',
    file: 'answer.h',
    find: 'transport += (~checksum_fold(transport) & 0xffff) + (~(__u32)*check & 0xffff);',
    replace: ';',
    shape: { name: '', checksum: 'partial', payloadBytes: 0 },
    protocol: 'TCP',
    act: 'refused',
    fault: 'wrong checksum of ICMP',
  },
  {
    name: 'no-hop-counted',
    file: 'verdict.h',
    find: '__u8 left = packet->time_to_live - 1;',
    replace: '__u8 left = packet->time_to_live;',
    shape: { name: '', ...gso },
    protocol: 'TCP',
    act: 'hairpin',
    fault: 'not one hop older',
  },
  {
    name: 'headers-never-pulled',
    file: 'hook_tc.h',
    find: 'if (reason != REASON_HEADERS || attempt)',
    replace: 'if (attempt >= 0)',
    shape: { name: '', checksum: 'whole', payloadBytes: 33, cutsAt: [ETHERNET] },
    protocol: 'TCP',
    act: 'whole',
    fault: 'forward: nothing came',
  },
  {
    name: 'headers-never-pulled-from-behind-a-page',
    file: 'hook_tc.h',
    find: 'if (reason != REASON_HEADERS || attempt)',
    replace: 'if (attempt >= 0)',
    shape: { name: '', checksum: 'whole', payloadBytes: longBytes, linearBytes: ETHERNET },
    protocol: 'TCP',
    act: 'whole',
    fault: 'forward: nothing came',
  },
];

describe('the rig finds a wrong rule', () => {
  test.each(wrongRules)('$name', async ({ shape, protocol, act, fault, ...mutant }) => {
    const built = buildMutant({ ...mutant, meaning: '', shows: /./, road: 'packets' });
    if (!built.ok) throw new Error(failureText(built.error));
    using rig = new TunRig(built.value, { fragments: shape.cutsAt !== undefined });
    for (const family of families) {
      const faults = await new Talk(rig, family, protocol, shape, nextPort++)[act]();
      expect(faults.join('; ')).toContain(fault);
    }
  });
});
