// SPDX-License-Identifier: Apache-2.0
/** A packet between any two map writes meets the old state or the new one: asked on one CPU, written on the other. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addressFromIPv4, addressText } from '../../core/address.ts';
import { failureText } from '../../core/result.ts';
import { plantMutant } from '../../proof/mutants/plant.ts';
import { buildObject } from '../../tools/build.ts';
import { families, protocols } from './between/churn.ts';
import type { PlantName } from './between/plants.ts';
import type { Report, Wanted } from './between/writer.ts';
import { isFull } from '../full.ts';

const root = resolve(import.meta.dirname, '../..');
const TIMEOUT_MS = 120_000;
const SEED = Number(process.env['TANDEM_SEED'] ?? 1);
let folder = '';
let judge = '';
let wide = '';
const committed = join(root, 'bpf/tandem.bpf.o');

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-between-'));
  judge = join(folder, 'judge.o');
  const built = buildObject({ defines: [], output: judge, source: join(import.meta.dirname, 'between/judge.bpf.c') });
  if (!built.ok) throw new Error(failureText(built.error));
  wide = buildWide();
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** The first CPUs that we may run on. */
function twoCpus(): readonly [writer: number, reader: number] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  const cpus = list.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
  const [first, second] = cpus;
  if (first === undefined || second === undefined) throw new Error('this test needs two CPUs');
  return [first, second];
}

type Given = Partial<Wanted> & { readonly plant: PlantName; readonly object: string };

function run(given: Given): Report {
  const [writerCpu, readerCpu] = twoCpus();
  const defaults = {
    judge,
    seed: SEED,
    readerCpu,
    packetsMin: 300_000,
    durationMs: 2_000,
    stops: false,
    road: 'packets',
  } as const;
  const wanted: Wanted = { ...defaults, ...given };
  const words = ['-c', String(writerCpu), process.execPath, join(import.meta.dirname, 'between/writer.ts')];
  const done = spawnSync('taskset', [...words, JSON.stringify(wanted)], { encoding: 'utf8', timeout: TIMEOUT_MS });
  if (done.status !== 0) throw new Error(`seed ${wanted.seed}: ${done.error?.message ?? done.stderr}`);
  return JSON.parse(done.stdout) as Report;
}

/** About ten microseconds each: after the row is found, before its backend is looked up, and before that is read. */
const WINDOWS = [
  ['lookup.h', 'struct service *service = lookup_row(key), *whole;', 'after'],
  ['select.h', 'struct backend *backend = bpf_map_lookup_elem(&backends, id);', 'before'],
  ['select.h', 'MARK(SELECTED);', 'after'],
] as const;
const WAIT = '{ for (int i = 0; i < 256; i++) bpf_ktime_get_ns(); }';

/** The programs, slow where they hold something that the control plane may take away. */
function buildWide(): string {
  const source = join(folder, 'wide');
  cpSync(join(root, 'bpf'), source, { recursive: true });
  for (const [file, find, where] of WINDOWS) {
    const replace = where === 'after' ? `${find}\n${WAIT}` : `${WAIT}\n${find}`;
    const mutant = { name: 'wide', file, find, replace, meaning: '', shows: /./, road: 'packets' } as const;
    const text = plantMutant(mutant, readFileSync(join(source, file), 'utf8'));
    if (!text.ok) throw new Error(failureText(text.error));
    writeFileSync(join(source, file), text.value);
  }
  const output = join(folder, 'wide.o');
  const built = buildObject({ defines: [], output, source: join(source, 'tandem.bpf.c') });
  if (!built.ok) throw new Error(failureText(built.error));
  return output;
}

function text(address: number): string {
  return addressText(addressFromIPv4(address));
}

/** What no packet may meet, in words; empty: all went as it should. */
function complaints({ seen, failures }: Report): readonly string[] {
  const { wrong, missed, refused, wrongFrontend, wrongBackend, missedFrontend } = seen;
  return [
    ...(wrong === 0 ? [] : [`${wrong} sent to another Service: ${text(wrongFrontend)} to ${text(wrongBackend)}`]),
    ...(missed === 0 ? [] : [`${missed} not sent on, though ${text(missedFrontend)} always had an endpoint`]),
    ...(refused === 0 ? [] : [`${refused} refused`]),
    ...failures,
  ];
}

const SENT_ON: ReadonlySet<string> = new Set(['new-flow', 'known-flow', 'stateless', 'translated']);

/**
 * A Service that is recreated with another ClusterIP may be met as gone: its packets pass untouched then, and nothing
 * is counted. Whatever is counted was sent on: no refusal, no disagreement of maps, no full table.
 */
function expectOldOrNew(report: Report): void {
  expect(complaints(report), `seed ${SEED}`).toEqual([]);
  const reasons = Object.keys(report.reasons).filter((name) => !SENT_ON.has(name));
  expect(reasons).toEqual([]);
  expect(report.seen.forwarded / report.seen.judged).toBeGreaterThan(0.5);
  expect(report.steps).toBeGreaterThan(20);
}

const planted: readonly (readonly [string, PlantName])[] = [
  ['no barrier is waited for', 'no-barrier'],
  ['rows are published before they are filled', 'publish-first'],
  ['ids of backends that end are used again at once', 'reuse-at-once'],
];
/** What is asked at least: in short, in `--full`, and in each with wide windows. */
const roads = [
  { road: 'packets', least: 300_000, fullLeast: 10_000_000, wideLeast: 50_000, fullWideLeast: 1_000_000 },
  { road: 'sockets', least: 20_000, fullLeast: 1_000_000, wideLeast: 10_000, fullWideLeast: 200_000 },
] as const;

describe.each(roads)('$road while Services are recreated and endpoints replaced at full speed', (it) => {
  const { road } = it;
  const durationMs = isFull ? 30_000 : 1_500;

  test('go to a backend of their own Service, always', { timeout: TIMEOUT_MS }, () => {
    const packetsMin = isFull ? it.fullLeast : it.least;
    const report = run({ road, plant: 'none', object: committed, packetsMin, durationMs });
    expectOldOrNew(report);
    expect(report.seen.judged).toBeGreaterThanOrEqual(packetsMin);
  });

  describe('with wide windows between what is read of one Service', () => {
    test('go to a backend of their own Service, always', { timeout: TIMEOUT_MS }, () => {
      const packetsMin = isFull ? it.fullWideLeast : it.wideLeast;
      expectOldOrNew(run({ road, plant: 'none', object: wide, packetsMin, durationMs }));
    });

    test.each(planted)('are lost or led astray where %s (planted fault)', { timeout: TIMEOUT_MS }, (_, plant) => {
      // Found in some milliseconds; on a loaded machine the two may take turns for a while.
      const report = run({ road, plant, object: wide, stops: true, durationMs: 30_000 });
      expect(complaints(report).length).toBeGreaterThan(0);
      expect(report.failures).toEqual([]);
    });

    const kinds = families.flatMap((family) => protocols.map((protocol) => ({ family, protocol })));
    test.each(kinds)('$protocol over $family alone would show it (planted fault)', { timeout: TIMEOUT_MS }, (only) => {
      const report = run({ road, plant: 'publish-first', only, object: wide, stops: true, durationMs: 30_000 });
      expect(complaints(report).length).toBeGreaterThan(0);
      expect(report.failures).toEqual([]);
    });
  });
});
