// SPDX-License-Identifier: Apache-2.0
/** Nanoseconds per packet of the loaded programs, beside floors measured in the same run; see bench/floor.bpf.c. */
import { readFileSync } from 'node:fs';
import { maps, type ConfigRecord } from '../core/layout.gen.ts';
import { assert, failureText, ok, type Result } from '../core/result.ts';
import { loadObject, readObjectFile, type LoadedObject } from '../kernel/object.ts';
import { KernelStore } from '../kernel/store.ts';
import { programCluster } from './cluster.ts';
import { BenchRun, FILL_WALK, type Timed } from './run.ts';
import { ACK, answerTo, clientFrame, clientOf, frameOf, SYN } from './frames.ts';
import type { Spread } from './statistics.ts';
import { packetPrograms } from '../kernel/twin.ts';

/** `net`: without the wrapper and an empty program, whose figure of the same rounds is `harness`. */
export type ProgramFigure = {
  readonly program: string;
  readonly packet: string;
  readonly flows: number;
  readonly netNs: Spread;
  readonly harnessNs: Spread;
};

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
  const bytes = readObjectFile(options.object);
  if (!bytes.ok) return bytes;
  const buckets = options.config.flowBucketMask + 1;
  const loaded = loadObject({
    object: bytes.value,
    name: options.object,
    settings: options.config,
    maxEntries: { flows: buckets },
    programs: packetPrograms,
  });
  if (!loaded.ok) return loaded;
  using object = loaded.value;
  using bench = BenchRun.open(readFileSync(options.floors), options.floors);
  const store = new KernelStore(object);
  // One backend each, so that all answers of a Service come from one address.
  programCluster(store, options.services, 1);
  const flowMap = store.map(maps.flows);
  assert(flowMap.ok && flowMap.value.mapped !== undefined, failureTextOf(flowMap));
  const memory = new Uint8Array(flowMap.value.mapped.memory);
  return ok(timeAll(bench, object, options, () => memory.fill(0)));
}

function failureTextOf(result: Result<unknown>): string {
  return result.ok ? 'mapped' : failureText(result.error);
}

function timeAll(
  bench: BenchRun,
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
  bench.once(fromPod, 1);
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
      bench.once(fd, flows);
    }
  };
  bench.set(ack, flows, FILL_WALK);
  bench.once(bench.fd('fill_hash'), flows);
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
