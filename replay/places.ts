// SPDX-License-Identifier: Apache-2.0
/** Where a captured frame was: on which device of the node, in which direction, and which hook meets it there. */
import { addressText, isIPv4, prefixContains, type Address, type Prefix } from '../core/address.ts';
import type { PacketHook } from '../core/twin.ts';
import type { CaptureRecord } from '../formats/capture.ts';
import type { InputSource } from '../formats/input.ts';
import {
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  LINK_ETHERNET,
  newLinkHeader,
  parseLink,
  type LinkHeader,
} from '../formats/link.ts';
import type { Device, DeviceRole, NodeFacts } from '../formats/node.ts';
import { openCapture } from '../formats/open.ts';
import { readHeaders, type Headers, type Tuple } from './headers.ts';

/** Seen from the node: a packet from a pod is incoming on the pod's device. */
export type Direction = 'incoming' | 'outgoing';

export type Place = {
  /** `name` of the device, else `ifindex 17`; equal for equal devices. */
  readonly device: string;
  readonly role: DeviceRole | 'unknown';
  readonly direction: Direction;
  /** Bytes. */
  readonly mtu: number;
  /** On another node than the one that is replayed: no hook of ours is there. */
  readonly isElsewhere?: true;
};

/** Finds places; `inferred` are the devices whose role was found out from what was captured on them. */
export type Places = {
  readonly of: (record: CaptureRecord, link: LinkHeader, tuple: Tuple | undefined) => Place | undefined;
  readonly inferred: readonly { readonly ifindex: number; readonly role: DeviceRole; readonly why: string }[];
};

const MTU_DEFAULT = 1500;
const LOOPBACK_MTU = 65_536;

/** Distinct addresses that are remembered of a device that nobody has told us about; a pod has one of each family. */
const ADDRESSES_MAX = 8;

/** Addresses behind a device, by their text. */
type Seen = Map<string, Address>;

/** Reads the captures once to learn about devices that the facts don't know, such as those of pods that are gone. */
export function findPlaces(facts: NodeFacts, sources: readonly InputSource[]): Places {
  const known = new Map(facts.devices.map((device) => [device.ifindex, device]));
  const seen = new Map<number, Seen>();
  for (const source of sources) surveyCapture(source, known, seen);
  const inferred = [...seen]
    .map(([ifindex, addresses]) => inferRole(ifindex, [...addresses.values()], facts))
    .filter((found) => found !== undefined)
    .sort((left, right) => left.ifindex - right.ifindex);
  const roles = new Map(inferred.map(({ ifindex, role }) => [ifindex, role]));
  const byIndex = new Map<number, Sides>();
  const byMac = new Map(facts.devices.filter(({ mac }) => mac !== '').map((device) => [device.mac, device]));
  return {
    inferred,
    of: (record, link, tuple) => {
      const { direction, interfaceIndex } = link;
      if (interfaceIndex !== undefined) {
        if (direction === undefined) return undefined;
        const sides = byIndex.get(interfaceIndex) ?? sidesOf(interfaceIndex, known, roles);
        byIndex.set(interfaceIndex, sides);
        return sides[direction];
      }
      return (
        (record.linkType === LINK_ETHERNET ? placeByMac(record, byMac) : undefined) ??
        placeByAddress(link, tuple, facts)
      );
    },
  };
}

/** The same places as seen from another node. */
export function placesElsewhere(facts: NodeFacts, sources: readonly InputSource[]): Places {
  const places = findPlaces(facts, sources);
  const seen = new Map<Place, Place>();
  return {
    inferred: places.inferred,
    of: (record, link, tuple) => {
      const place = places.of(record, link, tuple);
      if (place === undefined) return undefined;
      const known = seen.get(place) ?? { ...place, device: `${facts.name} ${place.device}`, isElsewhere: true };
      seen.set(place, known);
      return known;
    },
  };
}

/** The hook that meets a packet there; undefined: none does. */
export function hookAt(place: Place): PacketHook | undefined {
  if (place.role !== 'pod' || place.isElsewhere) return undefined;
  return place.direction === 'incoming' ? 'from-pod' : 'to-pod';
}

/** Both directions of a device, made once. */
type Sides = { readonly incoming: Place; readonly outgoing: Place };

function sidesOf(ifindex: number, known: ReadonlyMap<number, Device>, roles: ReadonlyMap<number, DeviceRole>): Sides {
  const role = roles.get(ifindex) ?? 'unknown';
  const {
    name: device,
    role: own,
    mtu,
  } = known.get(ifindex) ?? {
    name: `ifindex ${ifindex}`,
    role,
    mtu: role === 'loopback' ? LOOPBACK_MTU : MTU_DEFAULT,
  };
  return {
    incoming: { device, role: own, direction: 'incoming', mtu },
    outgoing: { device, role: own, direction: 'outgoing', mtu },
  };
}

/** A frame carries the address of the node's own end: as its source on the way out, else as its destination. */
function placeByMac(record: CaptureRecord, byMac: ReadonlyMap<string, Device>): Place | undefined {
  const macAt = (at: number): string =>
    [...record.bytes.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  const into = byMac.get(macAt(0));
  if (into !== undefined) return { device: into.name, role: into.role, direction: 'incoming', mtu: into.mtu };
  const out = byMac.get(macAt(6));
  return out && { device: out.name, role: out.role, direction: 'outgoing', mtu: out.mtu };
}

/** Without device and MAC the pods' own addresses tell: only their devices carry what comes from them or ends there. */
function placeByAddress(link: LinkHeader, tuple: Tuple | undefined, facts: NodeFacts): Place | undefined {
  if (tuple === undefined) return undefined;
  const { source, destination } = tuple;
  const ranges = rangesOf(facts);
  const pod = (direction: Direction, address: Address): Place => {
    return { device: `pod ${addressText(address)}`, role: 'pod', direction, mtu: MTU_DEFAULT };
  };
  if (link.direction !== 'outgoing' && isWithin(ranges, source)) return pod('incoming', source);
  if (link.direction !== 'incoming' && isWithin(ranges, destination)) return pod('outgoing', destination);
  return { device: 'unnamed', role: 'uplink', direction: link.direction ?? 'incoming', mtu: MTU_DEFAULT };
}

/** Without ranges of its own every address of a pod may be one of this node's. */
function rangesOf(facts: NodeFacts): readonly Prefix[] {
  return facts.podRanges.length > 0 ? facts.podRanges : facts.clusterRanges;
}

export function isWithin(ranges: readonly Prefix[], address: Address): boolean {
  return ranges.some((range) => prefixContains(range, address));
}

/** Gathers sources of what came in and destinations of what went out on devices without facts. */
function surveyCapture(source: InputSource, known: ReadonlyMap<number, Device>, seen: Map<number, Seen>): void {
  const opened = openCapture(source);
  if (!opened.ok) return;
  const capture = opened.value;
  const link = newLinkHeader();
  for (let record = capture.next(); record !== undefined; record = capture.next()) {
    if (parseLink(record.linkType, record.buffer, record.start, record.capturedLength, link) !== undefined) continue;
    const { interfaceIndex } = link;
    if (interfaceIndex === undefined || known.has(interfaceIndex)) continue;
    const headers = isIp(link) ? headersOf(record, link) : undefined;
    if (headers === undefined) continue;
    const address = link.direction === 'incoming' ? headers.source : headers.destination;
    const addresses: Seen = seen.get(interfaceIndex) ?? new Map();
    seen.set(interfaceIndex, addresses);
    if (!isForNobody(address) && addresses.size < ADDRESSES_MAX) addresses.set(addressText(address), address);
  }
  capture.close();
}

/** What the headers of a frame say. */
export function headersOf(record: CaptureRecord, { networkOffset }: LinkHeader): Headers | undefined {
  return readHeaders(record.buffer, record.start + networkOffset, record.start + record.capturedLength);
}

export function isIp({ protocol }: LinkHeader): boolean {
  return protocol === ETHERTYPE_IPV4 || protocol === ETHERTYPE_IPV6;
}

/** Multicast, broadcast, link-local and unspecified addresses: every device carries them. */
export function isForNobody(address: Address): boolean {
  if (isIPv4(address)) {
    const { d: word } = address;
    return word === 0 || word >>> 28 === 14 || word === 0xffffffff || word >>> 16 === 0xa9fe;
  }
  const top = address.a >>> 16;
  const isUnspecified = (address.a | address.b | address.c | address.d) === 0;
  return isUnspecified || top >>> 8 === 0xff || (top & 0xffc0) === 0xfe80;
}

function inferRole(
  ifindex: number,
  addresses: readonly Address[],
  facts: NodeFacts,
): Places['inferred'][number] | undefined {
  if (addresses.length === 0) return undefined;
  const ranges = rangesOf(facts);
  const countIPv4 = addresses.filter(isIPv4).length;
  const isOne = countIPv4 <= 1 && addresses.length - countIPv4 <= 1;
  if (isOne && addresses.every((address) => isWithin(ranges, address))) {
    return { ifindex, role: 'pod', why: `only packets from and to pod ${addresses.map(addressText).join(', ')}` };
  }
  if (addresses.every(isLoopback)) return { ifindex, role: 'loopback', why: 'only loopback addresses' };
  // Where devices are told, one that is missing and carries more than a pod's packets stays unexplained.
  if (facts.devices.length > 0) return undefined;
  return { ifindex, role: 'uplink', why: `packets of ${addresses.length} or more addresses` };
}

function isLoopback(address: Address): boolean {
  return isIPv4(address) ? address.d >>> 24 === 127 : (address.a | address.b | address.c) === 0 && address.d === 1;
}
