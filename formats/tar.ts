// SPDX-License-Identifier: Apache-2.0
/** Reads tar archives piece by piece: ustar with the extensions that GNU tar, bsdtar and Node's packers write. */

/** What a header says of one entry. */
export type TarEntry = {
  readonly name: string;
  readonly kind: 'file' | 'directory';
  /** Bytes. */
  readonly size: number;
};

/** Told of an archive's content as it comes; each returns what is wrong with it, and then nothing more is told. */
export type TarVisitor = {
  readonly entry: (entry: TarEntry) => string | undefined;
  /** Bytes of the file whose entry was told last; valid until this returns. */
  readonly bytes: (bytes: Uint8Array) => string | undefined;
};

/** Where an archive is wrong, in bytes from its beginning, and why. */
export type TarFault = { readonly offset: number; readonly message: string };

export type TarReader = {
  /** Takes the next bytes of the archive, however they are cut. */
  readonly take: (chunk: Uint8Array) => TarFault | undefined;
  /** At the end of the archive. */
  readonly end: () => TarFault | undefined;
  /** Bytes that were taken. */
  readonly offset: () => number;
};

const BLOCK_BYTES = 512;

/** Records of long names and sizes, before the entry that they are about. */
const RECORDS_BYTES_MAX = 1024 * 1024;

const OTHER_KINDS: Readonly<Record<string, string>> = {
  '1': 'a link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '6': 'a pipe',
  S: 'a sparse file',
};

type State = {
  /** Offset of the next byte. */
  offset: number;
  /** A header as far as it has come. */
  readonly block: Uint8Array;
  filled: number;
  /** Of the entry under way: content and padding that are still to come. */
  left: number;
  padding: number;
  /** Where the content goes: to the visitor, or into `records`. */
  into: 'visitor' | 'pax' | 'name' | 'nowhere';
  records: number[];
  /** What records say of the entry that follows. */
  nextName: string | undefined;
  nextSize: number | undefined;
  hasEnded: boolean;
};

export function createTarReader(visitor: TarVisitor): TarReader {
  const state: State = {
    offset: 0,
    block: new Uint8Array(BLOCK_BYTES),
    filled: 0,
    left: 0,
    padding: 0,
    into: 'nowhere',
    records: [],
    nextName: undefined,
    nextSize: undefined,
    hasEnded: false,
  };
  return {
    take: (chunk) => {
      for (let from = 0; from < chunk.length && !state.hasEnded;) {
        const rest = chunk.subarray(from);
        const { offset } = state;
        const taken =
          state.left + state.padding > 0 ? takeContent(state, rest, visitor) : takeHeader(state, rest, visitor);
        if (typeof taken !== 'number') return { offset: offset - (offset % BLOCK_BYTES), message: taken.message };
        from += taken;
        state.offset += taken;
      }
      return undefined;
    },
    end: () => {
      if (state.hasEnded) return undefined;
      return { offset: state.offset, message: 'the archive is cut: its end is missing' };
    },
    offset: () => state.offset,
  };
}

type Fault = { readonly message: string };

/** Returns how many bytes were used. */
function takeContent(state: State, rest: Uint8Array, visitor: TarVisitor): number | Fault {
  if (state.left === 0) {
    const count = Math.min(state.padding, rest.length);
    state.padding -= count;
    return count;
  }
  const bytes = rest.subarray(0, Math.min(state.left, rest.length));
  state.left -= bytes.length;
  if (state.into === 'visitor') {
    const message = visitor.bytes(bytes);
    if (message !== undefined) return { message };
  } else if (state.into !== 'nowhere') {
    for (const byte of bytes) state.records.push(byte);
    const problem = state.left === 0 ? takeRecords(state) : undefined;
    if (problem !== undefined) return { message: problem };
  }
  return bytes.length;
}

function takeHeader(state: State, rest: Uint8Array, visitor: TarVisitor): number | Fault {
  const count = Math.min(BLOCK_BYTES - state.filled, rest.length);
  state.block.set(rest.subarray(0, count), state.filled);
  state.filled += count;
  if (state.filled < BLOCK_BYTES) return count;
  state.filled = 0;
  const message = readHeader(state, visitor);
  return message === undefined ? count : { message };
}

function readHeader(state: State, visitor: TarVisitor): string | undefined {
  const { block } = state;
  if (block.every((byte) => byte === 0)) {
    state.hasEnded = true;
    return undefined;
  }
  if (readNumber(block, 148, 8) !== checksumOf(block)) return 'not a tar archive, or a damaged one: wrong checksum';
  const size = state.nextSize ?? readNumber(block, 124, 12);
  if (size === undefined || !Number.isSafeInteger(size)) return 'an entry without a size';
  const kind = String.fromCodePoint(block[156] ?? 0);
  state.padding = (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
  state.left = size;
  if (kind === 'x' || kind === 'g' || kind === 'L') {
    if (size > RECORDS_BYTES_MAX) return `records of more than ${RECORDS_BYTES_MAX} bytes`;
    state.records = [];
    state.into = kind === 'x' ? 'pax' : kind === 'L' ? 'name' : 'nowhere';
    return undefined;
  }
  const name = state.nextName ?? nameIn(block);
  state.nextName = undefined;
  state.nextSize = undefined;
  const isFile = kind === '0' || kind === '\0' || kind === '7';
  if (!isFile && kind !== '5') return `${name}: ${OTHER_KINDS[kind] ?? 'an entry of a kind that is not known'}`;
  state.into = isFile ? 'visitor' : 'nowhere';
  return visitor.entry({ name, kind: isFile ? 'file' : 'directory', size });
}

function takeRecords(state: State): string | undefined {
  const bytes = Uint8Array.from(state.records);
  state.records = [];
  if (state.into === 'name') {
    state.nextName = textIn(bytes, 0, bytes.length);
    return undefined;
  }
  for (let from = 0; from < bytes.length;) {
    const space = bytes.indexOf(0x20, from);
    const length = Number(textIn(bytes, from, Math.max(0, space - from)));
    const isWhole =
      space >= 0 && Number.isSafeInteger(length) && length > space - from && from + length <= bytes.length;
    if (!isWhole) return 'damaged records of an entry';
    const [key = '', ...value] = textIn(bytes, space + 1, length - (space + 1 - from) - 1).split('=');
    if (key === 'path') state.nextName = value.join('=');
    if (key === 'size') state.nextSize = Number(value.join('='));
    from += length;
  }
  return undefined;
}

function textIn(bytes: Uint8Array, from: number, length: number): string {
  const field = bytes.subarray(from, from + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

function nameIn(block: Uint8Array): string {
  const prefix = textIn(block, 257, 6) === 'ustar' ? textIn(block, 345, 155) : '';
  const name = textIn(block, 0, 100);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Octal digits, or where the first bit is set a binary number: sizes from 8 GiB on. */
function readNumber(block: Uint8Array, from: number, length: number): number | undefined {
  const field = block.subarray(from, from + length);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    if (field[0] !== 0x80) return undefined;
    return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
  }
  const text = textIn(field, 0, length).trim();
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

/** Its own field counts as spaces. */
function checksumOf(block: Uint8Array): number {
  return block.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0);
}
