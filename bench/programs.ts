// SPDX-License-Identifier: Apache-2.0
/** Nanoseconds per packet of the loaded programs, beside floors measured in the same run; see bench/floor.bpf.c. */
import { readFileSync } from 'node:fs';
import { maps, type ConfigRecord } from '../core/layout.gen.ts';
import { assert, failureText, ok, type Result } from '../core/result.ts';
import { libbpf, addressOf, type Libbpf } from '../kernel/libbpf.ts';
import { mapMemory } from '../kernel/libc.ts';
import { loadObject, LoadedObject, readObjectFile } from '../kernel/object.ts';
import { KernelStore } from '../kernel/store.ts';
import { programCluster } from './cluster.ts';
import { ACK, answerTo, clientFrame, clientOf, frameOf, SYN } from './frames.ts';
import { spreadOf, type Spread } from './statistics.ts';

/** `net`: without the wrapper and an empty program, whose figure of the same rounds is `harness`. */
export type ProgramFigure = {
  readonly program: string;
  readonly packet: string;
  readonly flows: number;
  readonly netNs: Spread;
  readonly harnessNs: Spread;
};

const ROUNDS = 25;
const WALK = 0x9e3779b1;
/** A hash keeps its elements in the order of insertion: met again in that order they would look twice as fast. */
const FILL_WALK = 0x85ebca77;
const UNSPEC = -1;
const CONTROL = { template: 0, mask: 64, sequence: 68, address: 72, port: 76, varyDestination: 80, step: 84, size: 88 };
const RUN = { size: 80, input: 8, output: 16, inputSize: 24, outputSize: 28, returned: 56, repeat: 60, duration: 64 };

type Timed = { readonly frame: Uint8Array; readonly answers: boolean };

/** The wrapper and the floors in the kernel, and one way to run them. */
class Bench {
  private readonly bpf: Libbpf;
  private readonly floors: LoadedObject;
  private readonly control: DataView;
  private readonly input: Buffer = Buffer.alloc(4096);
  private readonly output: Buffer = Buffer.alloc(4096);
  private readonly options: Buffer = Buffer.alloc(RUN.size);

  constructor(bpf: Libbpf, floors: LoadedObject) {
    this.bpf = bpf;
    this.floors = floors;
    const loaded = floors.map('control');
    assert(loaded !== undefined, 'the wrapper has its control map');
    const memory = mapMemory(loaded.fd, 4096);
    assert(memory.ok, 'the control map can be mapped');
    this.control = new DataView(memory.value, 0, CONTROL.size);
    this.options.writeBigUInt64LE(BigInt(RUN.size), 0);
    this.options.writeBigUInt64LE(addressOf(this.input), RUN.input);
    this.options.writeBigUInt64LE(addressOf(this.output), RUN.output);
  }

  fd(program: string): number {
    return this.floors.programFd(program);
  }

  aim(program: number): void {
    const map = this.floors.map('target');
    const key = Buffer.alloc(4);
    const value = Buffer.alloc(4);
    value.writeUInt32LE(program);
    assert(map !== undefined && this.bpf.mapUpdate(map.fd, key, value, 0) === 0, 'the wrapper can be aimed');
  }

  /** What is repeated: this frame, with the source (or, for answers, the destination) of `flows` flows in turn. */
  set({ frame, answers }: Timed, flows: number, step: number = WALK): void {
    this.input.set(frame);
    for (let at = 0; at < 64; at++) this.control.setUint8(CONTROL.template + at, frame[at] ?? 0);
    const [address, port] = clientOf(0);
    this.control.setUint32(CONTROL.mask, flows - 1, true);
    this.control.setUint32(CONTROL.sequence, 0, true);
    this.control.setUint32(CONTROL.address, address, true);
    this.control.setUint32(CONTROL.port, port, true);
    this.control.setUint32(CONTROL.varyDestination, answers ? 1 : 0, true);
    this.control.setUint32(CONTROL.step, step, true);
    this.options.writeUInt32LE(frame.length, RUN.inputSize);
  }

  /** Runs it `repeat` times; nanoseconds of one, wrapper included. */
  run(program: number, repeat: number): number {
    this.aim(program);
    this.options.writeUInt32LE(this.output.length, RUN.outputSize);
    this.options.writeUInt32LE(repeat, RUN.repeat);
    const done = this.bpf.programTestRun(this.fd('wrap'), this.options);
    assert(done === 0, `test run: ${done}`);
    const returned = this.options.readInt32LE(RUN.returned);
    assert(returned === UNSPEC, `the program lets the packet go on: ${returned}`);
    return this.options.readUInt32LE(RUN.duration);
  }

  last(): Uint8Array {
    return this.output.subarray(0, this.options.readUInt32LE(RUN.outputSize));
  }

  /** Alternates an empty program and the one that is measured, so that both meet the same neighbours. */
  measure(program: number, packet: Timed, flows: number, repeat: number, before?: () => void): [Spread, Spread] {
    const net: number[] = [];
    const harness: number[] = [];
    this.set(packet, flows);
    for (let round = -1; round < ROUNDS; round++) {
      const empty = this.run(this.fd('floor_nothing'), repeat);
      before?.();
      const full = this.run(program, repeat);
      if (round < 0) continue;
      harness.push(empty);
      net.push(full - empty);
    }
    return [spreadOf(net), spreadOf(harness)];
  }
}

/** Opens the floors' object, which has none of our layout: libbpf alone judges it. */
function openFloors(bpf: Libbpf, path: string): LoadedObject {
  const bytes = readFileSync(path);
  const options = Buffer.alloc(80);
  options.writeBigUInt64LE(80n, 0);
  const pointer = bpf.objectOpenMem(bytes, bytes.length, options);
  assert(pointer !== null && bpf.objectLoad(pointer) === 0, `${path} loads`);
  return new LoadedObject(bpf, pointer, path);
}

export type ProgramBenchOptions = {
  readonly object: string;
  readonly floors: string;
  readonly config: ConfigRecord;
  readonly services: number;
  readonly flows: number;
  readonly onFigure: (figure: ProgramFigure) => void;
};

/** Times floors and programs, each with one flow and with many. */
export function benchPrograms(options: ProgramBenchOptions): Result<readonly ProgramFigure[]> {
  const library = libbpf();
  if (!library.ok) return library;
  const bytes = readObjectFile(options.object);
  if (!bytes.ok) return bytes;
  const buckets = options.config.flowBucketMask + 1;
  const loaded = loadObject({
    object: bytes.value,
    name: options.object,
    settings: options.config,
    maxEntries: { flows: buckets },
    programs: ['tc_from_pod', 'tc_to_pod'],
  });
  if (!loaded.ok) return loaded;
  using object = loaded.value;
  using floors = openFloors(library.value, options.floors);
  const store = new KernelStore(object);
  // One backend each, so that all answers of a Service come from one address.
  programCluster(store, options.services, 1);
  const flowMap = store.map(maps.flows);
  assert(flowMap.ok && flowMap.value.mapped !== undefined, failureTextOf(flowMap));
  const memory = new Uint8Array(flowMap.value.mapped.memory);
  return ok(timeAll(new Bench(library.value, floors), object, options, () => memory.fill(0)));
}

function failureTextOf(result: Result<unknown>): string {
  return result.ok ? 'mapped' : failureText(result.error);
}

function timeAll(
  bench: Bench,
  object: LoadedObject,
  { flows, onFigure }: ProgramBenchOptions,
  clear: () => void,
): ProgramFigure[] {
  const fromPod = object.programFd('tc_from_pod');
  const toPod = object.programFd('tc_to_pod');
  const syn = { frame: clientFrame(SYN), answers: false };
  const ack = { frame: clientFrame(ACK), answers: false };
  const [source, sourcePort] = clientOf(0);
  const other = { source, sourcePort, destination: 0x0a0a0a0a, destinationPort: 8080, flags: ACK };
  const stranger = { frame: frameOf(other), answers: false };
  const figures: ProgramFigure[] = [];
  const time = (program: string, fd: number, packet: string, what: Timed, many: number, before?: () => void): void => {
    // With many flows each is met once a round, so that no lookup finds what the last has left in the cache.
    const [netNs, harnessNs] = bench.measure(fd, what, many, many === 1 ? 20_000 : many, before);
    const figure = { program, packet, flows: many, netNs, harnessNs };
    figures.push(figure);
    onFigure(figure);
  };
  bench.set(syn, flows);
  bench.run(fromPod, 1);
  const answer = { frame: answerTo(bench.last(), 100, ACK), answers: true };
  const synAck = { frame: answerTo(bench.last(), 100, SYN | ACK), answers: true };
  const fill = (): void => {
    clear();
    for (const [what, fd] of [
      [syn, fromPod],
      [synAck, toPod],
      [ack, fromPod],
    ] as const) {
      bench.set(what, flows, FILL_WALK);
      bench.run(fd, flows);
    }
  };
  bench.set(ack, flows, FILL_WALK);
  bench.run(bench.fd('fill_hash'), flows);
  for (const many of [1, flows]) {
    time('floor', bench.fd('floor_parse'), 'headers read', ack, many);
    time('floor', bench.fd('floor_established'), 'hash hit, clock, counters, rewriting', ack, many);
    time('floor', bench.fd('floor_first'), 'clock, two LRU entries', syn, many);
    fill();
    time('tc_from_pod', fromPod, 'not a Service', stranger, many);
    time('tc_from_pod', fromPod, 'established', ack, many);
    time('tc_to_pod', toPod, 'not a Service', stranger, many);
    time('tc_to_pod', toPod, 'reply', answer, many);
  }
  time('tc_from_pod', fromPod, 'first', syn, flows, clear);
  return figures;
}
