// SPDX-License-Identifier: Apache-2.0
/** What a lab is asked to be: nodes, pods and their servers, checked before anything is made. */
import {
  address,
  addressText,
  isIPv4,
  parseAddress,
  parsePrefix,
  prefixContains,
  type Prefix,
} from '../core/address.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';

export type ServerSpec = {
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP';
  /** Of UDP each datagram is answered with the identity, in whatever behaviour. `identity` says who it is and closes; `hold` says who it is, then echoes until the client closes. */
  readonly behaviour: 'identity' | 'hold';
};

export type NodeSpec = {
  readonly name: string;
  readonly address: string;
  /** IPv4, at most /30; the first address is the pods' gateway. */
  readonly podRange: string;
  readonly addressIPv6?: string;
  readonly podRangeIPv6?: string;
};

export type PodSpec = {
  readonly name: string;
  /** Name of the node it runs on. */
  readonly node: string;
  /** IPv4, in the node's pod range. */
  readonly address: string;
  readonly addressIPv6?: string;
  readonly servers?: readonly ServerSpec[];
};

export type LabSpec = {
  /** 1 to 16 lower-case letters or digits; no dash, so that names below it stay unambiguous. */
  readonly name: string;
  readonly nodes: readonly NodeSpec[];
  readonly pods: readonly PodSpec[];
  /** rp_filter of every node: 2 (loose) is what systemd's distributions set, 1 drops what returns another way. */
  readonly reversePathFilter?: 0 | 1 | 2;
  /**
   * Who writes the checksums of what pods send: `device` (partial in the skb, as any local sender's; the default) or
   * `stack` (complete before the node sees it, as from a physical device).
   */
  readonly podChecksums?: 'device' | 'stack';
};

/** Names that the lab itself uses beside those of nodes and pods. */
const reservedNames: readonly string[] = ['fabric', 'harness', 'host'];

/** The rule for the name of a lab, which also keeps every path built from it below its own directory. */
export function checkLabName(name: string): Result<string> {
  if (/^[a-z0-9]{1,16}$/.test(name)) return ok(name);
  return fail('usage', `lab "${name}"`, 'not a name', 'use 1 to 16 lower-case letters and digits');
}

function range(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert(parsed.ok, `${text} was checked before`);
  return parsed.value;
}

/** First usable address of a range: the pods' gateway, or the fabric's. */
export function firstAddress(text: string): string {
  const { a, b, c, d } = range(text).address;
  return addressText(address(a, b, c, d + 1));
}

/** `10.88.0.11` to `10.88.0.0/24`, `fd00:88::11` to `fd00:88::/64`: all nodes of a lab share it. */
export function fabricRange(nodeAddress: string): string {
  const { address: base } = range(nodeAddress);
  if (isIPv4(base)) return `${addressText(address(base.a, base.b, base.c, base.d & 0xffffff00))}/24`;
  return `${addressText(address(base.a, base.b, 0, 0))}/64`;
}

function wrong(object: string, message: string): Result<never> {
  return fail('input', object, message);
}

function checkNames(spec: LabSpec): Result<null> {
  const seen = new Set<string>(reservedNames);
  for (const { name } of [...spec.nodes, ...spec.pods]) {
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return wrong(`"${name}"`, 'not a name of a node or pod');
    if (seen.has(name)) return wrong(`"${name}"`, 'is taken twice or reserved in this lab');
    seen.add(name);
  }
  return ok(null);
}

/** An address of the wanted family, inside `range` where one is given. */
function checkAddress(object: string, text: string, family: 'IPv4' | 'IPv6', range?: string): Result<null> {
  const parsed = parseAddress(text);
  if (!parsed.ok) return parsed;
  if (isIPv4(parsed.value) !== (family === 'IPv4')) return wrong(object, `${text} is not an ${family} address`);
  if (range === undefined) return ok(null);
  const prefix = parsePrefix(range);
  if (!prefix.ok) return prefix;
  return prefixContains(prefix.value, parsed.value) ? ok(null) : wrong(object, `${text} is not in ${range}`);
}

function checkNode(node: NodeSpec): Result<null> {
  const object = `node ${node.name}`;
  if (!parsePrefix(node.podRange).ok) return wrong(object, `podRange ${node.podRange} is not a range`);
  const own = checkAddress(object, node.address, 'IPv4');
  if (!own.ok || node.addressIPv6 === undefined) return own;
  if (node.podRangeIPv6 === undefined) return wrong(object, 'has addressIPv6 but no podRangeIPv6');
  if (!parsePrefix(node.podRangeIPv6).ok) return wrong(object, `podRangeIPv6 ${node.podRangeIPv6} is not a range`);
  return checkAddress(object, node.addressIPv6, 'IPv6');
}

function checkPod(pod: PodSpec, nodes: readonly NodeSpec[]): Result<null> {
  const object = `pod ${pod.name}`;
  const node = nodes.find((candidate) => candidate.name === pod.node);
  if (node === undefined) return wrong(object, `is on node ${pod.node}, which the lab does not have`);
  const own = checkAddress(object, pod.address, 'IPv4', node.podRange);
  if (!own.ok || pod.addressIPv6 === undefined) return own;
  if (node.podRangeIPv6 === undefined)
    return wrong(object, `has addressIPv6, but node ${node.name} has no podRangeIPv6`);
  return checkAddress(object, pod.addressIPv6, 'IPv6', node.podRangeIPv6);
}

/** One segment joins the nodes, so they share a range and a gateway; no address is given twice. */
function checkTogether(spec: LabSpec): Result<null> {
  const first = spec.nodes[0];
  if (first === undefined) return wrong(`lab ${spec.name}`, 'has no node');
  for (const node of spec.nodes) {
    const pairs = [
      [first.address, node.address],
      [first.addressIPv6, node.addressIPv6],
    ] as const;
    for (const [shared, own] of pairs) {
      const same =
        shared === undefined || own === undefined ? shared === own : fabricRange(shared) === fabricRange(own);
      if (!same) return wrong(`node ${node.name}`, `is not in one range with node ${first.name} (/24, /64)`);
    }
  }
  const gateways = spec.nodes.flatMap((node) =>
    [node.podRange, node.podRangeIPv6, fabricRange(node.address)].flatMap((text) =>
      text === undefined ? [] : [firstAddress(text)],
    ),
  );
  const seen = new Set(gateways);
  for (const { name, address: ipv4, addressIPv6 } of [...spec.nodes, ...spec.pods]) {
    for (const text of [ipv4, addressIPv6]) {
      if (text === undefined) continue;
      const canonical = addressText(range(text).address);
      if (seen.has(canonical)) return wrong(`"${name}"`, `${text} is taken already, or a gateway's`);
      seen.add(canonical);
    }
  }
  return ok(null);
}

/** The first thing that is wrong with a specification, or the specification. */
export function checkSpec(spec: LabSpec): Result<LabSpec> {
  const steps = [
    (): Result<unknown> => checkLabName(spec.name),
    (): Result<unknown> => checkNames(spec),
    ...spec.nodes.map((node) => (): Result<unknown> => checkNode(node)),
    ...spec.pods.map((pod) => (): Result<unknown> => checkPod(pod, spec.nodes)),
    (): Result<unknown> => checkTogether(spec),
  ];
  for (const step of steps) {
    const checked = step();
    if (!checked.ok) return checked;
  }
  return ok(spec);
}
