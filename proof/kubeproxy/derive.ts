// SPDX-License-Identifier: Apache-2.0
/** From the rules to what each client meets at each frontend; names and comments of the rules mean nothing here. */
import {
  backendText,
  type Answer,
  type ClientClass,
  type FrontendKey,
  type ProtocolName,
  type Share,
} from './answer.ts';
import { addressNumber, edgesOf, holds, intervalOf, normalIntervals, numberText, type Interval } from './intervals.ts';
import { clusterRanges, foreignPods, node, ownPods, world } from './places.ts';
import type { Ruleset } from './ruleset.ts';
import { waysOf, type Ending, type FirstPacket, type WalkFacts } from './walk.ts';

const own: ReadonlySet<string> = new Set([...node.addresses, ...node.gateways]);

/** Addresses that the node's kernel delivers to itself. */
export function isOwnAddress(address: string): boolean {
  return own.has(address) || address.startsWith('127.') || address === '::1';
}

/** The address from which a client of this class asks; a backend's own is handed in. */
export function sourceOf(client: Exclude<ClientClass, 'backend'>, isSix: boolean): string {
  const index = isSix ? 1 : 0;
  const places = {
    pod: ownPods.clients,
    process: node.primary,
    'foreign-pod': foreignPods.clients,
    outside: world.clients,
  };
  return places[client][index];
}

const ownRanges = ownPods.ranges.map(intervalOf);
const podRanges = clusterRanges.map(intervalOf);

/** Who has this address. */
export function clientAt(address: string): Exclude<ClientClass, 'backend'> {
  const isIn = (ranges: readonly Interval[]): boolean => {
    const [four, six] = ranges;
    const range = address.includes(':') ? six : four;
    return range !== undefined && holds([range], addressNumber(address));
  };
  if (isOwnAddress(address)) return 'process';
  return isIn(ownRanges) ? 'pod' : isIn(podRanges) ? 'foreign-pod' : 'outside';
}

export type Question = { readonly client: ClientClass; readonly source: string; readonly frontend: FrontendKey };

/** Every frontend of which the rules know; the node's own addresses with each port that any of them serves. */
export function frontendsOf(ruleset: Ruleset): readonly FrontendKey[] {
  const found = new Map<string, FrontendKey>();
  const add = (address: string, protocol: string, port: string): void => {
    if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') throw new Error(`protocol ${protocol}`);
    found.set(`${address} ${protocol} ${port}`, { address, protocol, port: Number(port) });
  };
  for (const [family, table] of [['ip', ruleset.ip] as const, ['ip6', ruleset.ip6] as const]) {
    const local = [...own].filter((address) => address.includes(':') === (family === 'ip6'));
    for (const map of table.maps.values()) {
      for (const key of map.keys()) {
        const fields = key.split(' . ');
        const [address = '', protocol = '', port = ''] = fields.length === 3 ? fields : ['', ...fields];
        if (fields.length !== 3 && fields.length !== 2) throw new Error(`a map of the rules has the key ${key}`);
        for (const each of fields.length === 3 ? [address] : local) add(each, protocol, port);
      }
    }
  }
  return [...found.values()];
}

/** What the client meets by the rules. */
export function derivedAnswer(ruleset: Ruleset, question: Question): Answer {
  const packet = firstPacket(question);
  const facts: WalkFacts = { isLocal: isOwnAddress };
  const endings = waysOf(ruleset, packet, facts);
  const [first] = endings;
  if (first === undefined) throw new Error('a packet has no way at all');
  if (endings.some(({ kind, isTranslated }) => kind !== first.kind || isTranslated !== first.isTranslated)) {
    return { kind: 'senseless', why: 'one random number leads to a backend, another elsewhere' };
  }
  if (first.kind === 'refused') return { kind: 'refuse' };
  if (first.kind === 'dropped') return { kind: 'drop' };
  if (!first.isTranslated) return { kind: 'pass' };
  return sharesOf(ruleset, question, packet, endings);
}

function firstPacket({ client, source, frontend }: Question): FirstPacket {
  const { address: destination, port, protocol } = frontend;
  return { source, destination, port, protocol, isOfNode: client === 'process' };
}

/** What a process of the node sends has the node's address anyway, translated or not. */
function sharesOf(ruleset: Ruleset, { client }: Question, packet: FirstPacket, endings: readonly Ending[]): Answer {
  const shares = new Map<string, Share>();
  const timeouts = new Set<number | null>();
  for (const ending of endings) {
    const name = backendText(ending.address, ending.port);
    const sees = client === 'process' || ending.isMasqueraded ? 'node' : 'client';
    const known = shares.get(name);
    if (known !== undefined && known.sees !== sees)
      return { kind: 'senseless', why: `${name} sees now one, now another` };
    shares.set(name, { probability: (known?.probability ?? 0) + ending.probability, sees });
    const timeout = affinityOf(ruleset, packet, ending);
    if (timeout === 'broken') return { kind: 'senseless', why: `whoever is remembered at ${name} comes elsewhere` };
    timeouts.add(timeout);
  }
  const [affinitySeconds = null, ...others] = timeouts;
  if (others.length > 0) return { kind: 'senseless', why: `affinity of ${[...timeouts].join(' and ')} seconds` };
  return { kind: 'backends', shares, affinitySeconds };
}

/** A client remembered where this connection is remembered must come to the same backend, whatever the random number. */
function affinityOf(ruleset: Ruleset, packet: FirstPacket, ending: Ending): number | null | 'broken' {
  const [name, ...others] = ending.remembered;
  if (name === undefined) return null;
  const table = packet.destination.includes(':') ? ruleset.ip6 : ruleset.ip;
  const timeoutSeconds = table.sets.get(name)?.timeoutSeconds;
  if (others.length > 0 || timeoutSeconds === undefined) return 'broken';
  const again = waysOf(ruleset, packet, { isLocal: isOwnAddress, remembering: new Set([name]) });
  const [back, ...more] = again;
  const isSame = more.length === 0 && back?.address === ending.address && back.port === ending.port;
  return isSame && back.remembered.includes(name) ? timeoutSeconds : 'broken';
}

/**
 * The addresses from which the frontend may be asked, found by asking from both sides of each end of each range that the
 * rules hold the sender against; null: from everywhere.
 */
export function derivedRanges(ruleset: Ruleset, frontend: FrontendKey): readonly Interval[] | null {
  const isSix = frontend.address.includes(':');
  const found: Interval[] = [];
  const isAllowed = (source: string): boolean => {
    const facts: WalkFacts = { isLocal: isOwnAddress, onRanges: (intervals) => found.push(...intervals) };
    const packet: FirstPacket = { source, destination: frontend.address, ...frontend, isOfNode: false };
    return !waysOf(ruleset, packet, facts).some(({ kind, hook }) => kind === 'dropped' && hook === 'prerouting');
  };
  const client = sourceOf('outside', isSix);
  isAllowed(client);
  const edges = [...edgesOf(found, isSix), addressNumber(client)].sort((left, right) => (left < right ? -1 : 1));
  const allowed = edges.map((edge) => isAllowed(numberText(edge, isSix)));
  if (allowed.every(Boolean)) return null;
  return normalIntervals(stretches(edges, allowed));
}

/** Between two neighbouring edges the answer does not change. */
function stretches(edges: readonly bigint[], allowed: readonly boolean[]): Interval[] {
  const intervals: Interval[] = [];
  for (const [index, edge] of edges.entries()) {
    if (allowed[index] !== true) continue;
    const next = edges[index + 1];
    intervals.push({ first: edge, last: next !== undefined && allowed[index + 1] === true ? next : edge });
  }
  return intervals;
}

/** A number that no Service uses. */
export const unusedPort = 9;

export function unknownPortOf(address: string, protocol: ProtocolName): FrontendKey {
  return { address, protocol, port: unusedPort };
}
