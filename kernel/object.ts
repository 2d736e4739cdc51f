// SPDX-License-Identifier: Apache-2.0
/** The BPF object on its way into the kernel: read and checked, configured, loaded, and what was loaded. */
import { readFileSync } from 'node:fs';
import { CONFIG_SIZE, configCodec, LAYOUT_HASH, type ConfigRecord } from '../core/layout.gen.ts';
import { assert, fail, ok, type Failure, type Result } from '../core/result.ts';
import { readBtf, readSymbolOffset } from './btf.ts';
import { layoutHash, readLayout } from './layout.ts';
import { lastErrno, libbpf, memoryView, takeMessages, type Libbpf, type Pointer } from './libbpf.ts';
import { errnoName } from './libc.ts';

/** Names of the programs in bpf/hook_tc.h and bpf/hook_sock.h. */
export type ProgramName =
  | 'tc_from_pod'
  | 'tc_to_pod'
  | 'sock_connect4'
  | 'sock_connect6'
  | 'sock_sendmsg4'
  | 'sock_sendmsg6'
  | 'sock_recvmsg4'
  | 'sock_recvmsg6'
  | 'sock_getpeername4'
  | 'sock_getpeername6'
  | 'sock_destroy';

export const allPrograms: readonly ProgramName[] = [
  'tc_from_pod',
  'tc_to_pod',
  'sock_connect4',
  'sock_connect6',
  'sock_sendmsg4',
  'sock_sendmsg6',
  'sock_recvmsg4',
  'sock_recvmsg6',
  'sock_getpeername4',
  'sock_getpeername6',
  'sock_destroy',
];

/** What to load and how. */
export type LoadOptions = {
  readonly object: Uint8Array;
  /** Stands for the object in Failures: its path. */
  readonly name: string;
  /** Settings that differ from the object's own. The masks of flows and classifier follow from `maxEntries`. */
  readonly settings?: Partial<ConfigRecord>;
  /** Map sizes that differ from bpf/layout.h, by name. */
  readonly maxEntries?: { readonly [map: string]: number };
  /** Programs to load; default all of them. */
  readonly programs?: readonly string[];
};

/** A load that the kernel or its verifier refused; `log` is the verifier's, whole, one line each. */
export type LoadFailure = Failure & { readonly log?: readonly string[] };

/** A map of a loaded object. Sizes in entries. */
export type LoadedMap = { readonly fd: number; readonly maxEntries: number };

const LOG_BYTES = 4 * 1024 * 1024;
const EPERM = 1;

/** The object's bytes, or why they can't be read. */
export function readObjectFile(path: string): Result<Uint8Array> {
  try {
    return ok(readFileSync(path));
  } catch (error) {
    return fail('input', path, error instanceof Error ? error.message : String(error), 'run node tools/build.ts');
  }
}

/** Refuses an object whose structs, enums or maps are not those of core/layout.gen.ts. */
export function checkLayout(object: Uint8Array, name: string): Result<void> {
  const btf = readBtf(object, name);
  if (!btf.ok) return btf;
  const layout = readLayout(btf.value);
  if (!layout.ok) return layout;
  const found = layoutHash(layout.value);
  if (found === LAYOUT_HASH) return ok(undefined);
  const message = `layout ${found}, this program speaks ${LAYOUT_HASH}`;
  return fail('input', name, message, 'use the object that was built with it, or run node tools/build.ts');
}

/** Checks, configures and loads an object. Needs root; nothing is attached. */
export function loadObject(options: LoadOptions): Result<LoadedObject, LoadFailure> {
  const layout = checkLayout(options.object, options.name);
  if (!layout.ok) return layout;
  const library = libbpf();
  if (!library.ok) return library;
  const bpf = library.value;
  takeMessages();
  const openOptions = Buffer.alloc(80);
  openOptions.writeBigUInt64LE(80n, 0);
  const pointer = bpf.objectOpenMem(options.object, options.object.length, openOptions);
  if (pointer === null) return fail('input', options.name, `libbpf: ${spoken(errnoName(lastErrno()))}`);
  const opened = new LoadedObject(bpf, pointer, options.name);
  const prepared = prepare(bpf, opened, options);
  const done = prepared.ok ? load(bpf, opened, pointer, prepared.value) : prepared;
  if (done.ok) return ok(opened);
  opened[Symbol.dispose]();
  return done;
}

/** An object in the kernel; its programs and maps go when it is disposed of, unless something else holds them. */
export class LoadedObject implements Disposable {
  readonly name: string;
  private readonly bpf: Libbpf;
  private pointer: Pointer | null;
  readonly programs: Map<string, Pointer> = new Map();
  readonly maps: Map<string, Pointer> = new Map();

  constructor(bpf: Libbpf, pointer: Pointer, name: string) {
    this.bpf = bpf;
    this.pointer = pointer;
    this.name = name;
    each(pointer, bpf.objectNextProgram, (program) => this.programs.set(bpf.programName(program), program));
    each(pointer, bpf.objectNextMap, (map) => this.maps.set(bpf.mapName(map), map));
  }

  /** File descriptor of a loaded program; asking for one that was not loaded is a bug. */
  programFd(name: string): number {
    assert(this.pointer !== null, 'the object is open');
    const fd = this.bpf.programFd(this.programs.get(name) ?? 0n);
    assert(fd >= 0, `program ${name} was loaded`);
    return fd;
  }

  /** A map by its name in bpf/layout.h; undefined where it was not created (test_control in production). */
  map(name: string): LoadedMap | undefined {
    assert(this.pointer !== null, 'the object is open');
    const map = this.maps.get(name);
    const fd = map === undefined ? -1 : this.bpf.mapFd(map);
    return map === undefined || fd < 0 ? undefined : { fd, maxEntries: this.bpf.mapMaxEntries(map) };
  }

  /** Size in bytes of a program after the verifier removed what the settings switch off. */
  translatedSize(name: string): number {
    const info = Buffer.alloc(256);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(info.length);
    const returned = this.bpf.infoByFd(this.programFd(name), info, size);
    assert(returned === 0, `information about ${name}: ${errnoName(-returned)}`);
    return info.readUInt32LE(20);
  }

  [Symbol.dispose](): void {
    if (this.pointer !== null) this.bpf.objectClose(this.pointer);
    this.pointer = null;
  }
}

type Next = (object: Pointer, previous: Pointer | null) => Pointer | null;

function each(object: Pointer, next: Next, visit: (found: Pointer) => void): void {
  for (let found = next(object, null); found !== null && found !== 0n; found = next(object, found)) visit(found);
}

/** Last thing libbpf said, without its prefix; `otherwise` if it was silent. */
function spoken(otherwise: string): string {
  return (
    takeMessages()
      .at(-1)
      ?.replace(/^libbpf: /, '') ?? otherwise
  );
}

/** Everything between open and load: sizes, settings, the choice of programs. Gives the buffer for the verifier's log. */
function prepare(bpf: Libbpf, opened: LoadedObject, options: LoadOptions): Result<Uint8Array> {
  const wanted = options.programs ?? allPrograms;
  const absent = wanted.find((name) => !opened.programs.has(name));
  if (absent !== undefined)
    return fail('input', options.name, `no program ${absent}`, 'build it from bpf/tandem.bpf.c');
  const log = Buffer.alloc(LOG_BYTES);
  for (const [name, program] of opened.programs) {
    bpf.programSetAutoload(program, wanted.includes(name));
    bpf.programSetLogBuffer(program, log, log.length);
  }
  for (const [name, maxEntries] of Object.entries(options.maxEntries ?? {})) {
    const map = opened.maps.get(name);
    if (map === undefined) return fail('usage', `map ${name}`, `not in ${options.name}`);
    const returned = bpf.mapSetMaxEntries(map, maxEntries);
    if (returned < 0) return fail('environment', `map ${name}`, `size ${maxEntries}: ${errnoName(-returned)}`);
  }
  const configured = configure(bpf, opened, options);
  return configured.ok ? ok(log) : configured;
}

/** Writes the settings into .rodata, where the verifier reads them. */
function configure(bpf: Libbpf, opened: LoadedObject, options: LoadOptions): Result<void> {
  const section = opened.maps.get('.rodata') ?? [...opened.maps].find(([name]) => name.endsWith('.rodata'))?.[1];
  const place = readSymbolOffset(options.object, options.name, 'config');
  if (!place.ok) return place;
  const size = Buffer.alloc(8);
  const memory = section === undefined ? null : bpf.mapInitialValue(section, size);
  const length = Number(size.readBigUInt64LE(0));
  if (memory === null || place.value === undefined || place.value + CONFIG_SIZE > length) {
    return fail('input', options.name, 'no settings (config in .rodata)', 'build it from bpf/tandem.bpf.c');
  }
  const view = new DataView(memoryView(memory, length));
  const settings: ConfigRecord = {
    ...configCodec.decode(view, place.value),
    ...maskOf('flows', 'flowBucketMask', options),
    ...maskOf('classifier', 'classifierMask', options),
    ...options.settings,
  };
  configCodec.encode(view, place.value, settings);
  const control = opened.maps.get('test_control');
  if (control !== undefined && settings.testMode === 0) bpf.mapSetAutocreate(control, false);
  return ok(undefined);
}

/** Tables that are indexed by a hash have a size that is a power of two, and a mask that follows from it. */
function maskOf(
  map: string,
  setting: 'flowBucketMask' | 'classifierMask',
  { maxEntries }: LoadOptions,
): Partial<ConfigRecord> {
  const size = maxEntries?.[map];
  if (size === undefined) return {};
  assert(size > 0 && (size & (size - 1)) === 0, `the size of ${map} is a power of two: ${size}`);
  return setting === 'flowBucketMask' ? { flowBucketMask: size - 1 } : { classifierMask: size - 1 };
}

function load(bpf: Libbpf, opened: LoadedObject, pointer: Pointer, log: Uint8Array): Result<void, LoadFailure> {
  const returned = bpf.objectLoad(pointer);
  if (returned === 0) return ok(undefined);
  const messages = takeMessages();
  const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
  const refused = messages.find((message) => /prog '\w+': (BPF program load failed|failed to load)/.test(message));
  if (text !== '' && refused !== undefined) {
    return verifierFailure(/prog '(\w+)'/.exec(refused)?.[1] ?? opened.name, text.trimEnd().split('\n'));
  }
  if (returned === -EPERM)
    return fail('environment', opened.name, 'the kernel refuses to load it: EPERM', 'run as root');
  const why = messages.map((message) => message.replace(/^libbpf: /, '')).join(' | ');
  return fail('environment', opened.name, `can't be loaded: ${errnoName(-returned)}${why === '' ? '' : `: ${why}`}`);
}

/** One line that says what the verifier objects to and where; the log itself stays with it. */
export function verifierFailure(program: string, log: readonly string[]): { ok: false; error: LoadFailure } {
  const last = log.findLastIndex((line) => line !== '' && !/^(processed|verification time|stack depth)/.test(line));
  const objection = log[last] ?? 'no reason given';
  const source = log.slice(0, Math.max(last, 0)).findLast((line) => line.startsWith('; '));
  const where = source === undefined ? '' : ` at "${source.slice(2).trim()}"`;
  const failure: LoadFailure = {
    kind: 'environment',
    object: `program ${program}`,
    message: `refused by the verifier: ${objection}${where} (${log.length} lines of log)`,
    remedy: 'report it with the log and the output of uname -r',
    log,
  };
  return { ok: false, error: failure };
}
