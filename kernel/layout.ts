// SPDX-License-Identifier: Apache-2.0
/** The layout that C and TypeScript share, as an object's BTF tells it: structs, enums, maps, and one hash of it all. */
import { createHash } from 'node:crypto';
import { fail, ok, type Result } from '../core/result.ts';
import { resolveType, type Btf, type BtfMember, type BtfType } from './btf.ts';

/** What a member or a map's key is. `typedefs` from the outermost name inwards. */
export type Shape =
  | {
      readonly kind: 'scalar';
      readonly size: 1 | 2 | 4 | 8;
      readonly signed: boolean;
      readonly bigEndian: boolean;
      readonly typedefs: readonly string[];
    }
  | { readonly kind: 'array'; readonly element: Shape; readonly length: number; readonly size: number }
  | { readonly kind: 'struct'; readonly name: string; readonly size: number };

/** Offsets and sizes in bytes; `doc` is the text of DOC(). */
export type LayoutField = {
  readonly name: string;
  readonly offset: number;
  readonly shape: Shape;
  readonly doc: string;
};
export type LayoutStruct = { readonly name: string; readonly size: number; readonly fields: readonly LayoutField[] };
export type LayoutEnum = { readonly name: string; readonly values: readonly (readonly [string, number])[] };

export type MapKind = 'array' | 'hash' | 'lpm-trie' | 'lru-hash' | 'percpu-array' | 'socket-storage';

/** `key` and `value` are undefined for a map that user space has no business in: its value holds a lock. */
export type LayoutMap = {
  readonly name: string;
  readonly kind: MapKind;
  readonly flags: number;
  readonly maxEntries: number;
  readonly entry: { readonly key: Shape; readonly value: Shape } | undefined;
};

export type Layout = {
  readonly enums: readonly LayoutEnum[];
  readonly structs: readonly LayoutStruct[];
  readonly maps: readonly LayoutMap[];
};

/** uapi/linux/bpf.h BPF_F_MMAPABLE. */
export const MAP_FLAG_MMAPABLE = 1024;

const MAP_KINDS = new Map<number, MapKind>([
  [1, 'hash'],
  [2, 'array'],
  [6, 'percpu-array'],
  [9, 'lru-hash'],
  [11, 'lpm-trie'],
  [24, 'socket-storage'],
]);
const NESTING_MAX = 16;

/** A layout that can't be shared; carries the Failure out of the recursion. */
class Unfit extends Error {
  readonly object: string;
  readonly remedy: string;

  constructor(object: string, message: string, remedy: string) {
    super(message);
    this.object = object;
    this.remedy = remedy;
  }
}

/** The shared layout of an object. Implicit padding, bit-fields, pointers and unions are failures that name the member. */
export function readLayout(btf: Btf): Result<Layout> {
  const reader = new LayoutReader(btf);
  try {
    return ok(reader.read());
  } catch (error) {
    if (error instanceof Unfit) return fail('input', error.object, error.message, error.remedy);
    throw error;
  }
}

class LayoutReader {
  private readonly btf: Btf;
  private readonly structs = new Map<string, LayoutStruct>();
  private readonly enums = new Map<string, LayoutEnum>();

  constructor(btf: Btf) {
    this.btf = btf;
  }

  read(): Layout {
    const maps = this.variables('.maps')
      .filter(({ type }) => !this.isPrivate(type))
      .map(({ name, type }) => this.map(name, type));
    for (const { type } of this.variables('.rodata')) {
      if (resolveType(this.btf, type).kind === 'struct') this.shape('.rodata', type, 0);
    }
    return { maps, structs: [...this.structs.values()], enums: [...this.enums.values()] };
  }

  private variables(section: string): readonly { readonly name: string; readonly type: number }[] {
    const found = this.btf.types.find((type) => type.kind === 'section' && type.name === section);
    if (found?.kind !== 'section') return [];
    const variables = found.variables.flatMap((id) => {
      const variable = this.btf.types[id];
      return variable?.kind === 'variable' ? [variable] : [];
    });
    // By name: their order in BTF follows from which function uses them first.
    return variables.sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  /** Declared by sizes alone: a program's scratch memory, no part of what is shared. */
  private isPrivate(typeId: number): boolean {
    const definition = resolveType(this.btf, typeId);
    return definition.kind === 'struct' && definition.members.some((item) => item.name === 'value_size');
  }

  private map(name: string, typeId: number): LayoutMap {
    const definition = resolveType(this.btf, typeId);
    const members = new Map(
      definition.kind === 'struct' ? definition.members.map((item) => [item.name, item.type]) : [],
    );
    const kindNumber = this.setting(members.get('type'));
    const kind = MAP_KINDS.get(kindNumber);
    if (kind === undefined)
      throw new Unfit(`map ${name}`, `kind ${kindNumber} has no MapSpec`, 'extend kernel/layout.ts');
    const key = this.pointee(members.get('key'));
    const value = this.pointee(members.get('value'));
    if (key === undefined || value === undefined) {
      throw new Unfit(`map ${name}`, 'no type for key or value', 'declare them with __type, or both sizes for scratch');
    }
    return {
      name,
      kind,
      flags: this.setting(members.get('map_flags')),
      maxEntries: this.setting(members.get('max_entries')),
      entry: this.holdsLock(value)
        ? undefined
        : { key: this.shape(`map ${name} key`, key, 0), value: this.shape(`map ${name} value`, value, 0) },
    };
  }

  /** `__uint(name, value)` is a pointer to an array of that length. */
  private setting(typeId: number | undefined): number {
    const array = resolveType(this.btf, this.pointee(typeId) ?? 0);
    return array.kind === 'array' ? array.length : 0;
  }

  private pointee(typeId: number | undefined): number | undefined {
    const pointer = typeId === undefined ? undefined : resolveType(this.btf, typeId);
    return pointer?.kind === 'pointer' ? pointer.type : undefined;
  }

  private holdsLock(typeId: number): boolean {
    const type = resolveType(this.btf, typeId);
    if (type.kind !== 'struct') return false;
    return type.name === 'bpf_spin_lock' || type.members.some((member) => this.holdsLock(member.type));
  }

  private shape(where: string, typeId: number, depth: number): Shape {
    if (depth > NESTING_MAX) throw new Unfit(where, `nested deeper than ${NESTING_MAX}`, 'flatten it');
    const typedefs: string[] = [];
    let type: BtfType = this.btf.types[typeId] ?? { kind: 'void' };
    for (let step = 0; step < 32 && (type.kind === 'typedef' || type.kind === 'qualifier'); step++) {
      if (type.kind === 'typedef') typedefs.push(type.name);
      type = this.btf.types[type.type] ?? { kind: 'void' };
    }
    switch (type.kind) {
      case 'int':
        return scalar(where, type, typedefs);
      case 'enum':
        this.addEnum(type);
        return { kind: 'scalar', size: 4, signed: false, bigEndian: false, typedefs };
      case 'array': {
        const element = this.shape(where, type.type, depth + 1);
        return { kind: 'array', element, length: type.length, size: element.size * type.length };
      }
      case 'struct':
        this.addStruct(where, type, depth);
        return { kind: 'struct', name: type.name, size: type.size };
      default:
        throw new Unfit(where, `a ${type.kind} can't be shared with user space`, 'use integers, arrays and structs');
    }
  }

  private addEnum(type: Extract<BtfType, { kind: 'enum' }>): void {
    const values = type.values.map(({ name, value }) => [name, value] as const);
    if (type.name !== '' && !this.enums.has(type.name)) this.enums.set(type.name, { name: type.name, values });
  }

  private addStruct(where: string, type: Extract<BtfType, { kind: 'struct' | 'union' }>, depth: number): void {
    if (type.name === '') throw new Unfit(where, 'a struct without a name', 'give it one');
    if (this.structs.has(type.name)) return;
    let end = 0;
    const fields: LayoutField[] = [];
    for (const [index, member] of type.members.entries()) {
      const at = `struct ${type.name} member ${member.name}`;
      const shape = this.member(at, member, depth);
      const offset = member.offsetBits / 8;
      if (shape.size === 0) continue;
      if (offset !== end) throw padding(at, offset - end, 'before');
      end = offset + shape.size;
      fields.push({ name: member.name, offset, shape, doc: this.doc(type, index) });
    }
    if (end !== type.size) throw padding(`struct ${type.name} member ${fields.at(-1)?.name}`, type.size - end, 'after');
    if (end > 0) this.structs.set(type.name, { name: type.name, size: type.size, fields });
  }

  private member(at: string, member: BtfMember, depth: number): Shape {
    if (member.bitFieldBits !== 0 || member.offsetBits % 8 !== 0)
      throw new Unfit(at, 'a bit-field', 'use a mask and a shift');
    return this.shape(at, member.type, depth + 1);
  }

  private doc(owner: BtfType, member: number): string {
    const texts = this.btf.types.flatMap((type) =>
      type.kind === 'tag' && type.member === member && this.btf.types[type.type] === owner ? [type.text] : [],
    );
    return texts.join('; ');
  }
}

function padding(at: string, bytes: number, side: 'before' | 'after'): Unfit {
  return new Unfit(at, `${bytes} bytes of implicit padding ${side} it`, 'name them with a member called pad');
}

function scalar(where: string, type: Extract<BtfType, { kind: 'int' }>, typedefs: readonly string[]): Shape {
  const { size, signed } = type;
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8)
    throw new Unfit(where, `an integer of ${size} bytes`, 'use 1 to 8');
  if (type.bits !== size * 8) throw new Unfit(where, 'a bit-field', 'use a mask and a shift');
  const bigEndian = typedefs.some((name) => /^__(be|sum)\d+$/.test(name));
  return { kind: 'scalar', size, signed, bigEndian, typedefs };
}

/** Members that only fill a gap are called pad, pad2, ...: zero in memory, absent from records. */
export function isPad(field: LayoutField): boolean {
  return /^pad\d*$/.test(field.name);
}

function shapeText(shape: Shape): string {
  switch (shape.kind) {
    case 'scalar':
      return `${shape.signed ? 's' : 'u'}${shape.size * 8}${shape.bigEndian ? 'be' : ''}`;
    case 'array':
      return `${shapeText(shape.element)}[${shape.length}]`;
    case 'struct':
      return `struct ${shape.name}`;
  }
}

/** Every fact of a layout that memory or meaning depends on, one per line; equal texts are equal layouts. */
export function layoutText(layout: Layout): string {
  const lines = [
    ...layout.enums.flatMap(({ name, values }) => values.map(([member, value]) => `enum ${name} ${member} ${value}`)),
    ...layout.structs.flatMap((struct) => [
      `struct ${struct.name} ${struct.size}`,
      ...struct.fields.map(({ name, offset, shape }) => `  ${offset} ${name} ${shapeText(shape)}`),
    ]),
    ...layout.maps.map(({ name, kind, flags, maxEntries, entry }) => {
      const types = entry === undefined ? 'locked' : `${shapeText(entry.key)} -> ${shapeText(entry.value)}`;
      return `map ${name} ${kind} flags ${flags} entries ${maxEntries} ${types}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}

/** First 16 hexadecimal digits of the SHA-256 of the layout's text. */
export function layoutHash(layout: Layout): string {
  return createHash('sha256').update(layoutText(layout)).digest('hex').slice(0, 16);
}
