// SPDX-License-Identifier: Apache-2.0
/** Services that are recreated and get other endpoints all the time, and what may ever be seen of each frontend. */
import { address, addressFromIPv4, addressText, type Address } from '../../../core/address.ts';
import type { ClusterEvent, EndpointSliceObject, ServiceObject } from '../../../core/objects.ts';
import type { Stream } from '../../../core/random.ts';

export const families = ['IPv4', 'IPv6'] as const;
export type Family = (typeof families)[number];
export const protocols = ['TCP', 'UDP'] as const;

/** What stands for an address of either family: its last word. */
export function addressIn(family: Family, word: number): Address {
  return family === 'IPv4' ? addressFromIPv4(word) : address(0xfd000000 + (word >>> 16), 0, 0, word);
}

/** Where a Service's pods listen, another port for each protocol. */
export const targetPorts = { TCP: 8080, UDP: 5353 } as const;
export const SERVICE_PORT = 80;

/** A frontend that is asked. `networks`: upper halves of the addresses that its Service ports ever had. */
export type Asked = {
  readonly family: Family;
  readonly protocol: (typeof protocols)[number];
  /** The word that stands for it. */
  readonly address: number;
  readonly networks: readonly [number, number];
  readonly isSteady: boolean;
};

/** `steady`: other endpoints; `moving`: also another ClusterIP; `trading`: two Services that swap theirs. */
type Kind = 'steady' | 'moving' | 'trading';
type Churned = { readonly number: number; readonly kind: Kind; version: number; isThere: boolean };

const KINDS: readonly Kind[] = ['steady', 'steady', 'steady', 'steady', 'moving', 'moving', 'trading', 'trading'];
const FRONTENDS = 0x0a600000; // 10.96.0.0
const BACKENDS = 0x0a640000; // 10.100.0.0, a /16 for each Service
const ENDPOINTS_MAX = 6;

function networkOf(number: number): number {
  return (BACKENDS >>> 16) + number;
}

/** Two addresses for each Service; those that trade have one each. */
function addressOf({ number, kind, version }: Churned, turn = version): number {
  if (kind === 'trading') return FRONTENDS + 0x0300 + ((number + turn) & 1);
  return FRONTENDS + number * 16 + (kind === 'moving' ? turn & 1 : 0);
}

/** The cluster; the same seed makes the same history. */
export class Churn {
  private readonly services: readonly Churned[] = KINDS.map((kind, number) => ({
    number,
    kind,
    version: 0,
    isThere: true,
  }));
  private readonly stream: Stream;
  private pods = 0;

  constructor(stream: Stream) {
    this.stream = stream;
  }

  asked(): readonly Asked[] {
    return this.services.flatMap((service): Asked[] => {
      const own = networkOf(service.number);
      const networks = [own, service.kind === 'trading' ? networkOf(service.number ^ 1) : own] as const;
      const turns = service.kind === 'moving' ? [0, 1] : [0];
      return turns.flatMap((turn) =>
        families.flatMap((family) =>
          protocols.map((protocol) => ({
            family,
            protocol,
            address: addressOf(service, turn),
            networks,
            isSteady: service.kind !== 'moving',
          })),
        ),
      );
    });
  }

  lists(): readonly ClusterEvent[] {
    return [
      { type: 'LISTED', kind: 'Service', items: this.services.map((service) => serviceObject(service)) },
      { type: 'LISTED', kind: 'EndpointSlice', items: this.services.flatMap((service) => this.slices(service)) },
    ];
  }

  /** What happens before the next step of the loop. */
  next(): readonly ClusterEvent[] {
    const { stream } = this;
    const chosen = this.services.filter(() => stream.chance(0.4));
    const trades = chosen.some(({ kind }) => kind === 'trading') && stream.chance(0.5);
    const changed = this.services.filter((service) =>
      service.kind === 'trading' && trades ? true : chosen.includes(service),
    );
    return changed.flatMap((service) => this.change(service, trades));
  }

  private change(service: Churned, trades: boolean): readonly ClusterEvent[] {
    const { kind } = service;
    const isRecreated = kind === 'moving' || (kind === 'trading' && trades);
    if (!isRecreated) return this.changed(service);
    const events: ClusterEvent[] = [];
    if (service.isThere) events.push({ type: 'DELETED', object: serviceObject(service) });
    service.version += 1;
    service.isThere = kind !== 'moving' || this.stream.chance(0.7);
    if (!service.isThere) return events;
    return [...events, { type: 'ADDED', object: serviceObject(service) }, ...this.changed(service)];
  }

  private changed(service: Churned): readonly ClusterEvent[] {
    return this.slices(service).map((object) => ({ type: 'MODIFIED', object }));
  }

  private slices(service: Churned): readonly EndpointSliceObject[] {
    return families.map((family) => this.slice(service, family));
  }

  private slice({ number }: Churned, family: Family): EndpointSliceObject {
    const count = 1 + this.stream.below(ENDPOINTS_MAX);
    const first = this.stream.below(250);
    return {
      kind: 'EndpointSlice',
      metadata: {
        name: `s${number}-${family.toLowerCase()}`,
        namespace: 'churn',
        labels: { 'kubernetes.io/service-name': `s${number}` },
      },
      addressType: family,
      endpoints: Array.from({ length: count }, (_, index) => ({
        addresses: [addressText(addressIn(family, networkOf(number) * 65536 + first + index + 1))],
        conditions: { ready: true },
        nodeName: 'node-b',
        targetRef: { kind: 'Pod', uid: `${number}-${this.pods++}` },
      })),
      ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), port: targetPorts[protocol], protocol })),
    };
  }
}

function serviceObject(service: Churned): ServiceObject {
  const clusterIPs = families.map((family) => addressText(addressIn(family, addressOf(service))));
  return {
    kind: 'Service',
    metadata: { name: `s${service.number}`, namespace: 'churn', uid: `${service.number}-${service.version}` },
    spec: {
      type: 'ClusterIP',
      clusterIP: clusterIPs[0] ?? '',
      clusterIPs,
      ipFamilies: [...families],
      ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), port: SERVICE_PORT, protocol })),
    },
  };
}
