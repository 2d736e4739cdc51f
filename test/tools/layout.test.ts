// SPDX-License-Identifier: Apache-2.0
/** The committed object and the committed core/layout.gen.ts are one layout, and codecs keep what they are given. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressFromIPv4, port, TCP } from '../../core/address.ts';
import {
  backendCodec,
  configCodec,
  flowBucketCodec,
  flowCodec,
  frontendKeyCodec,
  LAYOUT_HASH,
  maps,
  peerCodec,
  reasonNames,
  REASON_FLOWS_FULL,
  REASON_MAX,
  serviceCodec,
  SERVICE_SIZE,
  SERVICE_VIEWS_AT,
  testControlCodec,
  verdictNames,
  writeOperationNames,
  WRITE_INSERT,
} from '../../core/layout.gen.ts';
import type { Codec } from '../../core/store.ts';
import { readBtf, readElfSections, readSymbolOffset } from '../../kernel/btf.ts';
import { isPad, layoutHash, layoutText, readLayout, type Shape } from '../../kernel/layout.ts';
import { generateLayout } from '../../tools/generate.ts';

const root = resolve(import.meta.dirname, '../..');
const object = readFileSync(join(root, 'bpf/tandem.bpf.o'));

function unwrap<T>(
  result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown },
): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

describe('the committed object', () => {
  test('describes the layout that core/layout.gen.ts was made from', () => {
    expect(layoutHash(layout)).toBe(LAYOUT_HASH);
    expect(layoutText(layout)).toContain('map frontends hash flags 1 entries 65536 struct frontend_key -> u32\n');
    expect(layoutText(layout)).toContain('map flow_locks array flags 0 entries 4096 locked\n');
  });

  test('gives the committed core/layout.gen.ts to the byte', () => {
    const committed = readFileSync(join(root, 'core/layout.gen.ts'), 'utf8');
    expect(unwrap(generateLayout(object, 'tandem.bpf.o'))).toBe(committed);
    expect(committed.split('\n')[0]).toMatch(/^\/\/ Generated .* from bpf\/layout\.h; do not edit/);
  });

  test('knows where its settings lie', () => {
    expect(unwrap(readSymbolOffset(object, 'tandem.bpf.o', 'config'))).toBe(0);
    expect(unwrap(readSymbolOffset(object, 'tandem.bpf.o', 'no_such_variable'))).toBeUndefined();
  });
});

describe('names', () => {
  test('read as words and stand at their value', () => {
    expect(verdictNames).toEqual(['pass', 'forward', 'reply', 'drop', 'refuse']);
    expect(reasonNames[REASON_FLOWS_FULL]).toBe('flows-full');
    expect(reasonNames).toHaveLength(REASON_MAX);
    expect(writeOperationNames[WRITE_INSERT]).toBe('insert');
  });
});

const layout = unwrap(readLayout(unwrap(readBtf(object, 'tandem.bpf.o'))));

/** Offsets of the bytes of a shape that no record has. */
function padding(shape: Shape): readonly number[] {
  if (shape.kind === 'scalar') return [];
  if (shape.kind === 'array') {
    const element = padding(shape.element);
    return Array.from({ length: shape.length }, (_, index) =>
      element.map((at) => at + index * shape.element.size),
    ).flat();
  }
  return (layout.structs.find(({ name }) => name === shape.name)?.fields ?? []).flatMap((field) => {
    const inside = isPad(field) ? Array.from({ length: field.shape.size }, (_, at) => at) : padding(field.shape);
    return inside.map((at) => at + field.offset);
  });
}

const codecs: readonly (readonly [string, Codec<unknown>])[] = [
  ['frontend_key', frontendKeyCodec as Codec<unknown>],
  ['service', serviceCodec as Codec<unknown>],
  ['backend', backendCodec as Codec<unknown>],
  ['flow', flowCodec as Codec<unknown>],
  ['flow_bucket', flowBucketCodec as Codec<unknown>],
  ['peer', peerCodec as Codec<unknown>],
  ['config', configCodec as Codec<unknown>],
  ['test_control', testControlCodec as Codec<unknown>],
];

describe('codecs', () => {
  test.each(codecs)('%s writes the bytes it read, and zeros where the padding is', (name, codec) => {
    const pads = new Set(padding({ kind: 'struct', name, size: codec.size }));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: codec.size + 5, maxLength: codec.size + 5 }), (bytes) => {
        const copy = new Uint8Array(bytes.length);
        codec.encode(new DataView(copy.buffer), 5, codec.decode(new DataView(bytes.buffer, bytes.byteOffset), 5));
        const expected = bytes.map((byte, index) => (index < 5 || pads.has(index - 5) ? 0 : byte));
        expect(Buffer.compare(copy, expected)).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test('addresses and ports lie in network order and are text for people', () => {
    const bytes = new Uint8Array(frontendKeyCodec.size).fill(0xff);
    const key = { address: addressFromIPv4(0x0a600001), port: port(8080), protocol: TCP };
    frontendKeyCodec.encode(new DataView(bytes.buffer), 0, key);
    expect(Buffer.from(bytes).toString('hex')).toBe('00000000000000000000ffff0a6000011f900600');
    expect(maps.frontends.key.text(key)).toBe('address=10.96.0.1 port=8080 protocol=TCP');
  });

  test('offsets are those of the struct', () => {
    expect([SERVICE_SIZE, SERVICE_VIEWS_AT]).toEqual([80, 48]);
  });
});

describe('a file that is no whole object', () => {
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['nothing at all', new Uint8Array(), /not an ELF file/],
    ['a script', Buffer.from('#!/bin/sh\n'.repeat(20)), /not an ELF file/],
    ['an ELF file for another machine', withMachine(62), /not a 64-bit little-endian BPF object/],
  ];
  test.each(cases)('%s is refused by name', (_name, bytes, message) => {
    const sections = readElfSections(bytes, 'some.o');
    expect(sections).toMatchObject({ ok: false, error: { kind: 'input', object: 'some.o' } });
    expect(sections.ok ? '' : sections.error.message).toMatch(message);
  });

  test('a cut or damaged object is a Failure, never a crash', () => {
    fc.assert(
      fc.property(fc.nat(object.length - 1), fc.nat(object.length - 1), fc.nat(255), (length, at, byte) => {
        const cut = readBtf(object.subarray(0, length), 'cut.o');
        expect(cut.ok).toBe(false);
        const damaged = Uint8Array.from(object);
        damaged[at] = byte;
        const read = readBtf(damaged, 'damaged.o');
        if (read.ok) readLayout(read.value);
        else expect(read.error.object).toBe('damaged.o');
      }),
      { numRuns: 200 },
    );
  });
});

function withMachine(machine: number): Uint8Array {
  const copy = Uint8Array.from(object);
  copy[18] = machine;
  return copy;
}
