// SPDX-License-Identifier: Apache-2.0
/** The endpoints that the slices of a Service name for one of its ports, each once, and those that can't be used. */
import type { Exclusion, Family } from '../service.ts';
import type { ServiceInfo, ServicePortInfo } from './decode.ts';
import { candidateOf, type Candidate, type EndpointInfo, type SliceInfo } from './slices.ts';

/** An endpoint that no view of a Service port can have. */
export type Unusable = Omit<Exclusion, 'view'>;

/** The endpoints of a Service port in one family, each `address:port` once, and those that are not among them. */
export type Gathered = {
  readonly candidates: readonly Candidate[];
  readonly unusable: readonly Unusable[];
  /** Known without looking at each: all are ready, and none has a hint. */
  readonly isCalm: boolean;
};

/** Of two slices: non-terminating wins over terminating (services H4); what upstream leaves open: ready, then serving, then the first. */
function isBetter(challenger: EndpointInfo, holder: EndpointInfo): boolean {
  if (challenger.terminating !== holder.terminating) return !challenger.terminating;
  if (challenger.ready !== holder.ready) return challenger.ready;
  return challenger.serving && !holder.serving;
}

/** `slices` in an order that doesn't depend on arrival. */
export function gatherEndpoints(
  service: ServiceInfo,
  slices: readonly SliceInfo[],
  family: Family,
  port: ServicePortInfo,
): Gathered {
  const plain = gatherPlain(slices, family, port);
  if (plain !== undefined) return plain;
  const found = new Map<string, Candidate>();
  const unusable: Unusable[] = [];
  for (const slice of slices) {
    if (slice.family !== family) otherFamily(service, slice, port, unusable);
    else gatherSlice(slice, port, found, unusable);
  }
  const candidates = [...found.values()].sort((left, right) => (left.text < right.text ? -1 : 1));
  return { candidates, unusable, isCalm: false };
}

/** From so many ports of a slice on, looking through them for each port of its Service is dearer than an index. */
const INDEXED_PORTS = 16;
const indexes = new WeakMap<SliceInfo, ReadonlyMap<string, SliceInfo['ports']>>();

/** Ports of a slice that stand for a port of its Service: the same name and protocol (services B14). */
export function portsOf(
  slice: SliceInfo,
  { name, protocol }: Pick<ServicePortInfo, 'name' | 'protocol'>,
): SliceInfo['ports'] {
  if (slice.ports.length < INDEXED_PORTS)
    return slice.ports.filter((one) => one.name === name && one.protocol === protocol);
  let index = indexes.get(slice);
  if (index === undefined) {
    index = Map.groupBy(slice.ports, (one) => `${one.protocol} ${one.name}`);
    indexes.set(slice, index);
  }
  return index.get(`${protocol} ${name}`) ?? [];
}

/** What most Services have: one slice without anything odd, whose order is that of the list. */
function gatherPlain(slices: readonly SliceInfo[], family: Family, port: ServicePortInfo): Gathered | undefined {
  const [slice, second] = slices;
  if (slice === undefined || second !== undefined || slice.family !== family || !slice.isPlain) return undefined;
  const [only, other] = portsOf(slice, port);
  if (only === undefined || other !== undefined) return undefined;
  const candidates = slice.endpoints.map((endpoint) => candidateOf(endpoint, only));
  return { candidates, unusable: [], isCalm: slice.isCalm };
}

function gatherSlice(
  slice: SliceInfo,
  port: ServicePortInfo,
  found: Map<string, Candidate>,
  unusable: Unusable[],
): void {
  const ports = portsOf(slice, port);
  const own = new Map<string, Candidate>();
  for (const endpoint of slice.endpoints) {
    if (ports.length === 0) unusable.push({ address: endpoint.text, port: null, reason: 'no-such-port' });
    for (const each of ports) {
      const { port: number } = each;
      if (endpoint.address === null) {
        unusable.push({ address: endpoint.text, port: number, reason: 'invalid-address' });
        continue;
      }
      const candidate = candidateOf(endpoint, each);
      const isSaid = own.has(candidate.text);
      if (isSaid) unusable.push({ address: endpoint.text, port: number, reason: 'duplicate' });
      // In one slice the order is known: the later one counts unless it is ending.
      if (!isSaid || !endpoint.terminating) own.set(candidate.text, candidate);
    }
  }
  for (const candidate of own.values()) {
    const { endpoint, port: number } = candidate;
    const holder = found.get(candidate.text);
    if (holder !== undefined) unusable.push({ address: endpoint.text, port: number, reason: 'duplicate' });
    if (holder === undefined || isBetter(endpoint, holder.endpoint)) found.set(candidate.text, candidate);
  }
}

/** Endpoints of a family in which the Service has no address serve nobody; of the others each family tells its own. */
function otherFamily(service: ServiceInfo, slice: SliceInfo, port: ServicePortInfo, unusable: Unusable[]): void {
  if (slice.family === null || service.clusterIPs[slice.family] !== null) return;
  const [match] = portsOf(slice, port);
  for (const { text } of slice.endpoints)
    unusable.push({ address: text, port: match?.port ?? null, reason: 'other-family' });
}
