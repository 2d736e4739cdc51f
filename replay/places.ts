// SPDX-License-Identifier: Apache-2.0
/** Where a captured frame was: on which device of the node, in which direction, and which hook meets it there. */
import { addressEquals, addressText, isIPv4, prefixContains, type Address, type Prefix } from '../core/address.ts';
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

export type Places = {
  readonly of: (record: CaptureRecord, link: LinkHeader, tuple: Tuple | undefined) => Place | undefined;
  /** Devices whose role was found out from what was captured on them; empty until one is met that the facts don't know. */
  readonly inferred: readonly Inferred[];
};

/** `device`: its ifindex, or its name in a capture that tells no index. */
type Inferred = { readonly device: number | string; readonly role: DeviceRole; readonly why: string };

const MTU_DEFAULT = 1500;
const LOOPBACK_MTU = 65_536;

/** Distinct addresses that are remembered of a device that nobody has told us about; a pod has one of each family. */
const ADDRESSES_MAX = 8;

/** What all captures tell of devices that the facts don't know. */
type Survey = { readonly inferred: readonly Inferred[]; readonly areNames: boolean };

/** Finds places; the captures are read once more where they show devices that the facts don't know. */
export function findPlaces(facts: NodeFacts, sources: readonly InputSource[]): Places {
  const sides = new Map<number | string, Sides>();
  for (const device of facts.devices) {
    const told = sidesOf(device, device.role);
    sides.set(device.ifindex, told).set(device.name, told);
  }
  const byMac = sidesByMac(facts, sides);
  let survey: Survey | undefined;
  const surveyed = (): Survey => {
    if (survey !== undefined) return survey;
    survey = surveyAll(facts, sources, sides, byMac);
    for (const { device, role } of survey.inferred) sides.set(device, sidesOf(device, role));
    return survey;
  };
  const unknownSides = (device: number | string): Sides => {
    surveyed();
    const found = sides.get(device) ?? sidesOf(device, 'unknown');
    sides.set(device, found);
    return found;
  };
  return {
    get inferred() {
      return survey?.inferred ?? [];
    },
    of: (record, link, tuple) => {
      const { direction, interfaceIndex } = link;
      if (interfaceIndex !== undefined) {
        return direction && sideOf(sides.get(interfaceIndex) ?? unknownSides(interfaceIndex), direction);
      }
      const { interfaceName } = record;
      const byName = sides.get(interfaceName);
      if (byName === undefined && !(isDeviceName(interfaceName) && surveyed().areNames)) {
        return placeByMac(record, byMac) ?? placeByAddress(record, link, tuple, facts);
      }
      const found = byName ?? unknownSides(interfaceName);
      return sideOf(found, directionAt(found, record, link, tuple, facts));
    },
  };
}

/** Such as those of pods that are gone. `sides`: of the devices that the facts know. */
function surveyAll(
  facts: NodeFacts,
  sources: readonly InputSource[],
  sides: ReadonlyMap<number | string, Sides>,
  byMac: ReadonlyMap<number, Sides>,
): Survey {
  const seen: Seen = new Map();
  const names = new Set<string>();
  for (const source of sources) surveyCapture(source, { sides, byMac, names, seen });
  const areNames = areDeviceNames(names, facts);
  const inferred = [...seen]
    .map(([device, traffic]) => inferRole(device, addressesOf(traffic, facts), facts))
    .filter((found) => found !== undefined)
    .filter(({ device, role }) => typeof device === 'number' || areNames || role !== 'uplink')
    .sort((left, right) => compareDevices(left.device, right.device));
  return { inferred, areNames };
}

/** The same places as seen from another node. */
export function placesElsewhere(facts: NodeFacts, sources: readonly InputSource[]): Places {
  const places = findPlaces(facts, sources);
  const seen = new Map<Place, Place>();
  return {
    get inferred() {
      return places.inferred;
    },
    of: (record, link, tuple) => {
      const place = places.of(record, link, tuple);
      if (place === undefined) return undefined;
      const known = seen.get(place) ?? { ...place, device: `${facts.name} ${place.device}`, isElsewhere: true };
      seen.set(place, known);
      return known;
    },
  };
}

/** Some give all of their devices one address, which then tells none. */
function sidesByMac({ devices }: NodeFacts, sides: ReadonlyMap<number | string, Sides>): ReadonlyMap<number, Sides> {
  const known = devices.map(({ name }) => sides.get(name)).filter((told) => told !== undefined);
  const all = known.filter(({ mac }) => mac !== NO_MAC);
  const counts = new Map<number, number>();
  for (const { mac } of all) counts.set(mac, (counts.get(mac) ?? 0) + 1);
  return new Map(all.filter(({ mac }) => counts.get(mac) === 1).map((told) => [told.mac, told]));
}

/** Indices in their order, then names. */
function compareDevices(left: number | string, right: number | string): number {
  if (typeof left === 'number' && typeof right === 'number') return left - right;
  if (typeof left !== typeof right) return typeof left === 'number' ? -1 : 1;
  return left < right ? -1 : 1;
}

/** Libpcap's device of all devices tells none. */
function isDeviceName(name: string): boolean {
  return name !== '' && name !== 'any';
}

/** Whether names of a capture are those of the node's devices; `sshdump` and the like are whatever a tool made of them. */
function areDeviceNames(names: ReadonlySet<string>, { devices }: NodeFacts): boolean {
  return devices.length === 0 ? names.size > 1 : devices.some(({ name }) => names.has(name));
}

/** The hook that meets a packet there; undefined: none does. */
export function hookAt(place: Place): PacketHook | undefined {
  if (place.role !== 'pod' || place.isElsewhere) return undefined;
  return place.direction === 'incoming' ? 'from-pod' : 'to-pod';
}

/** Both directions of a device, made once, and what tells them apart where the capture does not. */
type Sides = { readonly [direction in Direction]: Place } & {
  /** Of the node's own end, as a number of 48 bits. */
  readonly mac: number;
  readonly podAddresses: readonly Address[];
};

/** Written out: a name that is only known when it runs makes V8 search for it. */
function sideOf({ incoming, outgoing }: Sides, direction: Direction): Place {
  return direction === 'incoming' ? incoming : outgoing;
}

const NO_MAC = -1;
/** Tunnels have an IP address in its place. */
const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;
const MAC_BYTES = 6;

/** `found`: of the facts, or what a capture calls a device that they don't know. */
function sidesOf(found: Device | number | string, role: Place['role']): Sides {
  const own = typeof found === 'object' ? found : undefined;
  const device = typeof found === 'object' ? found.name : typeof found === 'number' ? `ifindex ${found}` : found;
  const mtu = own?.mtu ?? (role === 'loopback' ? LOOPBACK_MTU : MTU_DEFAULT);
  return {
    incoming: { device, role, direction: 'incoming', mtu },
    outgoing: { device, role, direction: 'outgoing', mtu },
    mac: own !== undefined && MAC.test(own.mac) ? parseInt(own.mac.replaceAll(':', ''), 16) : NO_MAC,
    podAddresses: own?.podAddresses ?? [],
  };
}

/** What the capture says, else the MAC of the node's end, else whose addresses they are. */
function directionAt(
  sides: Sides,
  record: CaptureRecord,
  link: LinkHeader,
  tuple: Tuple | undefined,
  facts: NodeFacts,
): Direction {
  const told = record.direction ?? link.direction;
  if (told !== undefined) return told;
  if (record.linkType === LINK_ETHERNET && sides.mac !== NO_MAC) {
    if (macAt(record, 0) === sides.mac) return 'incoming';
    if (macAt(record, MAC_BYTES) === sides.mac) return 'outgoing';
  }
  return tuple === undefined ? 'incoming' : directionByAddress(sides, tuple, facts);
}

function macAt({ buffer, start }: CaptureRecord, offset: number): number {
  let mac = 0;
  for (let at = start + offset; at < start + offset + MAC_BYTES; at += 1) mac = mac * 256 + (buffer[at] ?? 0);
  return mac;
}

/** A pod's packets come in by its device; what the node or its pods send goes out by all others. */
function directionByAddress(
  { incoming: { role }, podAddresses }: Sides,
  { destination, source }: Tuple,
  facts: NodeFacts,
): Direction {
  const isOneOf = (list: readonly Address[], address: Address): boolean =>
    list.some((one) => addressEquals(one, address));
  if (role !== 'pod') {
    return isOneOf(facts.addresses, source) || isWithin(facts.podRanges, source) ? 'outgoing' : 'incoming';
  }
  if (isOneOf(podAddresses, source)) return 'incoming';
  if (isOneOf(podAddresses, destination)) return 'outgoing';
  return isWithin(rangesOf(facts), source) ? 'incoming' : 'outgoing';
}

/** A frame carries the address of the node's own end: as its source on the way out, else as its destination. */
function placeByMac(record: CaptureRecord, byMac: ReadonlyMap<number, Sides>): Place | undefined {
  if (record.linkType !== LINK_ETHERNET) return undefined;
  return byMac.get(macAt(record, 0))?.incoming ?? byMac.get(macAt(record, MAC_BYTES))?.outgoing;
}

/** Without device and MAC the pods' own addresses tell: only their devices carry what comes from them or ends there. */
function placeByAddress(
  record: CaptureRecord,
  link: LinkHeader,
  tuple: Tuple | undefined,
  facts: NodeFacts,
): Place | undefined {
  if (tuple === undefined) return undefined;
  const { source, destination } = tuple;
  const ranges = rangesOf(facts);
  const pod = (direction: Direction, address: Address): Place => {
    return { device: `pod ${addressText(address)}`, role: 'pod', direction, mtu: MTU_DEFAULT };
  };
  const direction = link.direction ?? record.direction;
  if (direction !== 'outgoing' && isWithin(ranges, source)) return pod('incoming', source);
  if (direction !== 'incoming' && isWithin(ranges, destination)) return pod('outgoing', destination);
  return { device: 'unnamed', role: 'uplink', direction: direction ?? 'incoming', mtu: MTU_DEFAULT };
}

/** Without ranges of its own every address of a pod may be one of this node's. */
function rangesOf(facts: NodeFacts): readonly Prefix[] {
  return facts.podRanges.length > 0 ? facts.podRanges : facts.clusterRanges;
}

export function isWithin(ranges: readonly Prefix[], address: Address): boolean {
  return ranges.some((range) => prefixContains(range, address));
}

/** What was captured on devices without facts, by index or name. */
type Seen = Map<number | string, Traffic>;

type Traffic = {
  /** By their text: sources of what came in and destinations of what went out, or both where no direction is told. */
  readonly addresses: Map<string, Address>;
  /** Where no direction is told, those that every packet of a family has at one of its ends: a pod is one of them. */
  readonly shared: { IPv4: readonly Address[] | undefined; IPv6: readonly Address[] | undefined };
};

/** Gathers addresses on devices without facts, and all names of devices. */
function surveyCapture(
  source: InputSource,
  into: {
    readonly sides: ReadonlyMap<number | string, Sides>;
    readonly byMac: ReadonlyMap<number, Sides>;
    readonly names: Set<string>;
    readonly seen: Seen;
  },
): void {
  const { byMac, names, seen, sides } = into;
  const opened = openCapture(source);
  if (!opened.ok) return;
  const capture = opened.value;
  const link = newLinkHeader();
  for (let record = capture.next(); record !== undefined; record = capture.next()) {
    if (parseLink(record.linkType, record.buffer, record.start, record.capturedLength, link) !== undefined) continue;
    const device = link.interfaceIndex ?? record.interfaceName;
    if (typeof device === 'string') {
      if (!isDeviceName(device)) continue;
      names.add(device);
    }
    if (sides.has(device)) continue;
    if (link.interfaceIndex === undefined && placeByMac(record, byMac) !== undefined) continue;
    const headers = isIp(link) ? headersOf(record, link) : undefined;
    if (headers === undefined) continue;
    const traffic = seen.get(device) ?? { addresses: new Map(), shared: { IPv4: undefined, IPv6: undefined } };
    seen.set(device, traffic);
    noteTraffic(traffic, headers, link.direction ?? record.direction);
  }
  capture.close();
}

function noteTraffic({ addresses, shared }: Traffic, headers: Headers, direction: Direction | undefined): void {
  const { destination, family, source } = headers;
  const note = (address: Address): void => {
    if (!isForNobody(address) && addresses.size < ADDRESSES_MAX) addresses.set(addressText(address), address);
  };
  if (direction !== 'outgoing') note(source);
  if (direction !== 'incoming') note(destination);
  if (direction !== undefined || isForNobody(source) || isForNobody(destination)) return;
  shared[family] = (shared[family] ?? [source, destination]).filter(
    (address) => addressEquals(address, source) || addressEquals(address, destination),
  );
}

/** Those behind the device: where no direction was told the one that all packets share, if it is one. */
function addressesOf({ addresses, shared }: Traffic, facts: NodeFacts): readonly Address[] {
  const all = [...addresses.values()];
  return (['IPv4', 'IPv6'] as const).flatMap((family) => {
    const own = all.filter((address) => isIPv4(address) === (family === 'IPv4'));
    const inside = shared[family]?.filter((address) => isWithin(rangesOf(facts), address)) ?? [];
    const [first] = inside;
    return first !== undefined && inside.every((address) => addressEquals(address, first)) ? [first] : own;
  });
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

function inferRole(device: number | string, addresses: readonly Address[], facts: NodeFacts): Inferred | undefined {
  if (addresses.length === 0) return undefined;
  const ranges = rangesOf(facts);
  const countIPv4 = addresses.filter(isIPv4).length;
  const isOne = countIPv4 <= 1 && addresses.length - countIPv4 <= 1;
  if (isOne && addresses.every((address) => isWithin(ranges, address))) {
    return { device, role: 'pod', why: `only packets from and to pod ${addresses.map(addressText).join(', ')}` };
  }
  if (addresses.every(isLoopback)) return { device, role: 'loopback', why: 'only loopback addresses' };
  // Where devices are told, one that is missing and carries more than a pod's packets stays unexplained.
  if (facts.devices.length > 0) return undefined;
  return { device, role: 'uplink', why: `packets of ${addresses.length} or more addresses` };
}

function isLoopback(address: Address): boolean {
  return isIPv4(address) ? address.d >>> 24 === 127 : (address.a | address.b | address.c) === 0 && address.d === 1;
}
