// SPDX-License-Identifier: Apache-2.0
/** Faults planted on purpose, one for each thing that the simulator watches over: each must be found. */
import type { Loop } from '../agent/loop.ts';
import { VERDICT_DROP, VERDICT_FORWARD, VERDICT_PASS, VERDICT_REPLY } from '../core/layout.gen.ts';
import { ok } from '../core/result.ts';
import type { MapStore, Operation } from '../core/store.ts';
import type { Outcome, PacketHook, Twin } from '../core/twin.ts';
import { placesOf, SYN } from './frame.ts';
import type { Mistake } from './watch.ts';

/** Wrappers around the real parts of a node; what isn't named stays as it is. */
export type Plant = {
  readonly loop?: (loop: Loop) => Loop;
  readonly store?: (store: MapStore) => MapStore;
  readonly twin?: (twin: Twin) => Twin;
  /** What the watches do wrong. */
  readonly watch?: Mistake;
  /** The datapath reads the clock on the wall. */
  readonly readsWallClock?: true;
  /** The agent takes over maps of any layout. */
  readonly takesAnyLayout?: true;
  /** Nobody asks whose the maps are. */
  readonly sharesMaps?: true;
};

function afterPacket(change: (outcome: Outcome, frame: Uint8Array, hook: PacketHook) => void): Plant {
  return {
    twin: (twin) => ({
      ...twin,
      packet: (hook, frame, outside, outcome) => {
        const result = twin.packet(hook, frame, outside, outcome);
        change(outcome, frame, hook);
        return result;
      },
    }),
  };
}

/** Adds to the last word of an address and keeps the checksums right, as a wrong but careful program would. */
function shiftAddress(outcome: Outcome, end: 'source' | 'destination', change: number): void {
  const { bytes } = outcome;
  const places = placesOf(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, outcome.length);
  const at = places[end] + 2;
  const before = view.getUint16(at);
  const after = (before + change) & 0xffff;
  view.setUint16(at, after);
  for (const checksum of [places.headerSum, places.transportSum]) {
    if (checksum === 0) continue;
    let sum = 0xffff - view.getUint16(checksum) + (0xffff - before) + after;
    while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
    view.setUint16(checksum, 0xffff - sum);
  }
}

function onWrites(judge: (operation: Operation) => 'keep' | 'skip'): Plant {
  return {
    store: (store) => ({
      ...store,
      batch: (operations) => {
        for (const [done, operation] of operations.entries()) {
          const result = judge(operation) === 'skip' ? ok(undefined) : store.apply(operation);
          if (!result.ok) return { done, result };
        }
        return { done: operations.length, result: ok(undefined) };
      },
    }),
  };
}

function isSyn({ bytes }: Outcome): boolean {
  return ((bytes[placesOf(bytes).flags] ?? 0) & SYN) !== 0;
}

/** By name: what is wrong in it. */
export const plants: Readonly<Record<string, Plant>> = {
  'a loop that drops DELETED': {
    loop: (loop) => ({
      ...loop,
      event: (event) => {
        if (event.type !== 'DELETED') loop.event(event);
      },
    }),
  },
  'a loop that takes a bookmark for an empty list': {
    loop: (loop) => ({
      ...loop,
      event: (event) => {
        loop.event(event.type === 'BOOKMARK' ? { type: 'LISTED', kind: event.kind, items: [] } : event);
      },
    }),
  },
  'a loop that keeps what it does not know': {
    loop: (loop) => ({ ...loop, resync: () => loop.step() }),
  },
  'a watch that takes 410 for nothing new': { watch: 'takes 410 for nothing new' },
  'a watch that goes on from now after an old list': { watch: 'watches from now after an old list' },
  'a watch that waits for ever': { watch: 'waits for ever' },
  'a datapath on the wall clock': { readsWallClock: true },
  'an agent that takes maps of any layout': { takesAnyLayout: true },
  'two agents that share the maps': { sharesMaps: true },
  'a loop that hides its failures': {
    loop: (loop) => ({ ...loop, step: () => ({ ...loop.step(), failures: [], isSettled: true }) }),
  },
  'a store without barriers': onWrites(({ op }) => (op === 'barrier' ? 'skip' : 'keep')),
  'a store that withdraws no backend': onWrites((operation) =>
    operation.op === 'word' && operation.map.name === 'backends' ? 'skip' : 'keep',
  ),
  'a store that loses backends': onWrites((operation) =>
    operation.op === 'set' && operation.map.name === 'backends' ? 'skip' : 'keep',
  ),
  'a selection off by one': afterPacket((outcome) => {
    if (outcome.verdict === VERDICT_FORWARD && isSyn(outcome)) shiftAddress(outcome, 'destination', 1);
  }),
  'a flow that moves': afterPacket((outcome) => {
    if (outcome.verdict === VERDICT_FORWARD && !isSyn(outcome)) shiftAddress(outcome, 'destination', 1);
  }),
  'replies from the backend itself': afterPacket((outcome, frame) => {
    if (outcome.verdict !== VERDICT_REPLY) return;
    outcome.bytes.set(frame);
    outcome.verdict = VERDICT_PASS;
  }),
  'replies from a neighbour': afterPacket((outcome) => {
    if (outcome.verdict === VERDICT_REPLY) shiftAddress(outcome, 'source', 1);
  }),
  'a bystander is touched': afterPacket((outcome, frame) => {
    if (outcome.verdict === VERDICT_PASS) outcome.bytes[placesOf(frame).hops] = 1;
  }),
  'a checksum left as it was': afterPacket((outcome, frame) => {
    const at = placesOf(frame).transportSum;
    if (outcome.verdict === VERDICT_FORWARD) outcome.bytes.set(frame.subarray(at, at + 2), at);
  }),
  'a drop without a reason': afterPacket((outcome, _frame, hook) => {
    if (outcome.verdict !== VERDICT_FORWARD || hook !== 'from-pod') return;
    outcome.verdict = VERDICT_DROP;
    outcome.reason = 0;
  }),
};
