// SPDX-License-Identifier: Apache-2.0
/** Reads the type information (BTF) of a BPF object file; pure over its bytes, so it needs neither libbpf nor bpftool. */
import { fail, ok, type Result } from '../core/result.ts';

/** A member of a struct or union; `offsetBits` from the start of it, `bitFieldBits` 0 unless it is a bit-field. */
export type BtfMember = {
  readonly name: string;
  readonly type: number;
  readonly offsetBits: number;
  readonly bitFieldBits: number;
};

export type BtfEnumerator = { readonly name: string; readonly value: number };

/** One type; numbers named `type` are indices into `Btf.types`, 0 is void. Sizes in bytes. */
export type BtfType =
  | { readonly kind: 'void' }
  | {
      readonly kind: 'int';
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bits: number;
    }
  | { readonly kind: 'pointer'; readonly type: number }
  | { readonly kind: 'array'; readonly type: number; readonly length: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | { readonly kind: 'enum'; readonly name: string; readonly size: number; readonly values: readonly BtfEnumerator[] }
  | { readonly kind: 'typedef'; readonly name: string; readonly type: number }
  | { readonly kind: 'qualifier'; readonly type: number }
  | { readonly kind: 'variable'; readonly name: string; readonly type: number }
  | { readonly kind: 'section'; readonly name: string; readonly variables: readonly number[] }
  | { readonly kind: 'tag'; readonly text: string; readonly type: number; readonly member: number }
  | { readonly kind: 'other'; readonly name: string };

/** All types of an object; a type's index is its id. */
export type Btf = { readonly types: readonly BtfType[] };

/** An ELF section: where its bytes are. */
export type ElfSection = { readonly name: string; readonly offset: number; readonly size: number };

const ELF_MAGIC = 0x7f454c46;
const ELF_HEADER_SIZE = 64;
const ELF_SECTION_SIZE = 64;
const ELF_SYMBOL_SIZE = 24;
const ELF_NO_BITS = 8;
const ELF_MACHINE_BPF = 247;
const BTF_MAGIC = 0xeb9f;
const BTF_HEADER_SIZE = 24;
const BTF_TYPES_MAX = 1_000_000;

/** Reading past the end of a table: the one thing that is wrong with a truncated file. */
class Truncated extends Error {}

class Bytes {
  readonly view: DataView;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u16(offset: number): number {
    this.need(offset, 2);
    return this.view.getUint16(offset, true);
  }

  u32(offset: number): number {
    this.need(offset, 4);
    return this.view.getUint32(offset, true);
  }

  u64(offset: number): number {
    return this.u32(offset) + this.u32(offset + 4) * 2 ** 32;
  }

  slice(offset: number, length: number): Uint8Array {
    this.need(offset, length);
    return this.bytes.subarray(offset, offset + length);
  }

  text(offset: number): string {
    this.need(offset, 1);
    const end = this.bytes.indexOf(0, offset);
    if (end < 0) throw new Truncated('text without an end');
    return new TextDecoder().decode(this.bytes.subarray(offset, end));
  }

  private need(offset: number, length: number): void {
    if (offset + length > this.bytes.length)
      throw new Truncated(`ends at ${this.bytes.length}, needs ${offset + length}`);
  }
}

function guarded<T>(name: string, what: string, read: () => Result<T>): Result<T> {
  try {
    return read();
  } catch (error) {
    if (error instanceof Truncated)
      return fail('input', name, `${what} cut short: ${error.message}`, 'build the object again');
    throw error;
  }
}

/** The sections of a 64-bit little-endian BPF object; `name` stands for the file in a Failure. */
export function readElfSections(object: Uint8Array, name: string): Result<readonly ElfSection[]> {
  const file = new Bytes(object);
  if (object.length < ELF_HEADER_SIZE || file.view.getUint32(0) !== ELF_MAGIC) {
    return fail('input', name, 'not an ELF file', 'give an object built from bpf/tandem.bpf.c');
  }
  if (object[4] !== 2 || object[5] !== 1 || file.u16(18) !== ELF_MACHINE_BPF) {
    return fail('input', name, 'not a 64-bit little-endian BPF object', 'give an object built with -target bpf');
  }
  return guarded(name, 'section table', () => {
    const table = file.u64(40);
    file.slice(table, file.u16(60) * ELF_SECTION_SIZE);
    const entry = (index: number): number => table + index * ELF_SECTION_SIZE;
    const names = file.u64(entry(file.u16(62)) + 24);
    const sections = Array.from({ length: file.u16(60) }, (_, index) => ({
      name: file.text(names + file.u32(entry(index))),
      offset: file.u64(entry(index) + 24),
      size: file.u32(entry(index) + 4) === ELF_NO_BITS ? 0 : file.u64(entry(index) + 32),
    }));
    return ok(sections);
  });
}

/** Offset of a variable in its section, which BTF of an unlinked object does not say; undefined if there is none. */
export function readSymbolOffset(object: Uint8Array, name: string, symbol: string): Result<number | undefined> {
  const sections = readElfSections(object, name);
  if (!sections.ok) return sections;
  const find = (wanted: string): ElfSection | undefined => sections.value.find((section) => section.name === wanted);
  const table = find('.symtab');
  const names = find('.strtab');
  if (table === undefined || names === undefined) return ok(undefined);
  return guarded(name, '.symtab', () => {
    const file = new Bytes(object);
    for (let at = table.offset; at + ELF_SYMBOL_SIZE <= table.offset + table.size; at += ELF_SYMBOL_SIZE) {
      if (file.text(names.offset + file.u32(at)) === symbol) return ok(file.u64(at + 8));
    }
    return ok(undefined);
  });
}

/** The types of an object file; `name` stands for the file in a Failure. */
export function readBtf(object: Uint8Array, name: string): Result<Btf> {
  const sections = readElfSections(object, name);
  if (!sections.ok) return sections;
  const section = sections.value.find((candidate) => candidate.name === '.BTF');
  if (section === undefined) return fail('input', name, 'no .BTF section', 'build it with -g');
  return guarded(name, '.BTF', () => readBtfSection(new Bytes(object).slice(section.offset, section.size), name));
}

function readBtfSection(bytes: Uint8Array, name: string): Result<Btf> {
  const section = new Bytes(bytes);
  const headerSize = section.u32(4);
  if (section.u16(0) !== BTF_MAGIC || bytes[2] !== 1 || headerSize < BTF_HEADER_SIZE) {
    return fail('input', name, '.BTF is not version 1 type information');
  }
  const records = new Bytes(section.slice(headerSize + section.u32(8), section.u32(12)));
  const strings = new Bytes(section.slice(headerSize + section.u32(16), section.u32(20)));
  const types: BtfType[] = [{ kind: 'void' }];
  let offset = 0;
  while (offset < records.bytes.length) {
    const record = readType(records, offset, strings);
    if (record === undefined) return fail('input', name, `.BTF type ${types.length} is of an unknown kind`);
    if (types.length >= BTF_TYPES_MAX) return fail('input', name, `.BTF has more than ${BTF_TYPES_MAX} types`);
    types.push(record.type);
    offset += record.size;
  }
  return ok({ types });
}

type TypeRecord = { readonly type: BtfType; readonly size: number };

/** One record of the type section (Documentation/bpf/btf.rst); undefined for a kind that is not known. */
function readType(records: Bytes, offset: number, strings: Bytes): TypeRecord | undefined {
  const name = strings.text(records.u32(offset));
  const info = records.u32(offset + 4);
  const third = records.u32(offset + 8);
  const count = info & 0xffff;
  const extra = offset + 12;
  const list = <T>(size: number, item: (at: number) => T): T[] =>
    Array.from({ length: count }, (_, index) => item(extra + index * size));
  const sized = (type: BtfType, extraSize: number): TypeRecord => ({ type, size: 12 + extraSize });
  switch ((info >>> 24) & 31) {
    case 1: {
      const encoding = records.u32(extra);
      const signed = ((encoding >>> 24) & 1) === 1;
      return sized({ kind: 'int', name, size: third, signed, bits: encoding & 0xff }, 4);
    }
    case 2:
      return sized({ kind: 'pointer', type: third }, 0);
    case 3:
      return sized({ kind: 'array', type: records.u32(extra), length: records.u32(extra + 8) }, 12);
    case 4:
    case 5: {
      const kind = ((info >>> 24) & 31) === 4 ? 'struct' : 'union';
      const members = list(12, (at) => readMember(records, at, strings, info >>> 31 === 1));
      return sized({ kind, name, size: third, members }, count * 12);
    }
    case 6: {
      const values = list(8, (at) => ({ name: strings.text(records.u32(at)), value: records.u32(at + 4) | 0 }));
      return sized({ kind: 'enum', name, size: third, values }, count * 8);
    }
    case 8:
      return sized({ kind: 'typedef', name, type: third }, 0);
    case 9:
    case 10:
    case 11:
    case 18:
      return sized({ kind: 'qualifier', type: third }, 0);
    case 14:
      return sized({ kind: 'variable', name, type: third }, 4);
    case 15:
      return sized({ kind: 'section', name, variables: list(12, (at) => records.u32(at)) }, count * 12);
    case 17:
      return sized({ kind: 'tag', text: name, type: third, member: records.u32(extra) | 0 }, 4);
    default:
      return readOther(name, (info >>> 24) & 31, count);
  }
}

/** Kinds that only programs and the kernel need: forward, function, prototype, float, enum64. */
function readOther(name: string, kind: number, count: number): TypeRecord | undefined {
  const itemSizes = new Map([
    [7, 0],
    [12, 0],
    [13, 8],
    [16, 0],
    [19, 12],
  ]);
  const itemSize = itemSizes.get(kind);
  if (itemSize === undefined) return undefined;
  // A function keeps its linkage where others keep a count.
  return { type: { kind: 'other', name }, size: 12 + (kind === 12 ? 0 : itemSize * count) };
}

function readMember(records: Bytes, at: number, strings: Bytes, hasBitFields: boolean): BtfMember {
  const place = records.u32(at + 8);
  return {
    name: strings.text(records.u32(at)),
    type: records.u32(at + 4),
    offsetBits: hasBitFields ? place & 0xffffff : place,
    bitFieldBits: hasBitFields ? place >>> 24 : 0,
  };
}

/** The type behind typedefs and qualifiers. */
export function resolveType(btf: Btf, id: number): BtfType {
  let type = btf.types[id] ?? { kind: 'void' };
  for (let depth = 0; depth < 32 && (type.kind === 'typedef' || type.kind === 'qualifier'); depth++) {
    type = btf.types[type.type] ?? { kind: 'void' };
  }
  return type;
}
