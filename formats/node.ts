// SPDX-License-Identifier: Apache-2.0
/** Node facts (node.json): names, addresses and ranges of a node, and the role of each of its devices. */
import * as z from 'zod';

import { addressText, parseAddress, prefixContains, type Address, type Prefix } from '../core/address.ts';
import { fail, ok, type Result } from '../core/result.ts';

import { readText, type InputSource } from './input.ts';
import { addressShape, checkShape, prefixShape } from './shape.ts';
import { parseDocuments } from './yaml.ts';

const FILE_BYTES_MAX = 16 * 1024 * 1024;

const ROLES = ['pod', 'uplink', 'loopback', 'tunnel', 'ignored'] as const;

/** What a device is for the datapath: which hooks it has, if any. */
export type DeviceRole = (typeof ROLES)[number];

export type Device = {
  readonly ifindex: number;
  readonly name: string;
  /** As the kernel names it (`veth`, `vxlan`), else the hardware (`ether`, `loopback`); empty: not told. */
  readonly kind: string;
  readonly role: DeviceRole;
  /** Why it has this role, for people. */
  readonly roleReason: string;
  /** Bytes. */
  readonly mtu: number;
  /** Empty where the device has none. */
  readonly mac: string;
  /** Pods behind this device. */
  readonly podAddresses: readonly Address[];
};

export type NodeFacts = {
  readonly name: string;
  /** The first of each family is primary. */
  readonly addresses: readonly Address[];
  /** Addresses of this node's pods; empty: not told. */
  readonly podRanges: readonly Prefix[];
  /** Addresses of all pods; empty: not told. */
  readonly clusterRanges: readonly Prefix[];
  readonly devices: readonly Device[];
  /** The proxy of the node at the time of recording; empty: not told. */
  readonly proxy: string;
};

/** Undefined: a device that the facts do not know, such as that of a pod which was gone when they were taken. */
export function roleOf(facts: NodeFacts, ifindex: number): DeviceRole | undefined {
  return facts.devices.find((device) => device.ifindex === ifindex)?.role;
}

const linkShape = z.object({
  ifindex: z.int().min(1).max(0x7fffffff),
  ifname: z.string().min(1),
  mtu: z.int().min(0),
  address: z.string().default(''),
  link_type: z.string().default(''),
  kind: z.string().optional(),
  linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
  role: z.enum(ROLES).optional(),
});

/** An address with its prefix length, as on a device: the length is dropped, not the host part. */
const interfaceAddressShape = z.string().transform((text, context) => {
  const parsed = parseAddress(text.split('/', 1)[0] ?? '');
  if (parsed.ok) return parsed.value;
  context.addIssue({ code: 'custom', message: `not an address with its length: "${text}"` });
  return z.NEVER;
});

const hopShape = z.object({ dev: z.string().optional(), gateway: z.string().optional() });

const destinationShape = z.union([z.literal('default'), prefixShape], {
  error: (issue) => `neither "default" nor an address range: ${JSON.stringify(issue.input)}`,
});

const routeShape = hopShape.extend({
  dst: destinationShape,
  type: z.string().default('unicast'),
  nexthops: z.array(hopShape).optional(),
});

const schema = z.object({
  node: z.string().min(1),
  nodeIPs: z.array(addressShape).min(1),
  podCIDRs: z.array(prefixShape).default([]),
  clusterCIDRs: z.array(prefixShape).default([]),
  proxy: z.string().default(''),
  links: z.array(linkShape),
  addresses: z.array(z.object({ ifindex: z.int(), addr: z.array(interfaceAddressShape) })).default([]),
  routes: z.array(routeShape).default([]),
  routes6: z.array(routeShape).default([]),
});

/** What a file may hold, for its JSON Schema. */
export const nodeFactsShape: z.ZodType = schema;

type Facts = z.output<typeof schema>;
type Link = z.output<typeof linkShape>;

/** A file of another shape is a failure of kind `input` that names the line and the field. */
export function readNodeFacts(source: InputSource): Result<NodeFacts> {
  const file = typeof source === 'string' ? source : source.name;
  const text = readText(source, FILE_BYTES_MAX);
  if (!text.ok) return text;
  const { documents, failures } = parseDocuments(file, text.value);
  const [failure] = failures;
  if (failure !== undefined) {
    const message = `not the facts of a node: ${failure.message}`;
    return {
      ok: false,
      error: {
        ...failure,
        message,
        remedy: failure.remedy === '' ? 'docs/schema/node-facts.schema.json says what they hold' : failure.remedy,
      },
    };
  }
  const [document] = documents;
  if (document === undefined) return fail('input', `${file} offset 0`, 'the file is empty');
  const checked = checkShape(file, schema, document.value, document.lineOf);
  if (!checked.ok) return checked;
  const facts = checked.value;
  for (const [index, link] of facts.links.entries()) {
    const twin = facts.links.findIndex((other) => other.ifindex === link.ifindex);
    if (twin === index) continue;
    const line = document.lineOf(['links', index, 'ifindex']);
    return fail('input', `${file} line ${line}`, `links[${index}].ifindex: ${link.ifindex} is links[${twin}] as well`);
  }
  return ok(nodeFrom(facts));
}

function nodeFrom(facts: Facts): NodeFacts {
  const routes = [...facts.routes, ...facts.routes6].flatMap(hopsOf);
  const own = new Set(facts.addresses.flatMap((entry) => entry.addr.map(addressText)));
  return {
    name: facts.node,
    addresses: facts.nodeIPs,
    podRanges: facts.podCIDRs,
    clusterRanges: facts.clusterCIDRs,
    devices: facts.links.map((link) => deviceFrom(link, facts, routes, own)),
    proxy: facts.proxy,
  };
}

/** One way to one destination. */
type Hop = { readonly to: Prefix | 'default'; readonly device: string | undefined; readonly hasGateway: boolean };

function hopsOf(route: z.output<typeof routeShape>): readonly Hop[] {
  if (route.type !== 'unicast') return [];
  const hops = route.nexthops ?? [route];
  return hops.map(({ dev, gateway }) => ({ to: route.dst, device: dev, hasGateway: gateway !== undefined }));
}

function deviceFrom(link: Link, facts: Facts, routes: readonly Hop[], own: ReadonlySet<string>): Device {
  const hops = routes.filter(({ device }) => device === link.ifname);
  const kind = link.kind ?? link.linkinfo?.info_kind ?? link.link_type;
  const podAddresses = podAddressesBehind(hops, facts, own);
  const { role, why } = roleFrom(link, kind, facts, hops, podAddresses);
  const mac = link.address === '00:00:00:00:00:00' ? '' : link.address.toLowerCase();
  return { ifindex: link.ifindex, name: link.ifname, kind, role, roleReason: why, mtu: link.mtu, mac, podAddresses };
}

/** Routes to one address without a gateway; the gateway address itself, which every pod device carries, is the node's own. */
function podAddressesBehind(hops: readonly Hop[], facts: Facts, own: ReadonlySet<string>): Address[] {
  const ranges = facts.podCIDRs.length > 0 ? facts.podCIDRs : facts.clusterCIDRs;
  return hops.flatMap(({ to, hasGateway }) => {
    if (to === 'default' || to.length !== 128 || hasGateway || own.has(addressText(to.address))) return [];
    return ranges.some((range) => prefixContains(range, to.address)) ? [to.address] : [];
  });
}

const TUNNEL_KINDS: ReadonlySet<string> = new Set([
  'geneve',
  'gre',
  'gretap',
  'ip6gre',
  'ip6gretap',
  'ip6tnl',
  'ipip',
  'sit',
  'tun',
  'vxlan',
  'wireguard',
]);

/** The first rule that matches. */
function roleFrom(
  link: Link,
  kind: string,
  facts: Facts,
  hops: readonly Hop[],
  podAddresses: readonly Address[],
): { readonly role: DeviceRole; readonly why: string } {
  if (link.role !== undefined) return { role: link.role, why: 'given by the file' };
  if (link.link_type === 'loopback' || kind === 'loopback') return { role: 'loopback', why: 'loopback device' };
  const [pod] = podAddresses;
  if (pod !== undefined) return { role: 'pod', why: `route to pod ${addressText(pod)}` };
  const address = addressesOn(link, facts).find((text) => facts.nodeIPs.some((ip) => addressText(ip) === text));
  if (address !== undefined) return { role: 'uplink', why: `has node address ${address}` };
  if (hops.some(({ to }) => to === 'default')) return { role: 'uplink', why: 'default route' };
  if (TUNNEL_KINDS.has(kind)) return { role: 'tunnel', why: `${kind} device` };
  if (hops.some((hop) => leadsToOtherNodes(hop, facts)))
    return { role: 'uplink', why: 'route to pods of another node' };
  return { role: 'ignored', why: 'no pod behind it, no node address, no route to other nodes' };
}

function addressesOn(link: Link, facts: Facts): string[] {
  return facts.addresses.filter(({ ifindex }) => ifindex === link.ifindex).flatMap(({ addr }) => addr.map(addressText));
}

function leadsToOtherNodes({ to, hasGateway }: Hop, facts: Facts): boolean {
  if (to === 'default' || !hasGateway) return false;
  const isInside = (range: Prefix): boolean => prefixContains(range, to.address);
  return facts.clusterCIDRs.some(isInside) && !facts.podCIDRs.some(isInside);
}
