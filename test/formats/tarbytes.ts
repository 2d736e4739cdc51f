// SPDX-License-Identifier: Apache-2.0
/** tar archives put together from the tables of POSIX, by code that shares nothing with the reader. */

export type Entry = { readonly name: string; readonly content?: string | Uint8Array; readonly type?: string };

/** One entry of a ustar archive. */
function entryOf({ name, content = '', type = '0' }: Entry): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write('0000644\0', 100);
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('        ', 148);
  header.write(type, 156);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

export function tarOf(entries: readonly Entry[]): Buffer {
  return Buffer.concat([...entries.map(entryOf), Buffer.alloc(1024)]);
}
