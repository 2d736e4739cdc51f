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

/** Adds to the last half of an address and keeps the checksums right, as a wrong but careful program would. */
function shiftAddress(outcome: Outcome, end: 'source' | 'destination', change: number): void {
  const at = placesOf(outcome.bytes)[end] + 2;
  replaceHalf(outcome, at, (viewOf(outcome).getUint16(at) + change) & 0xffff);
}

function sendTo(outcome: Outcome, word: number): void {
  const at = placesOf(outcome.bytes).destination;
  replaceHalf(outcome, at, word >>> 16);
  replaceHalf(outcome, at + 2, word & 0xffff);
}

function viewOf({ bytes, length }: Outcome): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

function replaceHalf(outcome: Outcome, at: number, after: number): void {
  const places = placesOf(outcome.bytes);
  const view = viewOf(outcome);
  const before = view.getUint16(at);
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

/** Batches in another order: what is meant comes last. */
function writesLast(map: string): Plant {
  const isMeant = (operation: Operation): boolean => operation.op === 'set' && operation.map.name === map;
  return {
    store: (store) => ({
      ...store,
      batch: (operations) =>
        store.batch([...operations.filter((each) => !isMeant(each)), ...operations.filter(isMeant)]),
    }),
  };
}

/** One word for who talks to whom. */
function tupleOf(frame: Uint8Array): string {
  const { source, transport } = placesOf(frame);
  return frame.subarray(source, transport + 4).join();
}

/** Where a client's packets of one kind went first is where they go: `choose` gives another word, or undefined. */
function remembering(
  isMeant: (frame: Uint8Array) => boolean,
  choose: (words: readonly number[], tick: number) => number | undefined,
  keyOf: (frame: Uint8Array) => string,
): Plant {
  return {
    twin: (twin) => {
      const seen = new Map<string, number[]>();
      let tick = 0;
      const change = (outcome: Outcome, frame: Uint8Array): void => {
        const words = seen.get(keyOf(frame)) ?? [];
        seen.set(keyOf(frame), words);
        const word = viewOf(outcome).getUint32(placesOf(frame).destination);
        if (!words.includes(word)) words.push(word);
        const chosen = choose(words, (tick += 1));
        if (chosen !== undefined) sendTo(outcome, chosen);
      };
      return {
        ...twin,
        packet: (hook, frame, outside, outcome) => {
          const result = twin.packet(hook, frame, outside, outcome);
          if (hook === 'from-pod' && outcome.verdict === VERDICT_FORWARD && isMeant(frame)) change(outcome, frame);
          return result;
        },
      };
    },
  };
}

function isDatagram(frame: Uint8Array): boolean {
  return placesOf(frame).isUDP;
}

/** What a SYN met first is what it meets when it is sent again, whatever became of the Service. */
const deafToTheFrontend: Plant = {
  twin: (twin) => {
    const forwarded = new Map<string, Uint8Array>();
    return {
      ...twin,
      packet: (hook, frame, outside, outcome) => {
        const result = twin.packet(hook, frame, outside, outcome);
        if (hook !== 'from-pod' || isDatagram(frame) || frame[placesOf(frame).flags] !== SYN) return result;
        const before = forwarded.get(tupleOf(frame));
        if (outcome.verdict === VERDICT_FORWARD) forwarded.set(tupleOf(frame), outcome.bytes.slice(0, outcome.length));
        else if (before !== undefined) Object.assign(outcome, { verdict: VERDICT_FORWARD, length: before.length });
        if (before !== undefined && outcome.verdict === VERDICT_FORWARD) outcome.bytes.set(before);
        return result;
      },
    };
  },
};

function isSyn({ bytes }: Outcome): boolean {
  return !isDatagram(bytes) && ((bytes[placesOf(bytes).flags] ?? 0) & SYN) !== 0;
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
  'a store that fills sets of ranges last': writesLast('source_ranges'),
  'a store that loses addresses of the node': onWrites((operation) =>
    operation.op === 'set' && operation.map.name === 'node_addresses' ? 'skip' : 'keep',
  ),
  'a selection off by one': afterPacket((outcome) => {
    if (outcome.verdict === VERDICT_FORWARD && isSyn(outcome)) shiftAddress(outcome, 'destination', 1);
  }),
  'a SYN that is sent again does not ask for its frontend': deafToTheFrontend,
  'datagrams that stay where they were': remembering(isDatagram, ([first]) => first, tupleOf),
  'datagrams that wander': remembering(
    isDatagram,
    (words, tick) => words[tick % words.length],
    (frame) => frame.subarray(placesOf(frame).destination, placesOf(frame).transport).join(),
  ),
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
