// SPDX-License-Identifier: Apache-2.0
/** Two CPUs that make the same flows at the same time make each of them once (adr/0001). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, cpSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { programCluster } from '../../bench/cluster.ts';
import { clientFrame, SYN } from '../../bench/frames.ts';
import { BenchRun } from '../../bench/run.ts';
import { configOf } from '../../core/datapath/datapath.ts';
import {
  FLOW_BUCKET_FLOWS_AT,
  FLOW_BUCKET_SIZE,
  FLOW_BUCKET_SPILL_AT,
  FLOW_KEY_SIZE,
  FLOW_LIFE,
  FLOW_PENDING,
  FLOW_SIZE,
  FLOW_SLOTS,
  FLOW_TRANSLATION_AT,
  FLOW_WORD_AT,
  maps,
} from '../../core/layout.gen.ts';
import { assert, failureText } from '../../core/result.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { KernelStore } from '../../kernel/store.ts';
import { buildObject } from '../../tools/build.ts';
import { packetPrograms } from '../../kernel/twin.ts';

const root = resolve(import.meta.dirname, '../..');
const FLOWS = 32_768;
const BUCKETS = 16_384;
const ROUNDS = 12;
let folder = '';
let floors = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-race-'));
  floors = join(folder, 'floor.o');
  const built = buildObject({ defines: [], output: floors, source: join(root, 'bench/floor.bpf.c') });
  if (!built.ok) throw new Error(failureText(built.error));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function load(object: Uint8Array): LoadedObject {
  const config = configOf({ flowBucketMask: BUCKETS - 1, flowSecret: Array.from({ length: 12 }, (_, at) => at + 77) });
  const loaded = loadObject({
    object,
    name: 'race',
    settings: config,
    maxEntries: { flows: BUCKETS },
    programs: packetPrograms,
  });
  if (!loaded.ok) throw new Error(failureText(loaded.error));
  programCluster(new KernelStore(loaded.value), 1, 4);
  return loaded.value;
}

/**
 * Two processes, a wrapper each, walk the same flows through one program; each round lasts some tens of milliseconds,
 * and who comes later catches up, since finding a flow is quicker than making it. `goesOn` is asked after each.
 */
async function race(program: number, rounds: number, goesOn: () => boolean): Promise<void> {
  const script = join(import.meta.dirname, 'race.child.ts');
  const child = spawn(process.execPath, [script, floors, String(FLOWS)], {
    stdio: ['pipe', 'pipe', 'inherit', program],
  });
  const { stdin, stdout } = child;
  assert(stdin !== null && stdout !== null, 'both are pipes');
  using bench = BenchRun.open(readFileSync(floors), floors);
  try {
    const lines = createInterface({ input: stdout });
    const answers = lines[Symbol.asyncIterator]();
    expect(await answers.next()).toEqual({ value: 'ready', done: false });
    for (let round = 0; round < rounds; round++) {
      bench.set({ frame: clientFrame(SYN), answers: false }, FLOWS);
      bench.aim(program);
      stdin.write('go\n');
      bench.go(FLOWS);
      expect(await answers.next()).toEqual({ value: 'ready', done: false });
      if (!goesOn()) return;
    }
  } finally {
    child.kill();
  }
}

type Census = { entries: number; doubles: number; mixed: number };

/** Counts entries, keys that stand twice, and forward entries whose translation is not whole. */
function census(memory: Uint8Array): Census {
  const seen = new Set<string>();
  const found: Census = { entries: 0, doubles: 0, mixed: 0 };
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    for (let slot = 0; slot < FLOW_SLOTS; slot++) {
      const at = bucket * FLOW_BUCKET_SIZE + FLOW_BUCKET_FLOWS_AT + slot * FLOW_SIZE;
      if ((memory[at + FLOW_WORD_AT + 4]! & FLOW_LIFE) < FLOW_PENDING) continue;
      const key = Buffer.from(memory.subarray(at, at + FLOW_KEY_SIZE));
      const translation = Buffer.from(
        memory.subarray(at + FLOW_TRANSLATION_AT, at + FLOW_TRANSLATION_AT + FLOW_KEY_SIZE),
      );
      const text = key.toString('hex');
      found.entries += 1;
      if (seen.has(text)) found.doubles += 1;
      seen.add(text);
      // A forward entry keeps the client as it is, an answer's keeps it as destination.
      const client = key[37] === 0 ? 0 : 16;
      if (key.compare(translation, client, client + 16, client, client + 16) !== 0) found.mixed += 1;
    }
  }
  return found;
}

/** `isEnough`: ends before its rounds are over. */
async function raced(
  object: Uint8Array,
  rounds: number,
  isEnough: (total: Census) => boolean = () => false,
): Promise<Census> {
  using loaded = load(object);
  const opened = new KernelStore(loaded).map(maps.flows);
  if (!opened.ok || opened.value.mapped === undefined) throw new Error('flows can be mapped');
  const memory = new Uint8Array(opened.value.mapped.memory, 0, BUCKETS * FLOW_BUCKET_SIZE);
  const total: Census = { entries: 0, doubles: 0, mixed: 0 };
  let isSpilled = false;
  await race(loaded.programFd('tc_from_pod'), rounds, () => {
    const { entries, doubles, mixed } = census(memory);
    total.entries += entries;
    total.doubles += doubles;
    total.mixed += mixed;
    memory.fill(0);
    // Every other round is played in a table that once was full: somebody looks into second buckets for everybody.
    isSpilled = !isSpilled;
    const spill = isSpilled ? 1 : 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) memory[bucket * FLOW_BUCKET_SIZE + FLOW_BUCKET_SPILL_AT] = spill;
    return !isEnough(total);
  });
  return total;
}

/** Builds bpf/ with replacements in flows.h; one that changes nothing is a mistake of the test. */
function buildWith(name: string, replacements: readonly (readonly [string, string])[]): Uint8Array {
  const source = join(folder, name);
  cpSync(join(root, 'bpf'), source, { recursive: true });
  const file = join(source, 'flows.h');
  let text = readFileSync(file, 'utf8');
  for (const [find, replace] of replacements) {
    expect(text).toContain(find);
    text = text.replace(find, replace);
  }
  writeFileSync(file, text);
  const output = join(folder, `${name}.o`);
  const built = buildObject({ defines: [], output, source: join(source, 'tandem.bpf.c') });
  if (!built.ok) throw new Error(failureText(built.error));
  return built.value;
}

/** Two microseconds between looking for a key and publishing it: the window in which the other may publish too. */
const widened = [
  '\tif (flow_publish(key, record, now)',
  '\tfor (int i = 0; i < 64; i++)\n\t\tbpf_ktime_get_ns();\n\tif (flow_publish(key, record, now)',
] as const;

describe('two CPUs that make the same flows', () => {
  const once = { entries: 2 * FLOWS * ROUNDS, doubles: 0, mixed: 0 };

  test('make each of them once, and whole', async () => {
    expect(await raced(readFileSync(join(root, 'bpf/tandem.bpf.o')), ROUNDS)).toEqual(once);
  });

  test('make each of them once with a wide window between looking and publishing', async () => {
    expect(await raced(buildWith('wide', [widened]), ROUNDS)).toEqual(once);
  });

  const publishes = 'if (twin < 0) {\n\t\tbucket->fingerprints';
  const planted: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
    [
      'publication does not look for the other',
      [
        [publishes, publishes.replace('twin < 0', 'twin < 16')],
        ['if (twin >= 0)\n\t\treturn FLOW_EXISTS', 'if (twin >= 16)\n\t\treturn FLOW_EXISTS'],
      ],
    ],
    ['it publishes beside an entry in the first place', [[publishes, publishes.replace('twin < 0', 'twin <= 0')]]],
    [
      'it forgets an entry in the first place for the second bucket',
      [['if (twin < 0 && first->spill)', 'if (twin <= 0 && first->spill)']],
    ],
  ];

  test.each(planted)('make some twice when %s (planted fault)', async (_, replacements) => {
    const object = buildWith(`planted-${planted.findIndex(([, one]) => one === replacements)}`, [
      widened,
      ...replacements,
    ]);
    // On a loaded machine the two may take turns instead of meeting: then they get another chance.
    const { doubles } = await raced(object, 10 * ROUNDS, (total) => total.doubles > 0);
    expect(doubles).toBeGreaterThan(0);
  });
});
