// SPDX-License-Identifier: Apache-2.0
/**
 * How much of the flow table one client and one Service may hold for good; twin of bpf/share.h. What is beyond a share
 * lives on, but may be recycled.
 */
import {
  DIRECTION_FORWARD,
  FLOW_ESTABLISHED,
  FLOW_EXCESS,
  FLOW_LIFE,
  FLOW_SLOTS,
  MARK_SHARE_CLIENT,
  MARK_SHARE_SERVICE,
} from '../layout.gen.ts';
import { BUCKET_WORDS, DIRECTION, DUE, flowAt, flowHash, flowLive, flowWordState, SERVICE_PORT } from './flows.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';

/** Slots of a bucket that no newcomer may take, by their hints. */
export function flowHeld(maps: Maps, bucket: number, now: number): number {
  const due = bucket * BUCKET_WORDS + DUE;
  const fingerprints = bucket * BUCKET_WORDS * 2;
  let held = 0;
  for (let i = 0; i < FLOW_SLOTS; i++) {
    const hint = maps.flows[due + i]!;
    if (maps.fingerprints[fingerprints + i] !== 0 && (hint & 1) === 0 && ((hint - now) | 0) > 0) held++;
  }
  return held;
}

/**
 * Established flows of a bucket that are protected: of this client in the low half, of this Service port in the high
 * one.
 */
export function flowHolders(maps: Maps, bucket: number, key: Uint32Array, servicePort: number, now: number): number {
  const { flows } = maps;
  let client = 0;
  let service = 0;
  for (let i = 0; i < FLOW_SLOTS; i++) {
    const flow = flowAt(bucket, i);
    const state = flowWordState(maps, flow);
    const holds = (state & (FLOW_LIFE | FLOW_EXCESS)) === FLOW_ESTABLISHED && flowLive(maps, flow, now);
    if (!holds || flows[flow + DIRECTION]! >>> 8 !== DIRECTION_FORWARD) continue;
    let same = true;
    for (let word = 0; word < 4; word++) same &&= flows[flow + word] === key[word];
    if (same) client++;
    if (flows[flow + SERVICE_PORT] === servicePort) service++;
  }
  return client | (service << 16);
}

/**
 * What is set when a flow is established: nothing, or FLOW_EXCESS where its client or its Service port already holds
 * its share of the key's two buckets and half of their slots are held: the flow goes on all the same, but a newcomer
 * that finds no other slot may take its place.
 */
export function flowShare(log: Log, maps: Maps, key: Uint32Array, servicePort: number, now: number): number {
  const hash = flowHash(maps, key);
  const first = hash.first & maps.bucketMask;
  const second = hash.second & maps.bucketMask;
  if (flowHeld(maps, first, now) + flowHeld(maps, second, now) < FLOW_SLOTS) return 0;
  let holders = flowHolders(maps, first, key, servicePort, now);
  if (second !== first) holders += flowHolders(maps, second, key, servicePort, now);
  if ((holders & 0xffff) >= maps.shareClient) {
    mark(log, MARK_SHARE_CLIENT);
    return FLOW_EXCESS;
  }
  if (holders >>> 16 >= maps.shareService) {
    mark(log, MARK_SHARE_SERVICE);
    return FLOW_EXCESS;
  }
  return 0;
}
