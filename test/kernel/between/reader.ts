// SPDX-License-Identifier: Apache-2.0
/** A process that does nothing but ask: frontends in turn, until so many answers are judged and the time is over. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { assert, failureText } from '../../../core/result.ts';
import { addressOf, libbpf } from '../../../kernel/libbpf.ts';
import { mapMemory } from '../../../kernel/libc.ts';
import { LoadedObject } from '../../../kernel/object.ts';
import { families, targetPorts, type Asked, type Family } from './churn.ts';

/** What was seen; `wrong`, `missed` and `refused` must be 0. */
export type Seen = {
  readonly judged: number;
  readonly forwarded: number;
  readonly untouched: number;
  readonly missed: number;
  readonly refused: number;
  readonly wrong: number;
  /** The last of each: frontend and backend as numbers. */
  readonly wrongFrontend: number;
  readonly wrongBackend: number;
  readonly missedFrontend: number;
};

/** Written to the reader as its first line. */
export type Orders = {
  readonly judge: string;
  readonly asked: readonly Asked[];
  readonly packetsMin: number;
  readonly durationMs: number;
  /** Ends at the first packet that should not be. */
  readonly stops: boolean;
};

const PROGRAM = 3;
const CHUNK = 512;
const CHUNKS_PER_SLEEP = 8;
const SLEEP_MS = 0.01;
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const HEAD = 80;
const AT = {
  first: 80,
  count: 84,
  isSix: 88,
  current: 96,
  wrongFrontend: 100,
  wrongBackend: 104,
  missedFrontend: 108,
  judged: 120,
};
const RUN = { size: 80, input: 8, output: 16, inputSize: 24, outputSize: 28, repeat: 60 };

/** A bare packet; its ends and transport are filled in. */
function head(family: Family): Uint8Array {
  const frame = new Uint8Array(HEAD);
  const view = new DataView(frame.buffer);
  if (family === 'IPv6') {
    view.setUint16(12, 0x86dd);
    view.setUint8(14, 0x60);
    view.setUint16(18, HEAD - 54);
    view.setUint8(21, 64);
    return frame;
  }
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, HEAD - 14);
  view.setUint8(22, 64);
  return frame;
}

function read(view: DataView): Seen {
  const count = (index: number): number => Number(view.getBigUint64(AT.judged + index * 8, true));
  return {
    judged: count(0),
    forwarded: count(1),
    untouched: count(2),
    missed: count(3),
    refused: count(4),
    wrong: count(5),
    wrongFrontend: view.getUint32(AT.wrongFrontend, true),
    wrongBackend: view.getUint32(AT.wrongBackend, true),
    missedFrontend: view.getUint32(AT.missedFrontend, true),
  };
}

function open({ judge, asked: all }: Orders): { readonly view: DataView; readonly go: (family: Family) => void } {
  const library = libbpf();
  assert(library.ok, library.ok ? '' : failureText(library.error));
  const bpf = library.value;
  const bytes = readFileSync(judge);
  const openOptions = Buffer.alloc(80);
  openOptions.writeBigUInt64LE(80n, 0);
  const pointer = bpf.objectOpenMem(bytes, bytes.length, openOptions);
  assert(pointer !== null && bpf.objectLoad(pointer) === 0, `${judge} loads`);
  const object = new LoadedObject(bpf, pointer, judge);
  const put = (map: string, key: number, words: readonly number[]): void => {
    const value = Buffer.alloc(64);
    for (const [index, word] of words.entries()) value.writeUInt32LE(word, index * 4);
    const keys = Buffer.alloc(64);
    keys.writeUInt32LE(key);
    const loaded = object.map(map);
    assert(loaded !== undefined && bpf.mapUpdate(loaded.fd, keys, value, 0) === 0, `${map} takes ${key}`);
  };
  const own = families.map((family) => all.filter((it) => it.family === family));
  for (const [index, { address, networks, isSteady, protocol }] of own.flat().entries())
    put('asked', index, [address, ...networks, isSteady ? 1 : 0, protocol === 'TCP' ? 6 : 17, targetPorts[protocol]]);
  put('target', 0, [PROGRAM]);
  const control = object.map('control');
  const memory = control === undefined ? undefined : mapMemory(control.fd, 4096);
  assert(memory?.ok === true, 'the control map can be mapped');
  const view = new DataView(memory.value);
  const [input, output, options] = [Buffer.alloc(HEAD), Buffer.alloc(4096), Buffer.alloc(RUN.size)];
  options.writeBigUInt64LE(BigInt(RUN.size), 0);
  options.writeBigUInt64LE(addressOf(input), RUN.input);
  options.writeBigUInt64LE(addressOf(output), RUN.output);
  options.writeUInt32LE(HEAD, RUN.inputSize);
  options.writeUInt32LE(CHUNK + 1, RUN.repeat);
  const program = object.programFd('ask');
  const go = (family: Family): void => {
    const [four, six] = own.map(({ length }) => length);
    input.set(head(family));
    new Uint8Array(memory.value).set(input);
    view.setUint32(AT.first, family === 'IPv6' ? (four ?? 0) : 0, true);
    view.setUint32(AT.count, (family === 'IPv6' ? six : four) ?? 0, true);
    view.setUint32(AT.isSix, family === 'IPv6' ? 1 : 0, true);
    view.setUint32(AT.current, 0, true);
    options.writeUInt32LE(output.length, RUN.outputSize);
    const done = bpf.programTestRun(program, options);
    assert(done === 0, `test run: ${done}`);
  };
  return { view, go };
}

function ask(orders: Orders): Seen {
  const { view, go } = open(orders);
  console.log('ready');
  const endsAtMs = performance.now() + orders.durationMs;
  for (let chunk = 1; ; chunk++) {
    go(chunk % 2 === 0 ? 'IPv4' : 'IPv6');
    // A barrier waits until this CPU has slept or changed tasks: the more barriers, the more writes.
    if (chunk % CHUNKS_PER_SLEEP === 0) Atomics.wait(sleeper, 0, 0, SLEEP_MS);
    const seen = read(view);
    const isBroken = seen.wrong + seen.missed + seen.refused > 0;
    const isOver = performance.now() >= endsAtMs && (seen.judged >= orders.packetsMin || isBroken);
    if (isOver || (isBroken && orders.stops)) return seen;
  }
}

createInterface({ input: process.stdin }).once('line', (line) => {
  console.log(JSON.stringify(ask(JSON.parse(line) as Orders)));
  process.exit(0);
});
