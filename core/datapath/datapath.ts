// SPDX-License-Identifier: Apache-2.0
/** The model of the whole datapath: composes the steps for each hook, as bpf/hook_tc.h and bpf/hook_sock.h do. */
import {
  configCodec,
  CLASSIFIER_WORDS,
  CONFIG_SIZE,
  FLOW_BUCKETS,
  FLOW_DATAGRAM,
  FLOW_ESTABLISHED,
  FLOW_EXCESS,
  FLOW_FIN,
  FLOW_LIFE,
  FLOW_PEER_FIN,
  FLOW_PENDING,
  FLOW_STATES,
  MARK_REFUSE_TIME,
  REASON_BACKEND_REUSED,
  REASON_CANNOT_ANSWER,
  REASON_HAIRPIN,
  REASON_HEADERS,
  REASON_NOT_SERVICE,
  REASON_TIME_TO_LIVE,
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
import { answerIcmp, answerReset } from './answer.ts';
import { decideFromPod, decideToPod } from './conntrack.ts';
import { flowClosing } from './flows.ts';
import { createLog, mark, type Log } from './log.ts';
import { createMaps, defaultSizes, storeOf, type Maps, type MapSizes } from './maps.ts';
import { sameAddress } from './nat.ts';
import { createDecision, type Decision } from './decision.ts';
import { createPacket, KEY_SOURCE, PACKET_ERROR, type Packet } from './packet.ts';
import { parseFrame } from './parse.ts';
import { applyHop, applyRelated, applyTranslation, count } from './verdict.ts';
import { runSocket, sweepSocket, type SocketCall, type SocketMemory, type SocketOutcome } from './socket.ts';

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
  /** UDP without an answer. */
  readonly datagramPendingMs: number;
  readonly datagramEstablishedMs: number;
};

/**
 * Cilium's 8,000 s; kube-proxy's close-wait 1 h; a pending flow outlives two SYN retransmissions; for UDP what
 * nf_conntrack takes, 30 and 120 s.
 */
export const defaultTimeouts: FlowTimeouts = {
  pendingMs: 8_600,
  establishedMs: 8_000_000,
  halfClosedMs: 3_600_000,
  closingMs: 60_000,
  datagramPendingMs: 30_000,
  datagramEstablishedMs: 120_000,
};

/** Lifetimes by state in ticks, as `config.flow_lifetimes` of bpf/layout.h wants them. */
export function flowLifetimes(timeouts: FlowTimeouts): number[] {
  const even = (ms: number): number => Math.max(2, Math.round(ms / TICK_MS / 2) * 2);
  return Array.from({ length: FLOW_STATES }, (_, state) => {
    const life = state & FLOW_LIFE;
    const excess = (state & FLOW_EXCESS) !== 0 ? 1 : 0;
    if (life !== FLOW_PENDING && life !== FLOW_ESTABLISHED) return 0;
    if ((state & FLOW_DATAGRAM) !== 0) {
      if (life === FLOW_PENDING) return even(timeouts.datagramPendingMs) | 1;
      return even(timeouts.datagramEstablishedMs) | excess;
    }
    if (life === FLOW_PENDING) return even(timeouts.pendingMs) | 1;
    if (flowClosing(state)) return even(timeouts.closingMs) | 1;
    return even((state & (FLOW_FIN | FLOW_PEER_FIN)) !== 0 ? timeouts.halfClosedMs : timeouts.establishedMs) | excess;
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
    shareClient: 4,
    shareService: 12,
    portFirst: 61_000,
    portCount: 4_536,
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
    else count(maps, decision.reason, 0, frame.length);
  } else count(maps, decision.reason, 0, frame.length);
  outcome.verdict = verdict;
  outcome.reason = decision.reason;
  outcome.servicePort = decision.record.servicePort;
  outcome.backend = decision.record.backend;
  outcome.trace = log.trace;
  outcome.traceLength = log.traceLength;
  outcome.writes = log.writes;
  outcome.writesLength = log.writesLength;
}

const PORT_UNREACHABLE = 0x0303; // type and code as they lie in memory
const TIME_EXCEEDED = 0x000b;
const PORT_UNREACHABLE6 = 0x0401;
const TIME_EXCEEDED6 = 0x0003;

function refuse(log: Log, packet: Packet, outside: Outside, outcome: Outcome, reason: number): number {
  const v6 = packet.family === 6;
  if (reason === REASON_BACKEND_REUSED) return answerReset(log, packet, outside, outcome, reason);
  if (reason === REASON_TIME_TO_LIVE) {
    mark(log, MARK_REFUSE_TIME);
    return answerIcmp(log, packet, outside, outcome, v6 ? TIME_EXCEEDED6 : TIME_EXCEEDED, reason);
  }
  return answerIcmp(log, packet, outside, outcome, v6 ? PORT_UNREACHABLE6 : PORT_UNREACHABLE, reason);
}

/** Whether a pod is sent back what came from itself, past routing. */
function isHairpin(packet: Packet, decision: Decision, verdict: number, hook: PacketHook): boolean {
  if (hook !== 'from-pod' || (verdict !== VERDICT_FORWARD && verdict !== VERDICT_REPLY)) return false;
  return verdict === VERDICT_REPLY || !sameAddress(decision.record.translation, KEY_SOURCE, packet.key, KEY_SOURCE);
}

function carryOut(
  log: Log,
  packet: Packet,
  decision: Decision,
  hook: PacketHook,
  decided: number,
  outside: Outside,
  outcome: Outcome,
): number {
  const { bytes } = outcome;
  const mode = outside.checksumMode;
  const hairpin = isHairpin(packet, decision, decided, hook);
  let verdict = decided;
  if (hairpin && packet.timeToLive <= 1) {
    verdict = packet.timeToLive === 0 ? VERDICT_DROP : VERDICT_REFUSE;
    decision.reason = REASON_TIME_TO_LIVE;
  }
  if (verdict === VERDICT_FORWARD || verdict === VERDICT_REPLY) {
    if (packet.kind === PACKET_ERROR) applyRelated(log, bytes, packet, decision, mode);
    else applyTranslation(log, bytes, packet, decision.record.translation, mode);
    if (hairpin) {
      decision.reason = REASON_HAIRPIN;
      applyHop(bytes, packet);
    }
  }
  if (verdict !== VERDICT_REFUSE) return verdict;
  decision.reason = refuse(log, packet, outside, outcome, decision.reason);
  return decision.reason === REASON_CANNOT_ANSWER ? VERDICT_DROP : VERDICT_REFUSE;
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
  const decided =
    hook === 'from-pod'
      ? decideFromPod(log, maps, packet, outside, decision)
      : decideToPod(log, maps, packet, outside, decision);
  const verdict = carryOut(log, packet, decision, hook, decided, outside, outcome);
  if (decision.reason !== REASON_NOT_SERVICE) count(maps, decision.reason, decision.record.servicePort, packet.length);
  return verdict;
}
