// SPDX-License-Identifier: Apache-2.0
/** Bundles: everything that was recorded of one node, as a folder NAME.tandem or as a .tar.gz of it. */
import {
  closeSync,
  createReadStream,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createGunzip } from 'node:zlib';

import { fail, ok, type Failure, type Result } from '../core/result.ts';

import { errorName, type InputSource } from './input.ts';
import { createTarReader, type TarEntry, type TarFault } from './tar.ts';

/** An opened bundle. What is read from it is valid until `close`. */
export type Bundle = {
  readonly name: string;
  /** Packets of one node, one or several files; in order of their names. */
  readonly captures: readonly InputSource[];
  readonly events: readonly InputSource[];
  /** Facts of the node; undefined: not in the bundle, as all that follow may be. */
  readonly node: InputSource | undefined;
  readonly inputs: InputSource | undefined;
  readonly maps: InputSource | undefined;
  readonly writes: InputSource | undefined;
  readonly sockets: InputSource | undefined;
  /** Why not all of an archive could be read; what came before is here. */
  readonly failures: readonly Failure[];
  /** Files of other names, which are not looked at. */
  readonly ignored: readonly string[];
  /** Takes away what an archive was unpacked to. */
  readonly close: () => void;
};

/** What an archive may unpack to; a recording of hours has a few GB. */
export const BUNDLE_BYTES_MAX: number = 64 * 1024 ** 3;
export const BUNDLE_FILES_MAX: number = 1000;

/** Whether a path names a bundle, rather than a capture or an event stream. */
export function isBundleName(path: string): boolean {
  return /\.(tandem|tar\.gz|tgz)\/*$/.test(path);
}

/** `bytesMax` is for those who know better what their disk holds. */
export async function openBundle(path: string, bytesMax: number = BUNDLE_BYTES_MAX): Promise<Result<Bundle>> {
  let isFolder: boolean;
  try {
    isFolder = statSync(path).isDirectory();
  } catch (error) {
    return fail('input', path, `cannot be opened: ${errorName(error)}`);
  }
  if (isFolder) return openFolder(path, path, () => {}, []);
  const folder = mkdtempSync(join(tmpdir(), 'tandem-bundle-'));
  const close = (): void => rmSync(folder, { recursive: true, force: true });
  // Messages name files below it: they are to read like those of the folder that was packed.
  const inside = join(folder, `${basename(path).replace(/(\.tandem)?\.(tar\.gz|tgz)$/, '')}.tandem`);
  mkdirSync(inside);
  const unpacked = await unpack(path, inside, bytesMax);
  const opened = unpacked.ok ? openFolder(path, inside, close, unpacked.value) : unpacked;
  if (!opened.ok) close();
  return opened;
}

/** Names that a bundle may hold besides captures and event streams. */
const PARTS = ['node.json', 'inputs.ndjson', 'maps.ndjson', 'writes.ndjson', 'sockets.ndjson'] as const;

function openFolder(name: string, folder: string, close: () => void, failures: readonly Failure[]): Result<Bundle> {
  const files = readdirSync(folder)
    .filter((file) => !file.startsWith('.'))
    .sort();
  const odd = files.find((file) => !lstatSync(join(folder, file)).isFile());
  if (odd !== undefined) return fail('input', join(name, odd), 'neither file nor part of a bundle', 'take it out');
  const parts = new Set<string>(PARTS);
  const isCapture = (file: string): boolean => /\.(pcapng|pcap)$/.test(file);
  const isEvents = (file: string): boolean => file === 'events.ndjson' || file.endsWith('.events.ndjson');
  const captures = files.filter(isCapture);
  const events = files.filter(isEvents);
  if (captures.length === 0) return absent(name, 'packets', 'packets.pcapng', failures);
  if (events.length === 0) return absent(name, 'events', 'events.ndjson', failures);
  if (captures.length > 1 && captures.includes('packets.pcapng') && captures.includes('packets.pcap')) {
    return fail('input', name, 'holds packets.pcap and packets.pcapng', 'take out the one that is the copy');
  }
  const part = (file: (typeof PARTS)[number]): InputSource | undefined =>
    files.includes(file) ? join(folder, file) : undefined;
  return ok({
    name,
    captures: captures.map((file) => join(folder, file)),
    events: events.map((file) => join(folder, file)),
    node: part('node.json'),
    inputs: part('inputs.ndjson'),
    maps: part('maps.ndjson'),
    writes: part('writes.ndjson'),
    sockets: part('sockets.ndjson'),
    failures,
    ignored: files.filter((file) => !isCapture(file) && !isEvents(file) && !parts.has(file)),
    close,
  });
}

/** An archive that was cut is rather short of a part than without it. */
function absent(name: string, what: string, file: string, [failure]: readonly Failure[]): Result<never> {
  if (failure !== undefined) return { ok: false, error: failure };
  return fail('input', name, `holds no ${what}`, `a bundle needs ${file}`);
}

/** The file that is being unpacked, and what has been. */
type Unpacking = {
  readonly folder: string;
  readonly bytesMax: number;
  readonly names: Set<string>;
  file: number | undefined;
  bytes: number;
  /** What is wrong with the archive itself, rather than with its bytes: then nothing of it is used. */
  refused: string | undefined;
};

/** What zlib unpacks at once; of the piece in which it meets damage it gives nothing. */
const CHUNK_BYTES = 64 * 1024;
const CHUNK_BYTES_CAREFUL = 512;
/** Of more than this a lost piece is a small part, and the second time is dear. */
const CAREFUL_BYTES_MAX = 16 * 1024 * 1024;

/** Returns what could not be read; a failure where nothing of the archive is to be used. */
async function unpack(path: string, folder: string, bytesMax: number): Promise<Result<readonly Failure[]>> {
  let pass = await unpackOnce(path, folder, bytesMax, CHUNK_BYTES);
  if (pass.isDamaged && pass.bytes <= CAREFUL_BYTES_MAX) {
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    pass = await unpackOnce(path, folder, bytesMax, CHUNK_BYTES_CAREFUL);
  }
  if (pass.fault === undefined) return ok([]);
  if (pass.refused !== undefined) return fail('input', path, pass.refused);
  return ok([fail('input', `${path} offset ${pass.fault.offset} of the unpacked archive`, pass.fault.message).error]);
}

/** One time through an archive: what was wrong with it, and whether it was zlib that found it damaged. */
type Pass = {
  readonly fault: TarFault | undefined;
  readonly refused: string | undefined;
  readonly isDamaged: boolean;
  readonly bytes: number;
};

async function unpackOnce(path: string, folder: string, bytesMax: number, chunkSize: number): Promise<Pass> {
  const state: Unpacking = { folder, bytesMax, names: new Set(), file: undefined, bytes: 0, refused: undefined };
  const reader = createTarReader({ entry: (entry) => beginFile(state, entry), bytes: (bytes) => write(state, bytes) });
  let fault: TarFault | undefined;
  let isDamaged = false;
  try {
    await inflate(path, chunkSize, (chunk) => {
      fault = reader.take(chunk);
      return fault === undefined;
    });
    fault ??= reader.end();
  } catch (error) {
    fault = { offset: reader.offset(), message: zlibText(error) };
    isDamaged = errorName(error) === 'Z_DATA_ERROR';
  } finally {
    if (state.file !== undefined) closeSync(state.file);
  }
  return { fault, refused: state.refused, isDamaged, bytes: reader.offset() };
}

/** Pieces are told as they come: a stream that is iterated forgets those that wait when it meets an error. */
async function inflate(path: string, chunkSize: number, take: (chunk: Uint8Array) => boolean): Promise<void> {
  const packed = createReadStream(path);
  const plain = createGunzip({ chunkSize });
  packed.once('error', (error) => plain.destroy(error));
  await new Promise<void>((resolve, reject) => {
    let problem: unknown;
    const stop = (why?: unknown): void => {
      problem = why;
      plain.destroy();
    };
    plain.on('data', (chunk: Uint8Array) => {
      if (plain.destroyed) return;
      try {
        if (!take(chunk)) stop();
      } catch (error) {
        stop(error);
      }
    });
    plain.once('error', (error) => (problem = error));
    plain.once('close', () => (problem === undefined ? resolve() : reject(problem)));
    packed.pipe(plain);
  });
  packed.destroy();
}

/** Errors of zlib and of the file are what an input may have; others are bugs. */
function zlibText(error: unknown): string {
  const name = errorName(error);
  if (name === 'Z_BUF_ERROR') return 'the file is cut';
  return name.startsWith('Z_') ? `not gzip, or damaged: ${name}` : `cannot be read: ${name}`;
}

/** Returns why the archive is refused. */
function beginFile(state: Unpacking, entry: TarEntry): string | undefined {
  if (state.file !== undefined) closeSync(state.file);
  state.file = undefined;
  const place = placeOf(entry);
  if (place.is === 'nothing') return undefined;
  const name = place.is === 'file' ? place.name : '';
  if (place.is === 'outside') state.refused = `holds "${entry.name}", which is not a file of a bundle`;
  else if (state.names.has(name)) state.refused = `holds ${name} twice`;
  else if (state.names.size >= BUNDLE_FILES_MAX) state.refused = `holds more than ${BUNDLE_FILES_MAX} files`;
  else if (state.bytes + entry.size > state.bytesMax) state.refused = `unpacks to more than ${state.bytesMax} bytes`;
  if (state.refused !== undefined) return state.refused;
  state.names.add(name);
  state.bytes += entry.size;
  state.file = openSync(join(state.folder, name), 'wx');
  return undefined;
}

type EntryPlace = { readonly is: 'file'; readonly name: string } | { readonly is: 'nothing' | 'outside' };

/** A bundle is flat: its files stand at the top or in one folder. macOS adds files of its own, which begin with "._". */
function placeOf({ kind, name }: TarEntry): EntryPlace {
  const [first = '', ...more] = name
    .replace(/^(\.\/)+/, '')
    .split('/')
    .filter((part) => part !== '');
  const isOutside = name.startsWith('/') || /[\\\0]/.test(name) || [first, ...more].includes('..') || more.length > 1;
  if (isOutside) return { is: 'outside' };
  if (kind === 'directory') return more.length > 0 ? { is: 'outside' } : { is: 'nothing' };
  const file = more[0] ?? first;
  if (file === '' || file === '.') return { is: 'outside' };
  return file.startsWith('._') ? { is: 'nothing' } : { is: 'file', name: file };
}

function write({ file }: Unpacking, bytes: Uint8Array): undefined {
  if (file === undefined) return;
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
}
