// SPDX-License-Identifier: Apache-2.0
/** Loading: settings reach the program, production holds no test code, and everything that is refused says why. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { addressOf, libbpf } from '../../kernel/libbpf.ts';
import { allPrograms, checkLayout, loadObject, readObjectFile, verifierFailure } from '../../kernel/object.ts';
import { endsSoftirqs, probeKernel, requireFeatures } from '../../kernel/probe.ts';
import { buildObject } from '../../tools/build.ts';

const root = resolve(import.meta.dirname, '../..');
const path = join(root, 'bpf/tandem.bpf.o');
const object = readFileSync(path);
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-object-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Builds C that includes the real layout, so that only the programs differ. */
function buildCase(name: string, c: string): Uint8Array {
  const source = join(folder, `${name}.bpf.c`);
  writeFileSync(
    source,
    `#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include "layout.h"\n${c}\nchar _license[] SEC("license") = "GPL";\n`,
  );
  const built = buildObject({ defines: [], output: join(folder, `${name}.o`), source });
  if (!built.ok) throw new Error(failureText(built.error));
  return built.value;
}

/** Runs a TC program on an empty frame; members of struct bpf_test_run_opts. */
function returnedBy(programFd: number): number {
  const bpf = libbpf();
  if (!bpf.ok) throw new Error(failureText(bpf.error));
  const frame = Buffer.alloc(64);
  const options = Buffer.alloc(80);
  options.writeBigUInt64LE(80n, 0);
  options.writeBigUInt64LE(addressOf(frame), 8);
  options.writeUInt32LE(frame.length, 24);
  expect(bpf.value.programTestRun(programFd, options)).toBe(0);
  return options.readUInt32LE(56);
}

/** What a fresh process says that loads the object under other circumstances. */
function loadElsewhere(options: {
  readonly uid?: number;
  readonly environment?: Readonly<Record<string, string>>;
}): string {
  const script = `
    const { loadObject, readObjectFile } = await import(${JSON.stringify(join(root, 'kernel/object.ts'))});
    const { failureText } = await import(${JSON.stringify(join(root, 'core/result.ts'))});
    const file = readObjectFile(${JSON.stringify(path)});
    const loaded = file.ok ? loadObject({ object: file.value, name: 'tandem.bpf.o', programs: ['sock_getpeername4'] }) : file;
    process.stdout.write(loaded.ok ? 'loaded' : loaded.error.kind + ' ' + failureText(loaded.error));`;
  const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, ...options.environment },
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  return done.stdout + done.stderr;
}

describe('the committed object', () => {
  const sizesOf = (bytes: Uint8Array, testMode: number): number[] => {
    const loaded = loadObject({ object: bytes, name: path, settings: { testMode } });
    if (!loaded.ok) throw new Error(failureText(loaded.error));
    using programs = loaded.value;
    // Where it is not created, an instruction that could reach it would make the load fail.
    expect(programs.map('test_control') === undefined).toBe(testMode === 0);
    return allPrograms.map((name) => programs.translatedSize(name));
  };

  test('loads in test mode, and in production without test code but for the loads of its switch', () => {
    const built = buildObject({ defines: ['WITHOUT_TEST_CODE'], output: join(folder, 'bare.o') });
    if (!built.ok) throw new Error(failureText(built.error));
    const [tested, production, bare] = [sizesOf(object, 1), sizesOf(object, 0), sizesOf(built.value, 0)];
    for (const [index, name] of allPrograms.entries()) {
      // The sweep has no test code: nothing is posed to it.
      if (name === 'sock_destroy') expect([tested[index], production[index]]).toEqual([bare[index], bare[index]]);
      else expect(tested[index], name).toBeGreaterThan((production[index] ?? 0) * 1.02);
      // 24 bytes for each place that asks for test mode: its address and its value.
      expect(production[index], name).toBeLessThan((bare[index] ?? 0) * 1.2);
    }
  });

  test('takes other map sizes, and only the programs that are asked for', () => {
    const maxEntries = { frontends: 16, flows: 64 };
    const loaded = loadObject({ object, name: path, maxEntries, programs: ['sock_getpeername4'] });
    if (!loaded.ok) throw new Error(failureText(loaded.error));
    using programs = loaded.value;
    expect(programs.map('frontends')?.maxEntries).toBe(16);
    expect(programs.map('flows')?.maxEntries).toBe(64);
    expect(() => programs.programFd('tc_from_pod')).toThrow('program tc_from_pod was loaded');
  });
});

describe('settings', () => {
  test('reach the program through .rodata, and masks follow the sizes of their maps', () => {
    const seen = buildCase(
      'settings',
      `SEC("tc") int settings(struct __sk_buff *skb)
       { return skb ? config.flow_bucket_mask + config.selection_key[1] : 0; }`,
    );
    const options = { settings: { selectionKey: [0, 4096] as const }, maxEntries: { flows: 256 } };
    const loaded = loadObject({ object: seen, name: 'settings.o', programs: ['settings'], ...options });
    if (!loaded.ok) throw new Error(failureText(loaded.error));
    using programs = loaded.value;
    expect(returnedBy(programs.programFd('settings'))).toBe(255 + 4096);
    expect(() => loadObject({ object: seen, name: 'x', programs: ['settings'], maxEntries: { flows: 100 } })).toThrow(
      'power of two',
    );
  });
});

describe('a load that fails', () => {
  test('names a file that is not there or no object', () => {
    expect(readObjectFile('/nonexistent.o')).toMatchObject({ ok: false, error: { object: '/nonexistent.o' } });
    const text = join(folder, 'text.o');
    copyFileSync(join(root, 'bpf/layout.h'), text);
    const loaded = loadObject({ object: readFileSync(text), name: text });
    expect(loaded).toMatchObject({ ok: false, error: { kind: 'input', object: text, message: 'not an ELF file' } });
  });

  test('names both layouts when the object speaks another', () => {
    const source = join(folder, 'other.bpf.c');
    writeFileSync(
      source,
      `#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>
       struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } other SEC(".maps");`,
    );
    const built = buildObject({ defines: [], output: join(folder, 'other.o'), source });
    if (!built.ok) throw new Error(failureText(built.error));
    const checked = checkLayout(built.value, 'other.o');
    expect(checked.ok ? '' : checked.error.message).toMatch(/^layout [0-9a-f]{16}, this program speaks [0-9a-f]{16}$/);
  });

  test('keeps the whole log of the verifier behind one readable line', () => {
    const bad = buildCase(
      'bad',
      'SEC("tc") int bad(struct __sk_buff *skb) { return *(volatile __u8 *)((long)skb->data + 20); }',
    );
    const loaded = loadObject({ object: bad, name: 'bad.o', programs: ['bad'] });
    if (loaded.ok) throw new Error('the verifier let it pass');
    expect(loaded.error.message).toMatch(
      /^refused by the verifier: R\d offset is outside of the packet at "@ bad.bpf.c:4" \(\d+ lines of log\)$/,
    );
    expect(loaded.error.object).toBe('program bad');
    expect(loaded.error.log?.join('\n')).toContain('processed ');
  });

  test('finds the objection in a log by its place, not by its words', () => {
    const log = [
      '0: R1=ctx()',
      '; packet = data; @ nat.h:12',
      '1: (71) r0 = *(u8 *)(r1 +20)',
      "no, you don't",
      'processed 2 insns',
    ];
    expect(verifierFailure('x', log).error.message).toBe(
      'refused by the verifier: no, you don\'t at "packet = data; @ nat.h:12" (5 lines of log)',
    );
  });

  test('says which package libbpf comes in', () => {
    expect(loadElsewhere({ environment: { TANDEM_LIBBPF: '/nonexistent/libbpf.so.1' } })).toMatch(
      /^environment \/nonexistent\/libbpf\.so\.1: can't be loaded: .*; install libbpf 1\.x \(Debian: apt-get install libbpf1\)$/,
    );
  });

  test('asks for root without a word of libbpf on the screen', () => {
    expect(loadElsewhere({ uid: 65534 })).toBe(
      'environment tandem.bpf.o: the kernel refuses to load it: EPERM; run as root',
    );
    expect(loadElsewhere({})).toBe('loaded');
  });
});

describe('the running kernel', () => {
  test('has every mandatory feature, and one that is missing is named with its first kernel', () => {
    const features = probeKernel();
    if (!features.ok) throw new Error(failureText(features.error));
    expect(requireFeatures(features.value)).toEqual({ ok: true, value: undefined });
    const older = features.value.map((feature) => ({
      ...feature,
      present: feature.since !== '5.18' && feature.present,
    }));
    expect(requireFeatures(older)).toMatchObject({
      ok: false,
      error: { kind: 'environment', message: 'lacks refusal at connect (Linux 5.18)' },
    });
  });

  test('is refused by name where packets of one CPU can interrupt each other', () => {
    expect(endsSoftirqs('#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1 (2024-12-01)')).toBe(true);
    expect(endsSoftirqs('#1 SMP PREEMPT_RT Debian 6.12.1-1 (2024-12-01)')).toBe(false);
  });
});
