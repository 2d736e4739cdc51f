// SPDX-License-Identifier: Apache-2.0
/**
 * The flow table, set-associative in an array; twin of bpf/flows.h, with the same memory. Where the kernel exchanges a
 * word because another CPU may be faster, the model has nobody to race with and always wins.
 */
import {
  FLOW_BACKEND_AT,
  FLOW_BUCKET_DUE_AT,
  FLOW_BUCKET_FLOWS_AT,
  FLOW_BUCKET_SIZE,
  FLOW_BUCKET_SPILL_AT,
  FLOW_BUSY,
  FLOW_BYTES_AT,
  FLOW_CANDIDATES,
  FLOW_CROWDED,
  FLOW_FIN,
  FLOW_FREE,
  FLOW_GENERATION_AT,
  FLOW_NOTE_AT,
  FLOW_LIFE,
  FLOW_PACKETS_AT,
  FLOW_PEER_FIN,
  FLOW_PENDING,
  FLOW_RESET,
  FLOW_SERVICE_PORT_AT,
  FLOW_SIZE,
  FLOW_SLOTS,
  FLOW_STATES,
  FLOW_TRANSLATION_AT,
  FLOW_WORD_AT,
  MARK_FLOW_EXPIRED,
  MARK_FLOW_HIT_FIRST,
  MARK_FLOW_HIT_SECOND,
  MARK_FLOW_MISS,
  MARK_FLOW_SEEN,
  MARK_HINT_REPAIRED,
  MARK_INSERT_EXISTS,
  MARK_INSERT_FIRST,
  MARK_INSERT_FULL,
  MARK_INSERT_RECYCLE,
  MARK_INSERT_SECOND,
  MARK_INSERT_TAKE_OVER,
  WRITE_INSERT,
  WRITE_NOTE,
  WRITE_REPAIR,
  WRITE_SEEN,
  WRITE_STATE,
} from '../layout.gen.ts';
import { logWrite, mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { KEY_PROTOCOL, KEY_WORDS } from './packet.ts';
import { multiplyHigh } from './words.ts';

export const FLOW_IF_ABSENT = 0;
export const FLOW_REPLACE = 1; // a live entry of this key is written over
export const FLOW_INSERTED = 0; // the record says where
export const FLOW_EXISTS = 1; // the record says now what the entry holds
export const FLOW_REFUSED = 2;
export const FLOW_ALL = 0xff; // cleared, a flow is free
export const FLOW_PROMOTE = 1; // pending | 1 = established
export const FLOW_KEEP_NONE = -1; // as keepBucket
const FLOW_NO_OLDEST = 0xffffffff;
const NOTE_NONE = 0xffffffff;
const VERSIONS = 0xffffff;

export const BUCKET_WORDS: number = FLOW_BUCKET_SIZE / 4;
const SPILL = FLOW_BUCKET_SPILL_AT / 4;
export const DUE: number = FLOW_BUCKET_DUE_AT / 4;
const FLOWS = FLOW_BUCKET_FLOWS_AT / 4;
const FLOW_WORDS = FLOW_SIZE / 4;
const SEEN = FLOW_WORD_AT / 4;
const STATE = SEEN + 1; // state | version << 8
export const DIRECTION: number = KEY_PROTOCOL; // protocol | direction << 8
const PACKETS = FLOW_PACKETS_AT / 4;
const BYTES = FLOW_BYTES_AT / 4;
const TRANSLATION = FLOW_TRANSLATION_AT / 4;
export const SERVICE_PORT: number = FLOW_SERVICE_PORT_AT / 4;
const BACKEND = FLOW_BACKEND_AT / 4;
const GENERATION = FLOW_GENERATION_AT / 4;
const NOTE = FLOW_NOTE_AT / 4;

/** What an entry holds, and where it stands; reused for every packet. */
export type FlowRecord = {
  /** Memory words of a flow key. */
  readonly translation: Uint32Array;
  servicePort: number;
  backend: number;
  generation: number;
  state: number;
  /** A number kept with the entry, and the word of count and version it was kept with. */
  note: number;
  noteWord: number;
  version: number;
  /** Last seen before this packet. */
  seen: number;
  bucket: number;
  slot: number;
  first: number;
  second: number;
  fingerprint: number;
  /** An entry that placing this one must not recycle: the connection's other half. */
  keepBucket: number;
  keepSlot: number;
};

export function createRecord(): FlowRecord {
  return {
    translation: new Uint32Array(KEY_WORDS),
    servicePort: 0,
    backend: 0,
    generation: 0,
    state: 0,
    note: 0,
    noteWord: 0,
    version: 0,
    seen: 0,
    bucket: 0,
    slot: 0,
    first: 0,
    second: 0,
    fingerprint: 0,
    keepBucket: FLOW_KEEP_NONE,
    keepSlot: 0,
  };
}

const hashed = { first: 0, second: 0 }; // scratch: the answer of flowHash

/** NH with a secret key and a keyed finish: 64 bits of a 40-byte key. The answer is read before the next call. */
export function flowHash(maps: Maps, key: Uint32Array): { first: number; second: number } {
  const secret = maps.flowSecret;
  let low = secret[11]!;
  let high = secret[10]!;
  for (let i = 0; i < KEY_WORDS; i += 2) {
    const left = (key[i]! + secret[i]!) >>> 0;
    const right = (key[i + 1]! + secret[i + 1]!) >>> 0;
    const sum = low + (Math.imul(left, right) >>> 0);
    high = high + multiplyHigh(left, right) + (sum > 0xffffffff ? 1 : 0);
    low = sum >>> 0;
  }
  let x = low | 0;
  let y = high | 0;
  x ^= Math.imul(y, 0x9e3779b1);
  x ^= x >>> 15;
  x = Math.imul(x, 0x2c1b3c6d);
  x ^= x >>> 13;
  y = (y + Math.imul(x, 0x85ebca77)) | 0;
  y ^= y >>> 16;
  y = Math.imul(y, 0x297a2d39);
  y ^= y >>> 15;
  x = (x + Math.imul(y, 0xc2b2ae3d)) | 0;
  x ^= x >>> 14;
  hashed.first = x >>> 0;
  hashed.second = y >>> 0;
  return hashed;
}

export function flowFingerprint(hash: { readonly second: number }): number {
  const fingerprint = hash.second >>> 16;
  return fingerprint === 0 ? 1 : fingerprint;
}

/** Where an entry begins, in words. */
export function flowAt(bucket: number, slot: number): number {
  return bucket * BUCKET_WORDS + FLOWS + slot * FLOW_WORDS;
}

/** State of the word of the entry at `flow`. */
export function flowWordState(maps: Maps, flow: number): number {
  return maps.flows[flow + STATE]! & 0xff;
}

export function flowWordVersion(maps: Maps, flow: number): number {
  return maps.flows[flow + STATE]! >>> 8;
}

/** The half of a word that holds version and state. */
export function flowMakeWord(version: number, state: number): number {
  return (((version & VERSIONS) << 8) | state) >>> 0;
}

/** Reset, or FIN from both sides. */
export function flowClosing(state: number): boolean {
  return (state & FLOW_RESET) !== 0 || (state & (FLOW_FIN | FLOW_PEER_FIN)) === (FLOW_FIN | FLOW_PEER_FIN);
}

/** How long a flow in this state lives, an even number of ticks, 0 for none; bit 0: a newcomer may take its place. */
export function flowLifetime(maps: Maps, state: number): number {
  return maps.lifetimes[state & (FLOW_STATES - 1)]!;
}

/** Whether the entry at `flow` lives. */
export function flowLive(maps: Maps, flow: number, now: number): boolean {
  const lifetime = flowLifetime(maps, flowWordState(maps, flow));
  return ((maps.flows[flow + SEEN]! + (lifetime & ~1) - now) | 0) > 0 && lifetime !== 0;
}

/** The due hint of the word of the entry at `flow`. */
export function flowHint(maps: Maps, flow: number): number {
  const lifetime = flowLifetime(maps, flowWordState(maps, flow));
  return (((maps.flows[flow + SEEN]! + lifetime) & ~1) | (lifetime & 1)) >>> 0;
}

/** The slots whose fingerprint is this one, as bits. */
export function flowMatches(maps: Maps, bucket: number, fingerprint: number): number {
  const { flows } = maps;
  const at = bucket * BUCKET_WORDS;
  let mask = 0;
  // Two fingerprints to a word.
  for (let pair = 0; pair < FLOW_SLOTS / 2; pair++) {
    const word = flows[at + pair]! ^ fingerprint;
    if ((word & 0xffff) === 0) mask |= 1 << (pair * 2);
    if (((word ^ (fingerprint << 16)) & 0xffff0000) === 0) mask |= 2 << (pair * 2);
  }
  return mask;
}

/** The number of the lowest bit of a mask that is not 0. */
export function flowLowest(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

export function flowCount(mask: number): number {
  let bits = mask - ((mask >>> 1) & 0x5555);
  bits = (bits & 0x3333) + ((bits >>> 2) & 0x3333);
  bits = (bits + (bits >>> 4)) & 0x0f0f;
  return (bits + (bits >>> 8)) & 31;
}

/** Whether the entry at `flow` has this key. Written out, words that differ most often first: measurably faster than a loop. */
export function sameFlow(maps: Maps, flow: number, key: Uint32Array): boolean {
  const { flows } = maps;
  return (
    flows[flow + 3] === key[3] &&
    flows[flow + 8] === key[8] &&
    flows[flow + 7] === key[7] &&
    flows[flow] === key[0] &&
    flows[flow + 1] === key[1] &&
    flows[flow + 2] === key[2] &&
    flows[flow + 4] === key[4] &&
    flows[flow + 5] === key[5] &&
    flows[flow + 6] === key[6] &&
    flows[flow + 9] === key[9]
  );
}

/** The slot of the key's entry, live or not; -1: none. */
export function flowFind(maps: Maps, bucket: number, fingerprint: number, key: Uint32Array): number {
  let mask = flowMatches(maps, bucket, fingerprint);
  for (let n = 0; n < FLOW_CANDIDATES && mask !== 0; n++) {
    const slot = flowLowest(mask);
    const flow = flowAt(bucket, slot);
    if ((flowWordState(maps, flow) & FLOW_LIFE) >= FLOW_PENDING && sameFlow(maps, flow, key)) return slot;
    mask &= mask - 1;
  }
  return -1;
}

export function flowCopy(maps: Maps, record: FlowRecord, flow: number): void {
  const flows = maps.flows;
  for (let i = 0; i < KEY_WORDS; i++) record.translation[i] = flows[flow + TRANSLATION + i]!;
  record.servicePort = flows[flow + SERVICE_PORT]!;
  record.backend = flows[flow + BACKEND]!;
  record.generation = flows[flow + GENERATION]!;
  record.note = flows[flow + NOTE]!;
  record.noteWord = flows[flow + NOTE + 1]!;
  record.state = flowWordState(maps, flow);
  record.version = flowWordVersion(maps, flow);
  record.seen = flows[flow + SEEN]!;
}

/** Adds to a 64-bit counter of two words. */
function add(flows: Uint32Array, at: number, amount: number): void {
  const sum = flows[at]! + amount;
  flows[at] = sum;
  if (sum > 0xffffffff) flows[at + 1]!++;
}

/** Reads the entry if it lives; with a length it is also counted and, once a tick, refreshed. */
export function flowTake(log: Log, maps: Maps, slot: number, now: number, length: number, record: FlowRecord): boolean {
  const flow = flowAt(record.bucket, slot);
  if (!flowLive(maps, flow, now)) {
    mark(log, MARK_FLOW_EXPIRED);
    return false;
  }
  flowCopy(maps, record, flow);
  if (length === 0) return true;
  if (maps.flows[flow + SEEN] !== now) {
    maps.flows[flow + SEEN] = now;
    mark(log, MARK_FLOW_SEEN);
    logWrite(log, WRITE_SEEN, record.bucket, slot, record.state);
  }
  add(maps.flows, flow + PACKETS, 1);
  add(maps.flows, flow + BYTES, length);
  return true;
}

/** Whether the key has an entry, live or not; the record says where. */
export function flowSeek(log: Log, maps: Maps, key: Uint32Array, record: FlowRecord): boolean {
  const hash = flowHash(maps, key);
  const fingerprint = flowFingerprint(hash);
  record.first = hash.first & maps.bucketMask;
  record.second = hash.second & maps.bucketMask;
  record.fingerprint = fingerprint;
  record.bucket = record.first;
  let slot = flowFind(maps, record.bucket, fingerprint, key);
  if (slot >= 0) {
    mark(log, MARK_FLOW_HIT_FIRST);
    record.slot = slot;
    return true;
  }
  if (maps.flows[record.bucket * BUCKET_WORDS + SPILL] === 0) return false;
  record.bucket = record.second;
  slot = flowFind(maps, record.bucket, fingerprint, key);
  if (slot < 0) return false;
  mark(log, MARK_FLOW_HIT_SECOND);
  record.slot = slot;
  return true;
}

/** Finds the live entry of a key; length: bytes of the packet that asks, 0 to look without leaving a trace. */
export function flowLookup(
  log: Log,
  maps: Maps,
  key: Uint32Array,
  record: FlowRecord,
  length: number,
  now: number,
): boolean {
  if (!flowSeek(log, maps, key, record)) {
    mark(log, MARK_FLOW_MISS);
    return false;
  }
  return flowTake(log, maps, record.slot, now, length, record);
}

const scanned = { mask: 0, oldest: 0 }; // scratch: the answer of flowScan

/** The slot of a bucket that placing this record must not recycle, FLOW_SLOTS: none. */
export function flowKept(record: FlowRecord, bucket: number): number {
  return record.keepBucket === bucket ? record.keepSlot : FLOW_SLOTS;
}

/**
 * Free or, by their hints, expired slots as bits, and the recyclable slot that is due first: ticks left << 4 | slot.
 * `keep`: a slot that is not to be recycled, FLOW_SLOTS for none.
 */
export function flowScan(maps: Maps, bucket: number, now: number, keep: number): { mask: number; oldest: number } {
  const due = bucket * BUCKET_WORDS + DUE;
  const fingerprints = bucket * BUCKET_WORDS * 2;
  let mask = 0;
  let best = FLOW_NO_OLDEST;
  for (let i = 0; i < FLOW_SLOTS; i++) {
    const left = (maps.flows[due + i]! - now) | 0;
    if (left <= 0 || maps.fingerprints[fingerprints + i] === 0) mask |= 1 << i;
    else if ((maps.flows[due + i]! & 1) === 1 && i !== keep) {
      const candidate = ((left << 4) | i) >>> 0;
      if (candidate < best) best = candidate;
    }
  }
  scanned.mask = mask;
  scanned.oldest = best;
  return scanned;
}

/** Makes the entry at `flow` ours to write. */
export function flowSeize(maps: Maps, flow: number): boolean {
  maps.flows[flow + STATE] = flowMakeWord(flowWordVersion(maps, flow) + 1, FLOW_BUSY);
  maps.flows[flow + SEEN] = 0;
  return true;
}

/** Claims one of the slots of mask, -1: none; a hint that had fallen behind is repaired and its slot left alone. */
export function flowClaim(log: Log, maps: Maps, bucket: number, mask: number, now: number): number {
  for (let n = 0, left = mask; n < FLOW_SLOTS && left !== 0; n++, left &= left - 1) {
    const slot = flowLowest(left);
    const flow = flowAt(bucket, slot);
    if (flowWordState(maps, flow) === FLOW_BUSY) continue;
    if (flowLive(maps, flow, now)) {
      mark(log, MARK_HINT_REPAIRED);
      const hint = flowHint(maps, flow);
      maps.flows[bucket * BUCKET_WORDS + DUE + slot] = hint;
      logWrite(log, WRITE_REPAIR, bucket, slot, hint);
      continue;
    }
    if (flowSeize(maps, flow)) return slot;
  }
  return -1;
}

/** Claims the slot of a flow that a newcomer may replace, -1: it may no longer. */
export function flowRecycle(maps: Maps, bucket: number, oldest: number): number {
  const slot = oldest & (FLOW_SLOTS - 1);
  const flow = flowAt(bucket, slot);
  return (flowLifetime(maps, flowWordState(maps, flow)) & 1) === 1 && flowSeize(maps, flow) ? slot : -1;
}

/**
 * Claims a slot for a key that has none: free or expired, in the first bucket as long as that is not crowded, then in
 * the emptier one; else the one that may be recycled and is due first. The record says where. false: all are live.
 */
export function flowPlace(log: Log, maps: Maps, record: FlowRecord, now: number): boolean {
  const { first, second } = record;
  const { mask: mask1, oldest: oldest1 } = flowScan(maps, first, now, flowKept(record, first));
  const { mask: mask2, oldest: oldest2 } = flowScan(maps, second, now, flowKept(record, second));
  const free1 = flowCount(mask1);
  const free2 = flowCount(mask2);
  let other = free1 <= FLOW_SLOTS - FLOW_CROWDED && free2 > free1;
  let slot = -1;
  for (let attempt = 0; attempt < 2 && slot < 0; attempt++, other = !other) {
    record.bucket = other ? second : first;
    slot = flowClaim(log, maps, record.bucket, other ? mask2 : mask1, now);
  }
  if (slot >= 0) {
    record.slot = slot;
    if (record.bucket === first) mark(log, MARK_INSERT_FIRST);
    else mark(log, MARK_INSERT_SECOND);
    return true;
  }
  if (oldest1 !== FLOW_NO_OLDEST || oldest2 !== FLOW_NO_OLDEST) {
    other = oldest2 < oldest1;
    record.bucket = other ? second : first;
    slot = flowRecycle(maps, record.bucket, other ? oldest2 : oldest1);
  }
  if (slot < 0) {
    mark(log, MARK_INSERT_FULL);
    return false;
  }
  mark(log, MARK_INSERT_RECYCLE);
  record.slot = slot;
  return true;
}

/** Writes all of a claimed entry but its word. */
export function flowFill(maps: Maps, flow: number, key: Uint32Array, record: FlowRecord): void {
  const flows = maps.flows;
  for (let i = 0; i < KEY_WORDS; i++) flows[flow + i] = key[i]!;
  flows[flow + PACKETS] = 0;
  flows[flow + PACKETS + 1] = 0;
  flows[flow + BYTES] = 0;
  flows[flow + BYTES + 1] = 0;
  for (let i = 0; i < KEY_WORDS; i++) flows[flow + TRANSLATION + i] = record.translation[i]!;
  flows[flow + SERVICE_PORT] = record.servicePort;
  flows[flow + BACKEND] = record.backend;
  flows[flow + GENERATION] = record.generation;
  flows[flow + NOTE] = NOTE_NONE;
  flows[flow + NOTE + 1] = NOTE_NONE;
}

/** Publishes the claimed entry unless there is one of its key already: then the claim is given back. */
export function flowPublish(log: Log, maps: Maps, key: Uint32Array, record: FlowRecord, now: number): number {
  const { fingerprint, first, second, bucket, slot } = record;
  const flow = flowAt(bucket, slot);
  flowFill(maps, flow, key, record);
  if (bucket !== first) maps.flows[first * BUCKET_WORDS + SPILL] = 1;
  let twin = flowFind(maps, first, fingerprint, key);
  if (twin < 0 && maps.flows[first * BUCKET_WORDS + SPILL] !== 0) twin = flowFind(maps, second, fingerprint, key);
  if (twin >= 0) {
    maps.flows[flow + STATE] = flowMakeWord(flowWordVersion(maps, flow), FLOW_FREE);
    return FLOW_EXISTS;
  }
  maps.fingerprints[bucket * BUCKET_WORDS * 2 + slot] = fingerprint;
  maps.flows[flow + STATE] = flowMakeWord(flowWordVersion(maps, flow), record.state);
  maps.flows[flow + SEEN] = now;
  maps.flows[bucket * BUCKET_WORDS + DUE + slot] = flowHint(maps, flow);
  logWrite(log, WRITE_INSERT, bucket, slot, record.state);
  return FLOW_INSERTED;
}

/**
 * The key's own entry, live or not; the record says where. FLOW_EXISTS: it lives and stays, the record says what it holds; FLOW_INSERTED: it
 * was expired, or is to be replaced, and is claimed in place; FLOW_REFUSED: there is none.
 */
export function flowOwn(log: Log, maps: Maps, key: Uint32Array, record: FlowRecord, now: number, how: number): number {
  if (!flowSeek(log, maps, key, record)) return FLOW_REFUSED;
  const flow = flowAt(record.bucket, record.slot);
  if ((how === FLOW_IF_ABSENT && flowLive(maps, flow, now)) || !flowSeize(maps, flow)) {
    mark(log, MARK_INSERT_EXISTS);
    flowCopy(maps, record, flow);
    return FLOW_EXISTS;
  }
  mark(log, MARK_INSERT_TAKE_OVER);
  return FLOW_INSERTED;
}

/** Inserts the record, with its state, under key. */
export function flowInsert(
  log: Log,
  maps: Maps,
  key: Uint32Array,
  record: FlowRecord,
  now: number,
  how: number,
): number {
  const own = flowOwn(log, maps, key, record, now, how);
  if (own === FLOW_EXISTS) return FLOW_EXISTS;
  if (own === FLOW_REFUSED && !flowPlace(log, maps, record, now)) return FLOW_REFUSED;
  if (flowPublish(log, maps, key, record, now) === FLOW_INSERTED) return FLOW_INSERTED;
  return flowLookup(log, maps, key, record, 0, now) ? FLOW_EXISTS : FLOW_REFUSED;
}

const place = createRecord(); // scratch of flowChange

/** Sets and clears bits of the state of the key's live entry; nothing where it is gone. */
export function flowChange(log: Log, maps: Maps, key: Uint32Array, set: number, clear: number, now: number): boolean {
  if (!flowSeek(log, maps, key, place)) return false;
  const { bucket, slot } = place;
  const flow = flowAt(bucket, slot);
  if (!flowLive(maps, flow, now)) return false;
  const state = (flowWordState(maps, flow) | set) & ~clear & 0xff;
  maps.flows[flow + STATE] = flowMakeWord(flowWordVersion(maps, flow), state);
  maps.flows[flow + SEEN] = now;
  maps.flows[bucket * BUCKET_WORDS + DUE + slot] = flowHint(maps, flow);
  logWrite(log, WRITE_STATE, bucket, slot, state);
  return true;
}

/** Keeps a number and a count with the entry the record was read from. */
export function flowNote(log: Log, maps: Maps, record: FlowRecord, number: number, count: number): void {
  const word = flowMakeWord(record.version, count & 0xff);
  if (record.note === number && record.noteWord === word) return;
  const flow = flowAt(record.bucket, record.slot);
  maps.flows[flow + NOTE] = number;
  maps.flows[flow + NOTE + 1] = word;
  logWrite(log, WRITE_NOTE, record.bucket, record.slot, number);
}

/** Whether the note of a record was made for the entry's owner of now. */
export function flowNoted(record: FlowRecord): boolean {
  return record.noteWord >>> 8 === record.version;
}
