// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import type { CaptureRecord } from '../../formats/capture.ts';
import { OwnedRecord } from '../../formats/capture.ts';
import { LINK_ETHERNET, LINK_LINUX_COOKED, LINK_RAW_IP, newLinkHeader, parseLink } from '../../formats/link.ts';
import { readHeaders } from '../../replay/headers.ts';
import { findPlaces, hookAt, type Place } from '../../replay/places.ts';
import { tcp } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_V6,
  facts,
  inferredOf,
  LOCAL,
  LOCAL_V6,
  on,
  REMOTE,
  type Frame,
} from './recording.ts';

const fromPod = tcp({ from: '10.244.1.30:1', to: `${REMOTE}:2`, flags: '.' });
const toPod = tcp({ from: `${REMOTE}:2`, to: '10.244.1.30:1', flags: '.' });
const between = tcp({ from: `${REMOTE}:2`, to: '10.244.3.3:1', flags: '.' });
const toOther = tcp({ from: `${REMOTE}:2`, to: '10.244.1.31:1', flags: '.' });

function rolesOf(frames: readonly Frame[], known = facts): readonly string[] {
  return inferredOf(known, captureOf(frames)).map(({ device, role }) => `${device} ${role}`);
}

describe('a device that the facts do not know', () => {
  test.each([
    [
      'with packets from and to one pod is that pod’s',
      [on(1, 40, 'incoming', fromPod), on(2, 40, 'outgoing', toPod)],
      ['40 pod'],
    ],
    ['with packets to two pods stays unknown', [on(1, 40, 'outgoing', toPod), on(2, 40, 'outgoing', toOther)], []],
    ['with packets of other nodes stays unknown', [on(1, 40, 'incoming', between)], []],
    [
      'with loopback addresses is a loopback',
      [on(1, 40, 'incoming', tcp({ from: '127.0.0.1:1', to: '127.0.0.1:2', flags: '.' }))],
      ['40 loopback'],
    ],
    ['is not inferred where the facts have it', [on(1, 5, 'incoming', fromPod)], []],
  ])('%s', (_what, frames, roles) => {
    expect(rolesOf(frames)).toEqual(roles);
  });

  test('is an uplink where no facts are given and it carries many addresses', () => {
    const frames = [on(1, 40, 'incoming', between), on(2, 41, 'incoming', fromPod)];
    expect(rolesOf(frames, { ...facts, devices: [] })).toEqual(['40 uplink', '41 pod']);
  });
});

/** Where a packet of a capture without device numbers was, by its link layer and direction. */
function placeOf(linkType: number, header: readonly number[], packet: Uint8Array): Place | undefined {
  const bytes = Uint8Array.from([...header, ...packet]);
  const record: CaptureRecord = Object.assign(new OwnedRecord(linkType), {
    buffer: bytes,
    capturedLength: bytes.length,
  });
  const link = newLinkHeader();
  expect(parseLink(linkType, bytes, 0, bytes.length, link)).toBeUndefined();
  return findPlaces(facts, []).of(record, link, readHeaders(packet));
}

const clientMac = [0x0a, 0, 0, 0, 0, 5];
const podMac = [0x0e, 0, 0, 0, 0, 5];
const ipv4 = [8, 0];
const clientV6 = tcp({ from: `[${CLIENT_V6}]:1`, to: `[${LOCAL_V6}]:2`, flags: '.' });
const client = tcp({ from: `${CLIENT}:1`, to: `${LOCAL}:2`, flags: '.' });
const toClient = tcp({ from: `${REMOTE}:1`, to: `${CLIENT}:2`, flags: '.' });

describe('the place of a packet', () => {
  test.each([
    [
      'an Ethernet frame to the node’s end of a pod’s device',
      LINK_ETHERNET,
      [...clientMac, ...podMac, ...ipv4],
      client,
      'from-pod',
      'veth5',
    ],
    [
      'an Ethernet frame from the node’s end',
      LINK_ETHERNET,
      [...podMac, ...clientMac, ...ipv4],
      client,
      'to-pod',
      'veth5',
    ],
    [
      'a frame between strangers, by its addresses',
      LINK_ETHERNET,
      [...podMac, ...podMac, ...ipv4],
      toClient,
      'to-pod',
      `pod ${CLIENT}`,
    ],
    ['a raw packet from a pod', LINK_RAW_IP, [], client, 'from-pod', `pod ${CLIENT}`],
    ['a raw IPv6 packet from a pod', LINK_RAW_IP, [], clientV6, 'from-pod', `pod ${CLIENT_V6}`],
    ['a raw packet between other nodes', LINK_RAW_IP, [], between, undefined, 'unnamed'],
    [
      'a cooked packet to a pod',
      LINK_LINUX_COOKED,
      [0, 4, 0, 1, 0, 6, ...podMac, 0, 0, ...ipv4],
      client,
      'to-pod',
      `pod ${LOCAL}`,
    ],
  ] as const)('%s', (_what, linkType, header, packet, hook, device) => {
    const place = placeOf(linkType, header, packet);
    expect(place && hookAt(place)).toBe(hook);
    expect(place?.device).toBe(device);
  });
});
