// SPDX-License-Identifier: Apache-2.0
/** Runs programs behind the wrapper of bench/floor.bpf.c, which restores the packet and picks the next flow. */
import { assert, failureText } from '../core/result.ts';
import { addressOf, libbpf, type Libbpf } from '../kernel/libbpf.ts';
import { mapMemory } from '../kernel/libc.ts';
import { LoadedObject } from '../kernel/object.ts';
import { clientOf } from './frames.ts';
import { spreadOf, type Spread } from './statistics.ts';

const ROUNDS = 25;
const UNSPEC = -1;
const WALK = 0x9e3779b1;
/** A hash keeps its elements in the order of insertion: met again in that order they would look twice as fast. */
export const FILL_WALK = 0x85ebca77;
const CONTROL = { template: 0, mask: 64, sequence: 68, address: 72, port: 76, varyDestination: 80, step: 84, size: 88 };
const RUN = { size: 80, input: 8, output: 16, inputSize: 24, outputSize: 28, returned: 56, repeat: 60, duration: 64 };

/** A frame to repeat; `answers`: its destination is the client, and varies. */
export type Timed = { readonly frame: Uint8Array; readonly answers: boolean };

/** Loads an object of floors, which has none of our layout: libbpf alone judges it. */
export function loadFloors(object: Uint8Array, name: string): LoadedObject {
  const library = libbpf();
  assert(library.ok, library.ok ? '' : failureText(library.error));
  const bpf = library.value;
  const options = Buffer.alloc(80);
  options.writeBigUInt64LE(80n, 0);
  const pointer = bpf.objectOpenMem(object, object.length, options);
  assert(pointer !== null && bpf.objectLoad(pointer) === 0, `${name} loads`);
  return new LoadedObject(bpf, pointer, name);
}

/** The wrapper and the floors in the kernel, and one way to run them. */
export class BenchRun implements Disposable {
  private readonly bpf: Libbpf;
  private readonly floors: LoadedObject;
  private readonly control: DataView;
  private readonly input: Buffer = Buffer.alloc(4096);
  private readonly output: Buffer = Buffer.alloc(4096);
  private readonly options: Buffer = Buffer.alloc(RUN.size);

  static open(object: Uint8Array, name: string): BenchRun {
    const library = libbpf();
    assert(library.ok, library.ok ? '' : failureText(library.error));
    return new BenchRun(library.value, loadFloors(object, name));
  }

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

  /** Aims and runs. */
  once(program: number, repeat: number): number {
    this.aim(program);
    return this.go(repeat);
  }

  /** Runs what it is aimed at `repeat` times; nanoseconds of one, wrapper included. */
  go(repeat: number): number {
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
      const empty = this.once(this.fd('floor_nothing'), repeat);
      before?.();
      const full = this.once(program, repeat);
      if (round < 0) continue;
      harness.push(empty);
      net.push(full - empty);
    }
    return [spreadOf(net), spreadOf(harness)];
  }

  [Symbol.dispose](): void {
    this.floors[Symbol.dispose]();
  }
}
