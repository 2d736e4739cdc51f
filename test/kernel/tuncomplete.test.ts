// SPDX-License-Identifier: Apache-2.0
/** Packets that arrive as CHECKSUM_COMPLETE on a real device: their bytes are right, and the sum still is theirs. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadFloors } from '../../bench/run.ts';
import { buildMutant } from '../../cli/mutant.ts';
import { assert, failureText } from '../../core/result.ts';
import { mapMemory } from '../../kernel/libc.ts';
import type { LoadedObject } from '../../kernel/object.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { buildObject } from '../../tools/build.ts';
import { families } from '../lab/cluster.ts';
import { TunRig } from './tunrig.ts';
import { Talk, type Shape } from './tuntalk.ts';

const object = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url));
const protocols = ['TCP', 'UDP'] as const;
let nextPort = 3_000;
let folder = '';
let sums: LoadedObject;
let counts: BigUint64Array;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-sums-'));
  const built = buildObject({
    defines: [],
    output: join(folder, 'sums.o'),
    source: join(import.meta.dirname, 'sums.bpf.c'),
  });
  if (!built.ok) throw new Error(failureText(built.error));
  sums = loadFloors(built.value, 'sums.bpf.c');
  const memory = mapMemory(sums.map('sums')?.fd ?? -1, 4096);
  assert(memory.ok, 'the sums can be read');
  counts = new BigUint64Array(memory.value, 0, 2);
});

afterAll(() => {
  sums[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** Packets that were summed since, and those whose sum is not that of their bytes. */
async function summed(action: () => Promise<readonly string[]>): Promise<readonly [string[], number, number]> {
  const [checked = 0n, wrong = 0n] = counts;
  const faults = await action();
  return [[...faults], Number((counts[0] ?? 0n) - checked), Number((counts[1] ?? 0n) - wrong)];
}

const shapes: readonly Shape[] = [
  { name: 'a few bytes', checksum: 'whole', payloadBytes: 33 },
  { name: 'nothing in it', checksum: 'whole', payloadBytes: 0 },
  { name: 'many bytes', checksum: 'whole', payloadBytes: 1_201 },
  { name: 'no checksum', checksum: 'none', payloadBytes: 33 },
];

describe('behind a tunnel that has summed them', () => {
  let rig: TunRig;
  beforeAll(() => {
    rig = new TunRig(object, { name: 'sums', tunnelled: sums });
  });
  afterAll(() => rig[Symbol.dispose]());

  const rows = families.flatMap((family) =>
    protocols.flatMap((protocol) =>
      shapes
        .filter(({ checksum }) => checksum !== 'none' || protocol === 'UDP')
        .map((shape) => ({ family, protocol, shape, name: shape.name })),
    ),
  );
  const talk = ({ family, protocol, shape }: (typeof rows)[number]): Talk =>
    new Talk(rig, family, protocol, shape, nextPort++);

  test.each(rows)('$protocol over $family with $name reaches its backend and is answered', async (row) => {
    const [faults, checked, wrong] = await summed(() => talk(row).whole());
    expect([faults, wrong]).toEqual([[], 0]);
    expect(checked).toBeGreaterThan(0);
  });

  test.each(rows)('$protocol over $family with $name comes back to a pod that is its own backend', async (row) => {
    const [faults, checked, wrong] = await summed(() => talk(row).hairpin());
    expect([faults, wrong]).toEqual([[], 0]);
    expect(checked).toBeGreaterThan(0);
  });

  test.each(rows)('$protocol over $family with $name is refused by a Service without endpoints', async (row) => {
    const [faults, , wrong] = await summed(() => talk(row).refused());
    expect([faults, wrong]).toEqual([[], 0]);
  });

  test.each(rows)('$protocol over $family with $name comes back no more once its time is over', async (row) => {
    const [faults, , wrong] = await summed(() => talk(row).hairpinExpired());
    expect([faults, wrong]).toEqual([[], 0]);
  });

  const plain = rows.filter(({ shape }) => shape.checksum === 'whole' && shape.payloadBytes === 33);
  test.each(plain)('an ICMP error of a client about $protocol over $family reaches the backend', async (row) => {
    const [faults, checked, wrong] = await summed(() => talk(row).clientUnreachable());
    expect([faults, wrong]).toEqual([[], 0]);
    expect(checked).toBeGreaterThan(0);
  });
});

/** Faults that leave a sum behind, and what shows them. */
const planted = [
  { name: 'udp-unchecked-sum-stale', family: 'IPv4', shape: shapes[3] },
  { name: 'udp-unchecked-sum-stale', family: 'IPv6', shape: shapes[3] },
] as const;

test.each(planted)('the planted fault $name leaves a wrong sum over $family', async ({ name, family, shape }) => {
  const mutant = mutants.find((it) => it.name === name);
  const built = mutant === undefined ? undefined : buildMutant(mutant);
  if (built?.ok !== true || shape === undefined) throw new Error('the fault can be compiled');
  using rig = new TunRig(built.value, { name: 'stale', tunnelled: sums });
  const [, , wrong] = await summed(() => new Talk(rig, family, 'UDP', shape, nextPort++).whole());
  expect(wrong).toBeGreaterThan(0);
});
