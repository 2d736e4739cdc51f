// SPDX-License-Identifier: Apache-2.0
/** The one interface of both datapaths: the TypeScript model and the programs in the kernel. */
import type { MapStore } from './store.ts';
import type { Result } from './result.ts';

/** Where a packet is met: on a pod device's ingress (from the pod) or egress (to the pod). */
export type PacketHook = 'from-pod' | 'to-pod';

/** Answers from outside a decision may depend on; `struct outside` of bpf/layout.h. Reused and mutable on purpose. */
export type Outside = {
  socketCookie: bigint;
  /** Of the socket's network namespace. */
  netnsCookie: bigint;
  /** 2^20 ns, wraps. */
  now: number;
  /** CHECKSUM_MODE_* */
  checksumMode: number;
  /** Bytes of payload of each segment; 0: not GSO. */
  gsoSize: number;
  pullResult: number;
  roomResult: number;
  tailResult: number;
  peerResult: number;
  affinityResult: number;
  storageResult: number;
};

/** Everything answers well, at the given time. */
export function quietOutside(now: number): Outside {
  return {
    socketCookie: 0n,
    netnsCookie: 0n,
    now,
    checksumMode: 0,
    gsoSize: 0,
    pullResult: 0,
    roomResult: 0,
    tailResult: 0,
    peerResult: 0,
    affinityResult: 0,
    storageResult: 0,
  };
}

/**
 * What became of one packet. One record is reused for every packet of a run: copy what must last. Only the first
 * `length` bytes, `traceLength` marks and `writesLength` writes (four words each: WRITE_*, bucket, slot, value) count.
 */
export type Outcome = {
  /** VERDICT_* */
  verdict: number;
  /** REASON_* */
  reason: number;
  servicePort: number;
  backend: number;
  bytes: Uint8Array;
  length: number;
  trace: Uint8Array;
  traceLength: number;
  writes: Uint32Array;
  writesLength: number;
};

/** An outcome with room for the largest packet a test run accepts, 3,712 bytes. */
export function emptyOutcome(): Outcome {
  return {
    verdict: 0,
    reason: 0,
    servicePort: 0,
    backend: 0,
    bytes: new Uint8Array(4096),
    length: 0,
    trace: new Uint8Array(96),
    traceLength: 0,
    writes: new Uint32Array(24 * 4),
    writesLength: 0,
  };
}

/** A datapath that can be asked about single packets. */
export interface Twin {
  readonly name: 'model' | 'kernel';
  /** The maps it works from. */
  readonly store: MapStore;
  /** Runs one Ethernet frame through a hook; the frame itself is not changed. */
  packet(hook: PacketHook, frame: Uint8Array, outside: Outside, outcome: Outcome): Result<void>;
  /** The flow table's memory as bpf/layout.h lays it out, live: equal memory is an equal table. */
  flowMemory(): Uint8Array;
  /** Forgets every flow. */
  clearFlows(): void;
}
