// SPDX-License-Identifier: Apache-2.0
/** The distribution's libbpf.so.1, function by function: C prototypes here, meaning in the files that call them. */
import koffi, { type LibraryHandle } from 'koffi';
import { fail, ok, type Result } from '../core/result.ts';

/** A C pointer; null is 0n. Memory behind it is not kept alive by it. */
export type Pointer = bigint;

/** What a `void *` parameter takes: memory of ours, a pointer, or null. */
export type Memory = Uint8Array | Pointer | null;

/** Prototypes; names without the prefix bpf_ where one exists. Integers below 0 are -errno. */
export type Libbpf = {
  readonly objectOpenMem: (object: Uint8Array, size: number, options: Uint8Array) => Pointer | null;
  readonly objectLoad: (object: Pointer) => number;
  readonly objectClose: (object: Pointer) => void;
  readonly objectNextProgram: (object: Pointer, previous: Pointer | null) => Pointer | null;
  readonly objectNextMap: (object: Pointer, previous: Pointer | null) => Pointer | null;
  readonly programName: (program: Pointer) => string;
  readonly programFd: (program: Pointer) => number;
  readonly programSetAutoload: (program: Pointer, autoload: boolean) => number;
  readonly programSetLogBuffer: (program: Pointer, log: Uint8Array, size: number) => number;
  readonly mapName: (map: Pointer) => string;
  readonly mapFd: (map: Pointer) => number;
  readonly mapMaxEntries: (map: Pointer) => number;
  readonly mapSetMaxEntries: (map: Pointer, maxEntries: number) => number;
  readonly mapSetAutocreate: (map: Pointer, autocreate: boolean) => number;
  readonly mapInitialValue: (map: Pointer, size: Uint8Array) => Pointer | null;
  readonly mapCreate: (
    kind: number,
    name: string,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    options: Uint8Array | null,
  ) => number;
  readonly mapUpdate: (map: number, key: Memory, value: Memory, flags: number) => number;
  readonly mapLookup: (map: number, key: Memory, value: Memory) => number;
  readonly mapDelete: (map: number, key: Memory) => number;
  readonly mapUpdateBatch: (map: number, keys: Memory, values: Memory, count: Memory, options: Memory) => number;
  readonly mapLookupBatch: (
    map: number,
    from: Memory,
    to: Memory,
    keys: Memory,
    values: Memory,
    count: Memory,
    options: Memory,
  ) => number;
  readonly programLoad: (
    kind: number,
    name: string,
    license: string,
    instructions: Uint8Array,
    count: number,
    options: Uint8Array,
  ) => number;
  readonly programTestRun: (program: number, options: Uint8Array) => number;
  readonly programQuery: (
    target: number,
    attachType: number,
    flags: number,
    attachFlags: Memory,
    ids: Memory,
    count: Memory,
  ) => number;
  readonly probeHelper: (programKind: number, helper: number, options: null) => number;
  readonly infoByFd: (fd: number, info: Uint8Array, size: Uint8Array) => number;
  readonly linkCreate: (program: number, target: number, attachType: number, options: Uint8Array | null) => number;
  readonly linkUpdate: (link: number, program: number, options: Uint8Array | null) => number;
  readonly iterCreate: (link: number) => number;
  readonly objPin: (fd: number, path: string) => number;
  readonly objGet: (path: string) => number;
  readonly tcHookCreate: (hook: Uint8Array) => number;
  readonly tcAttach: (hook: Uint8Array, options: Uint8Array) => number;
  readonly tcDetach: (hook: Uint8Array, options: Uint8Array) => number;
  readonly possibleCpus: () => number;
};

const PROTOTYPES: { readonly [name in keyof Libbpf]: string } = {
  objectOpenMem: 'void *bpf_object__open_mem(void *object, size_t size, void *options)',
  objectLoad: 'int bpf_object__load(void *object)',
  objectClose: 'void bpf_object__close(void *object)',
  objectNextProgram: 'void *bpf_object__next_program(void *object, void *previous)',
  objectNextMap: 'void *bpf_object__next_map(void *object, void *previous)',
  programName: 'str bpf_program__name(void *program)',
  programFd: 'int bpf_program__fd(void *program)',
  programSetAutoload: 'int bpf_program__set_autoload(void *program, bool autoload)',
  programSetLogBuffer: 'int bpf_program__set_log_buf(void *program, void *log, size_t size)',
  mapName: 'str bpf_map__name(void *map)',
  mapFd: 'int bpf_map__fd(void *map)',
  mapMaxEntries: 'uint32_t bpf_map__max_entries(void *map)',
  mapSetMaxEntries: 'int bpf_map__set_max_entries(void *map, uint32_t maxEntries)',
  mapSetAutocreate: 'int bpf_map__set_autocreate(void *map, bool autocreate)',
  mapInitialValue: 'void *bpf_map__initial_value(void *map, void *size)',
  mapCreate:
    'int bpf_map_create(int kind, str name, uint32_t keySize, uint32_t valueSize, uint32_t maxEntries, void *options)',
  mapUpdate: 'int bpf_map_update_elem(int map, void *key, void *value, uint64_t flags)',
  mapLookup: 'int bpf_map_lookup_elem(int map, void *key, void *value)',
  mapDelete: 'int bpf_map_delete_elem(int map, void *key)',
  mapUpdateBatch: 'int bpf_map_update_batch(int map, void *keys, void *values, void *count, void *options)',
  mapLookupBatch:
    'int bpf_map_lookup_batch(int map, void *from, void *to, void *keys, void *values, void *count, void *options)',
  programLoad: 'int bpf_prog_load(int kind, str name, str license, void *instructions, size_t count, void *options)',
  programTestRun: 'int bpf_prog_test_run_opts(int program, void *options)',
  programQuery:
    'int bpf_prog_query(int target, int attachType, uint32_t flags, void *attachFlags, void *ids, void *count)',
  probeHelper: 'int libbpf_probe_bpf_helper(int programKind, int helper, void *options)',
  infoByFd: 'int bpf_obj_get_info_by_fd(int fd, void *info, void *size)',
  linkCreate: 'int bpf_link_create(int program, int target, int attachType, void *options)',
  linkUpdate: 'int bpf_link_update(int link, int program, void *options)',
  iterCreate: 'int bpf_iter_create(int link)',
  objPin: 'int bpf_obj_pin(int fd, str path)',
  objGet: 'int bpf_obj_get(str path)',
  tcHookCreate: 'int bpf_tc_hook_create(void *hook)',
  tcAttach: 'int bpf_tc_attach(void *hook, void *options)',
  tcDetach: 'int bpf_tc_detach(void *hook, void *options)',
  possibleCpus: 'int libbpf_num_possible_cpus()',
};

const MESSAGES_MAX = 200;
const MESSAGE_BYTES_MAX = 64 * 1024;

let loaded: Result<Libbpf> | undefined;
let messages: string[] = [];

/** libbpf, opened once per process. `TANDEM_LIBBPF` names another file than libbpf.so.1. */
export function libbpf(): Result<Libbpf> {
  loaded ??= openLibbpf(process.env['TANDEM_LIBBPF'] ?? 'libbpf.so.1');
  return loaded;
}

function openLibbpf(path: string): Result<Libbpf> {
  let library: LibraryHandle;
  try {
    library = koffi.load(path);
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return fail('environment', path, `can't be loaded: ${why}`, 'install libbpf 1.x (Debian: apt-get install libbpf1)');
  }
  collectMessages(library);
  const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)] as const);
  return ok(Object.fromEntries(functions) as unknown as Libbpf);
}

/** libbpf writes to stderr unless it is given a function; ours keeps the lines for Failures. */
function collectMessages(library: LibraryHandle): void {
  const print = koffi.proto('int TandemLibbpfPrint(int level, void *format, void *arguments)');
  const format = koffi.load(null).func('int vsnprintf(void *text, size_t size, void *format, void *arguments)') as (
    text: Uint8Array,
    size: number,
    format: Pointer,
    parameters: Pointer,
  ) => number;
  const setPrint = library.func('void *libbpf_set_print(void *print)') as (print: Pointer) => Pointer | null;
  const text = Buffer.alloc(MESSAGE_BYTES_MAX);
  const collect = (level: number, template: Pointer, parameters: Pointer): number => {
    const length = Math.min(format(text, text.length, template, parameters), text.length - 1);
    // Level 2 is debugging.
    if (level < 2) messages.push(text.toString('utf8', 0, Math.max(length, 0)).trimEnd());
    if (messages.length > MESSAGES_MAX) messages.shift();
    return length;
  };
  setPrint(koffi.register(collect, koffi.pointer(print)));
}

/** What libbpf has said since the last call, oldest first; at most 200 messages are kept. */
export function takeMessages(): readonly string[] {
  const taken = messages;
  messages = [];
  return taken;
}

/** A view of `length` bytes of C memory, which must stay mapped for as long as the view is used. */
export function memoryView(pointer: Pointer, length: number): ArrayBuffer {
  return koffi.view(pointer, length);
}

/** The address of memory that stays where it is: a Buffer or Uint8Array of at least 64 bytes, which V8 never moves. */
export function addressOf(memory: Uint8Array): Pointer {
  return koffi.address(memory);
}

/** errno of the call that has just failed by returning null. */
export function lastErrno(): number {
  return koffi.errno();
}
