// SPDX-License-Identifier: Apache-2.0
/** What the generator refuses in C, and that compilers and directories leave no trace in what is built. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { buildObject, checkBuild } from '../../tools/build.ts';
import { loadObject } from '../../kernel/object.ts';
import { generateLayout } from '../../tools/generate.ts';

const root = resolve(import.meta.dirname, '../..');
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-generate-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** What the generator says about a map whose value is `struct value`, declared by `c`. */
function generated(c: string): string {
  const source = join(folder, 'case.bpf.c');
  writeFileSync(
    source,
    `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
${c}
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct value); }
cases SEC(".maps");
char _license[] SEC("license") = "GPL";
`,
  );
  const object = buildObject({ defines: [], output: join(folder, 'case.o'), source });
  if (!object.ok) throw new Error(failureText(object.error));
  const text = generateLayout(object.value, 'case.o');
  return text.ok ? text.value : failureText(text.error);
}

describe('the generator refuses', () => {
  const cases = [
    [
      'padding between members',
      'struct value { __u8 a; __u32 b; };',
      'struct value member b: 3 bytes of implicit padding before it',
    ],
    [
      'padding at the end',
      'struct value { __u64 a; __u8 b; };',
      'struct value member b: 7 bytes of implicit padding after it',
    ],
    [
      'padding of a nested struct',
      'struct inner { __u8 a; __u16 b; }; struct value { struct inner i; };',
      'struct inner member b: 1 bytes',
    ],
    ['a bit-field', 'struct value { __u32 a : 4; __u32 b : 28; };', 'struct value member a: a bit-field'],
    ['a pointer', 'struct value { void *a; };', 'struct value member a: a pointer'],
    ['a union', 'struct value { union { __u32 a; __s32 b; } u; };', 'struct value member u: a union'],
    ['a nameless struct', 'struct value { struct { __u32 a; } s; };', 'struct value member s: a struct without a name'],
    ['a double', 'struct value { double a; };', 'struct value member a: a other'],
  ] as const;
  test.each(cases)('%s, naming struct and member', (_name, c, message) => {
    expect(generated(c)).toContain(message);
  });
});

describe('the generator keeps', () => {
  test('byte order, sign, width, arrays and documentation of a member', () => {
    const text = generated(`struct inner { __be16 port; __s16 delta; };
      struct value { __u64 wide __attribute__((btf_decl_tag("in bytes"))); struct inner inners[2]; __u8 list[6]; __u8 pad[2]; };`);
    for (const line of [
      '  /** in bytes */\n  readonly wide: bigint;',
      '  readonly inners: readonly [InnerRecord, InnerRecord];',
      '  readonly list: readonly number[];',
      'port: view.getUint16(offset),',
      'delta: view.getInt16(offset + 2, true),',
      'export const VALUE_INNERS_AT = 8;',
      'zero(view, offset + 22, 2);',
    ]) {
      expect(text).toContain(line);
    }
    expect(text).not.toContain('readonly pad');
  });
});

describe('the build', () => {
  test('gives the committed object and layout', () => {
    expect(checkBuild()).toEqual({ ok: true, value: [] });
  });

  test('does not depend on where the sources lie', () => {
    cpSync(join(root, 'bpf'), join(folder, 'elsewhere'), { recursive: true });
    const source = join(folder, 'elsewhere/tandem.bpf.c');
    const object = buildObject({ defines: [], output: join(folder, 'elsewhere.o'), source });
    expect(object.ok && Buffer.compare(object.value, readFileSync(join(root, 'bpf/tandem.bpf.o')))).toBe(0);
  });

  test('gives the same layout with a newer clang, and programs that load', () => {
    const object = buildObject({ defines: [], output: join(folder, 'newer.o'), clang: 'clang-19' });
    if (!object.ok) throw new Error(failureText(object.error));
    const layout = generateLayout(object.value, 'newer.o');
    expect(layout.ok && layout.value).toBe(readFileSync(join(root, 'core/layout.gen.ts'), 'utf8'));
    for (const testMode of [0, 1]) {
      const loaded = loadObject({ object: object.value, name: 'newer.o', settings: { testMode } });
      if (!loaded.ok) throw new Error(failureText(loaded.error));
      loaded.value[Symbol.dispose]();
    }
  });

  test('a compiler that is not there is named with its package', () => {
    const object = buildObject({ defines: [], output: join(folder, 'none.o'), clang: 'clang-7' });
    expect(object).toMatchObject({
      ok: false,
      error: { kind: 'environment', remedy: 'apt-get install clang-7 libbpf-dev' },
    });
  });

  test('an error in the C is told as clang told it', () => {
    const source = join(folder, 'broken.bpf.c');
    writeFileSync(source, 'int broken(void) { return nothing; }\n');
    const object = buildObject({ defines: [], output: join(folder, 'broken.o'), source });
    expect(object.ok ? '' : object.error.message).toContain("use of undeclared identifier 'nothing'");
  });
});
