// SPDX-License-Identifier: Apache-2.0
/** The vocabulary of Services: frontends, views, backends, policies. Types only. */
import type { Address, Port, Prefix, Protocol } from './address.ts';

export type Family = 'IPv4' | 'IPv6';

/** Internal: pods and processes of this node. External: everything that arrives from elsewhere. */
export type ViewName = 'internal' | 'external';

export type FrontendKind = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

export type TrafficPolicy = 'Cluster' | 'Local';

/** `terminating` backends get new connections only where no ready one is left (services 2.2). */
export type BackendState = 'active' | 'terminating';

/** Which hints narrowed the choice. */
export type TopologyMode = 'none' | 'zone' | 'node';

/** Why hints were followed or not; all or nothing over the ready endpoints of a Service port (services 2.4). */
export type TopologyReason =
  | 'followed'
  | 'switched-off'
  | 'local-policy'
  | 'no-ready-endpoints'
  | 'no-hints'
  | 'endpoint-without-hints'
  | 'zone-unknown'
  | 'no-hint-names-us';

/** How a backend is chosen among those of a view. */
export type Algorithm = 'hash' | 'maglev';

/** What a new connection meets when a view has no backend. */
export type WhenEmpty = 'reject' | 'drop';

/** Source address on the packet road: kept, replaced for clients outside the pod ranges, or always replaced. */
export type Masquerade = 'never' | 'off-cluster' | 'always';

export type ExclusionReason =
  | 'not-ready'
  | 'terminating'
  | 'not-local'
  | 'other-zone'
  | 'other-node'
  | 'other-family'
  | 'no-such-port'
  | 'duplicate'
  | 'invalid-address';

/** State is kept per Service port; the same number on two protocols is two unrelated ports (services A4). */
export type ServicePortName = {
  readonly namespace: string;
  readonly name: string;
  readonly portName: string;
  readonly protocol: Protocol;
};

/** One endpoint of one Service port. */
export type Backend = {
  readonly address: Address;
  readonly port: Port;
  readonly state: BackendState;
  /** Empty where the slice doesn't say. */
  readonly node: string;
  /** Empty where the slice doesn't say. */
  readonly zone: string;
  /** Who has the address: a hash of the pod's uid; zero where the slice doesn't say. */
  readonly identity: readonly [number, number];
  /** `address:port`: order and identity within a view. */
  readonly text: string;
};

/** Who may get a new connection now, ordered by `text`. */
export type View = {
  readonly backends: readonly Backend[];
  readonly whenEmpty: WhenEmpty;
  readonly topology: TopologyMode;
  readonly topologyReason: TopologyReason;
  readonly masquerade: Masquerade;
};

/** An endpoint that a view leaves out, and why. */
export type Exclusion = {
  /** As the slice writes it where it is not an address. */
  readonly address: string;
  /** null: the slice has no such port. */
  readonly port: Port | null;
  readonly view: ViewName;
  readonly reason: ExclusionReason;
};

/** An address, port and protocol that a Service port owns. */
export type Frontend = {
  readonly kind: FrontendKind;
  /** When the API server made its owner, as RFC 3339; of equal kinds the older owns what both claim. Empty: always. */
  readonly created: string;
  readonly algorithm: Algorithm;
  readonly servicePort: ServicePortName;
  readonly address: Address;
  readonly port: Port;
  readonly protocol: Protocol;
  /** null: no affinity. */
  readonly affinitySeconds: number | null;
  /** null: everyone; empty: nobody. */
  readonly sourceRanges: readonly Prefix[] | null;
  /** A view that nobody can reach is null. */
  readonly internal: View | null;
  readonly external: View | null;
  readonly excluded: readonly Exclusion[];
  /** In no view, but serving: conversations of datagrams go on there (services G1). */
  readonly serving: readonly Backend[];
};

/** Something in an object that can't be used as it is; the rest of the object is used. */
export type Problem = {
  /** `Service shop/web`, `EndpointSlice shop/web-abc12`. */
  readonly object: string;
  /** Path inside the object; empty: the object as a whole. */
  readonly field: string;
  readonly message: string;
};

/** What the control plane must know about the node it works for. */
export type NodeConfig = {
  readonly nodeName: string;
  /** Until a Node object of that name says otherwise; empty: unknown. */
  readonly zone: string;
  /** Services with this value of the service-proxy-name label are ours; null: those without the label. */
  readonly serviceProxyName: string | null;
  /** Whether hints in slices are followed. */
  readonly topology: boolean;
  readonly masqueradeAll: boolean;
  /** Addresses of pods, all nodes; empty: unknown. */
  readonly clusterCIDRs: readonly Prefix[];
  /** The first of each family is primary; empty: what the Node object of that name says. */
  readonly nodeIPs: readonly Address[];
  /** Which of them serve NodePorts: the primary ones; or those inside ranges, and all of a family without a range. */
  readonly nodePortAddresses: 'primary' | readonly Prefix[];
  /** Ports that NodePorts are given from; others are served too, but source NAT may use them. */
  readonly nodePortRange: { readonly first: Port; readonly last: Port };
  /** Whether host ports of this node's pods are served. */
  readonly hostPort: boolean;
  /** Whether ClusterIPs answer clients that are not on this node. */
  readonly externalClusterIP: boolean;
  /** Of Services that don't ask for one. */
  readonly algorithm: Algorithm;
};
