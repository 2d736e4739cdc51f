// SPDX-License-Identifier: Apache-2.0
/** The model of the whole datapath: composes the steps for each hook, as bpf/hook_tc.h and bpf/hook_sock.h do. */
import {
  configCodec,
  CLASSIFIER_WORDS,
  CONFIG_SIZE,
  FLOW_BUCKETS,
  FLOW_ESTABLISHED,
  FLOW_FIN,
  FLOW_LIFE,
  FLOW_PEER_FIN,
  FLOW_PENDING,
  FLOW_STATES,
  REASON_CANNOT_ANSWER,
  REASON_HEADERS,
  REASON_NOT_SERVICE,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  VERDICT_REPLY,
  type ConfigRecord,
} from '../layout.gen.ts';
import { ok, type Result } from '../result.ts';
import type { MapStore } from '../store.ts';
import type { Outcome, Outside, PacketHook, Twin } from '../twin.ts';
import { createDecision, decideFromPod, decideToPod, type Decision } from './conntrack.ts';
import { flowClosing } from './flows.ts';
import { createLog, type Log } from './log.ts';
import { createMaps, defaultSizes, storeOf, type Maps, type MapSizes } from './maps.ts';
import { createPacket, parseFrame, type Packet } from './parse.ts';
import { runSocket, sweepSocket, type SocketCall, type SocketMemory, type SocketOutcome } from './socket.ts';
import { answerUnreachable, applyTranslation, count } from './verdict.ts';

const TICK_MS = 1.048576; // 2^20 ns

/** How long flows live, in milliseconds. */
export type FlowTimeouts = {
  /** Not completed. */
  readonly pendingMs: number;
  readonly establishedMs: number;
  /** One side has sent FIN. */
  readonly halfClosedMs: number;
  /** Both have, or one has sent RST. */
  readonly closingMs: number;
};

/** packets.md 3: Cilium's 8,000 s; kube-proxy's close-wait 1 h; a pending flow outlives two SYN retransmissions. */
export const defaultTimeouts: FlowTimeouts = {
  pendingMs: 8_600,
  establishedMs: 8_000_000,
  halfClosedMs: 3_600_000,
  closingMs: 60_000,
};

/** Lifetimes by state in ticks, as `config.flow_lifetimes` of bpf/layout.h wants them. */
export function flowLifetimes(timeouts: FlowTimeouts): number[] {
  const even = (ms: number): number => Math.max(2, Math.round(ms / TICK_MS / 2) * 2);
  return Array.from({ length: FLOW_STATES }, (_, state) => {
    const life = state & FLOW_LIFE;
    if (life === FLOW_PENDING) return even(timeouts.pendingMs) | 1;
    if (life !== FLOW_ESTABLISHED) return 0;
    if (flowClosing(state)) return even(timeouts.closingMs) | 1;
    return even((state & (FLOW_FIN | FLOW_PEER_FIN)) !== 0 ? timeouts.halfClosedMs : timeouts.establishedMs);
  });
}

/** The settings of the programs, zero but for what is given. */
export function configOf(given: Partial<ConfigRecord> = {}): ConfigRecord {
  const zero = configCodec.decode(new DataView(new ArrayBuffer(CONFIG_SIZE)), 0);
  return {
    ...zero,
    flowBucketMask: FLOW_BUCKETS - 1,
    classifierMask: CLASSIFIER_WORDS - 1,
    flowLifetimes: flowLifetimes(defaultTimeouts),
    ...given,
  };
}

/** The model; `log` holds the marks of the whole run and the trace of the last packet. */
export type Datapath = Twin & {
  readonly name: 'model';
  readonly maps: Maps;
  readonly log: Log;
  /** One call of a socket, with what rides on it. */
  socket(call: SocketCall, memory: SocketMemory, outside: Outside): SocketOutcome;
  /** The sweep comes by a UDP socket: the Service port of one that it ends. */
  sweep(memory: SocketMemory, isConnected: boolean): number | undefined;
};

/** A model with empty maps. */
export function createDatapath(config: ConfigRecord, sizes: MapSizes = defaultSizes): Datapath {
  const maps = createMaps(config, sizes);
  const log = createLog();
  const packet = createPacket();
  const decision = createDecision();
  const store: MapStore = storeOf(maps);
  const done = ok(undefined); // one for all packets
  return {
    name: 'model',
    maps,
    log,
    store,
    packet: (hook, frame, outside, outcome): Result<void> => {
      runPacket(maps, log, packet, decision, hook, frame, outside, outcome);
      return done;
    },
    socket: (call, memory, outside) => runSocket(maps, log, call, memory, outside),
    sweep: (memory, isConnected) => sweepSocket(maps, memory, isConnected),
    flowMemory: () => new Uint8Array(maps.flows.buffer, maps.flows.byteOffset, maps.flows.byteLength),
    clearFlows: () => {
      maps.flows.fill(0);
    },
  };
}

function runPacket(
  maps: Maps,
  log: Log,
  packet: Packet,
  decision: Decision,
  hook: PacketHook,
  frame: Uint8Array,
  outside: Outside,
  outcome: Outcome,
): void {
  log.traceLength = 0;
  log.writesLength = 0;
  decision.record.servicePort = 0;
  decision.record.backend = 0;
  decision.reason = REASON_HEADERS;
  outcome.bytes.set(frame);
  outcome.length = frame.length;
  let verdict = VERDICT_PASS;
  if (outside.pullResult === 0) {
    decision.reason = parseFrame(log, packet, frame, frame.length);
    if (decision.reason === REASON_NOT_SERVICE) verdict = decide(maps, log, packet, decision, hook, outside, outcome);
  }
  outcome.verdict = verdict;
  outcome.reason = decision.reason;
  outcome.servicePort = decision.record.servicePort;
  outcome.backend = decision.record.backend;
  outcome.trace = log.trace;
  outcome.traceLength = log.traceLength;
  outcome.writes = log.writes;
  outcome.writesLength = log.writesLength;
}

function decide(
  maps: Maps,
  log: Log,
  packet: Packet,
  decision: Decision,
  hook: PacketHook,
  outside: Outside,
  outcome: Outcome,
): number {
  let verdict =
    hook === 'from-pod'
      ? decideFromPod(log, maps, packet, outside.now, decision)
      : decideToPod(log, maps, packet, outside.now, decision);
  const { record } = decision;
  if (verdict === VERDICT_FORWARD || verdict === VERDICT_REPLY)
    applyTranslation(log, outcome.bytes, packet, record.translation, verdict, outside.checksumMode);
  if (verdict === VERDICT_REFUSE) {
    decision.reason = answerUnreachable(log, packet, outside, outcome, decision.reason);
    if (decision.reason === REASON_CANNOT_ANSWER) verdict = VERDICT_DROP;
  }
  if (decision.reason !== REASON_NOT_SERVICE) count(maps, decision.reason, record.servicePort, packet.length);
  return verdict;
}
