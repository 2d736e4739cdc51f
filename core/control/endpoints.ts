// SPDX-License-Identifier: Apache-2.0
/** The endpoints that the slices of a Service name for one of its ports, each once, and those that can't be used. */
import type { Backend, Exclusion, Family } from '../service.ts';
import type { Candidate } from './categorize.ts';
import type { EndpointInfo, ServiceInfo, ServicePortInfo, SliceInfo, SlicePortInfo } from './decode.ts';

/** An endpoint that no view of a Service port can have. */
export type Unusable = Omit<Exclusion, 'view'>;

/** The endpoints of a Service port in one family, each `address:port` once, and those that are not among them. */
export type Gathered = { readonly candidates: readonly Candidate[]; readonly unusable: readonly Unusable[] };

/** Non-terminating wins over terminating (services H4); what upstream leaves open: ready, then serving, then the first. */
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
  const found = new Map<string, Candidate>();
  const unusable: Unusable[] = [];
  for (const slice of slices) {
    if (slice.family !== family) otherFamily(service, slice, port, unusable);
    else gatherSlice(slice, port, found, unusable);
  }
  const candidates = [...found.values()].sort((left, right) => (left.text < right.text ? -1 : 1));
  return { candidates, unusable };
}

/** From so many ports of a slice on, looking through them for each port of its Service is dearer than an index. */
const INDEXED_PORTS = 16;
const indexes = new WeakMap<SliceInfo, ReadonlyMap<string, readonly SlicePortInfo[]>>();
const NO_PORTS: readonly SlicePortInfo[] = [];

/** Ports of a slice that stand for a port of its Service: the same name and protocol (services B14). */
export function portsNamed(slice: SliceInfo, { name, protocol }: ServicePortName): readonly SlicePortInfo[] {
  if (slice.ports.length < INDEXED_PORTS)
    return slice.ports.filter((port) => port.name === name && port.protocol === protocol);
  let index = indexes.get(slice);
  if (index === undefined) {
    index = Map.groupBy(slice.ports, (port) => `${port.protocol} ${port.name}`);
    indexes.set(slice, index);
  }
  return index.get(`${protocol} ${name}`) ?? NO_PORTS;
}

type ServicePortName = Pick<ServicePortInfo, 'name' | 'protocol'>;

function gatherSlice(
  slice: SliceInfo,
  port: ServicePortInfo,
  found: Map<string, Candidate>,
  unusable: Unusable[],
): void {
  const ports = portsNamed(slice, port);
  for (const endpoint of slice.endpoints) {
    if (ports.length === 0) unusable.push({ address: endpoint.text, port: null, reason: 'no-such-port' });
    for (const { port: number } of ports) {
      if (endpoint.address === null) {
        unusable.push({ address: endpoint.text, port: number, reason: 'invalid-address' });
        continue;
      }
      const text = slice.family === 'IPv4' ? `${endpoint.text}:${number}` : `[${endpoint.text}]:${number}`;
      const holder = found.get(text);
      if (holder !== undefined) unusable.push({ address: endpoint.text, port: number, reason: 'duplicate' });
      if (holder === undefined || isBetter(endpoint, holder.endpoint))
        found.set(text, { endpoint, port: number, text });
    }
  }
}

/** Endpoints of a family in which the Service has no address serve nobody; of the others each family tells its own. */
function otherFamily(service: ServiceInfo, slice: SliceInfo, port: ServicePortInfo, unusable: Unusable[]): void {
  if (slice.family === null || service.clusterIPs[slice.family] !== null) return;
  const [match] = portsNamed(slice, port);
  for (const { text } of slice.endpoints)
    unusable.push({ address: text, port: match?.port ?? null, reason: 'other-family' });
}

/** A candidate as a view shows it. */
export function backendOf({ endpoint, port, text }: Candidate): Backend {
  const { address, node, zone, pod } = endpoint;
  if (address === null) throw new Error(`assertion failed: ${text} was chosen without an address`);
  return { address, port, state: endpoint.ready ? 'active' : 'terminating', node, zone, pod, text };
}
