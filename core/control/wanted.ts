// SPDX-License-Identifier: Apache-2.0
/** Frontends as map records, and which of them this build can program. */
import { protocolText, TCP, UDP, type Address, type Port, type Protocol } from '../address.ts';
import {
  ALGORITHM_HASH,
  ALGORITHM_MAGLEV,
  FRONTEND_CLUSTER_IP,
  FRONTEND_EXTERNAL_IP,
  FRONTEND_HOST_PORT,
  FRONTEND_LOAD_BALANCER,
  FRONTEND_NODE_PORT,
  FRONTEND_WHOLE_ADDRESS,
  SERVICE_DROP_WHEN_EXTERNAL_EMPTY,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  SERVICE_EXTERNAL,
  SERVICE_EXTERNAL_MASQUERADE,
  SERVICE_EXTERNAL_OFF_CLUSTER,
  SERVICE_INTERNAL_MASQUERADE,
  SERVICE_INTERNAL_OFF_CLUSTER,
  type FrontendKeyRecord,
  type ServiceRecord,
  type ViewRecord,
} from '../layout.gen.ts';
import type { Algorithm, Frontend, FrontendKind, Masquerade, Problem, View } from '../service.ts';
import type { Block } from './image.ts';
import type { Hash } from './names.ts';

const EMPTY_VIEW: ViewRecord = { firstSlot: 0, count: 0, tableSize: 0, algorithm: ALGORITHM_HASH };

/** What one Service port should have in the maps; no frontends: nothing. */
export type WantedPort = { readonly name: string; readonly frontends: readonly Frontend[] };

/** Why the datapath of this build can't serve a frontend; undefined: it can. */
export function whyNotProgrammed({ kind, protocol }: Pick<Frontend, 'kind' | 'protocol'>): string | undefined {
  if (kind !== 'ClusterIP') return kind;
  return protocol === TCP || protocol === UDP ? undefined : protocolText(protocol);
}

/** What of these frontends is left out of the maps, one line each; both families of a port are one. */
export function unsupportedProblems(
  frontends: readonly Frontend[],
  whyNot: (frontend: Frontend) => string | undefined,
): Problem[] {
  const problems = new Map<string, Problem>();
  for (const frontend of frontends) {
    const { namespace, name, portName } = frontend.servicePort;
    const isPod = frontend.kind === 'HostPort';
    const object = `${isPod ? 'Pod' : 'Service'} ${namespace}/${name}`;
    const where = `port "${portName}" ${protocolText(frontend.protocol)}`;
    const reason = whyNot(frontend);
    if (reason !== undefined) {
      const message = `unsupported: ${where}: ${reason} is not programmed yet`;
      problems.set(`${object} ${message}`, { object, field: isPod ? 'spec.containers' : 'spec.ports', message });
    }
  }
  return [...problems.values()];
}

function kindNumber(kind: FrontendKind): number {
  switch (kind) {
    case 'ClusterIP':
      return FRONTEND_CLUSTER_IP;
    case 'NodePort':
      return FRONTEND_NODE_PORT;
    case 'LoadBalancer':
      return FRONTEND_LOAD_BALANCER;
    case 'ExternalIP':
      return FRONTEND_EXTERNAL_IP;
    case 'HostPort':
      return FRONTEND_HOST_PORT;
  }
}

/** The key under which a frontend is found. */
export function frontendKey({ address, port, protocol }: Frontend): FrontendKeyRecord {
  return { address, port, protocol };
}

/** The key under which all of an address is found. */
export function wholeAddressKey(address: Address): FrontendKeyRecord {
  return { address, port: 0 as Port, protocol: 0 as Protocol };
}

/** `count`: backends; the block may hold each of them many times. */
function viewRecord(block: Block | undefined, view: View | null, algorithm: Algorithm): ViewRecord {
  if (block === undefined || view === null) return EMPTY_VIEW;
  return {
    firstSlot: block.pair * 2,
    count: view.backends.length,
    tableSize: block.ids.length,
    algorithm: algorithm === 'maglev' ? ALGORITHM_MAGLEV : ALGORITHM_HASH,
  };
}

type ViewFlags = {
  /** Of a view that somebody can reach; every row has an internal one. */
  readonly exists: number;
  readonly drop: number;
  readonly masquerade: { readonly [how in Masquerade]: number };
};

const INTERNAL_FLAGS: ViewFlags = {
  exists: 0,
  drop: SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  masquerade: { never: 0, 'off-cluster': SERVICE_INTERNAL_OFF_CLUSTER, always: SERVICE_INTERNAL_MASQUERADE },
};

const EXTERNAL_FLAGS: ViewFlags = {
  exists: SERVICE_EXTERNAL,
  drop: SERVICE_DROP_WHEN_EXTERNAL_EMPTY,
  masquerade: { never: 0, 'off-cluster': SERVICE_EXTERNAL_OFF_CLUSTER, always: SERVICE_EXTERNAL_MASQUERADE },
};

function flagsOf(view: View | null, { drop, exists, masquerade }: ViewFlags): number {
  if (view === null) return 0;
  return exists | (view.whenEmpty === 'drop' ? drop : 0) | masquerade[view.masquerade];
}

/** The row of a frontend whose views lie in these blocks, an empty one in none; `ranges`: its set, 0 where it has none. */
export function serviceRecord(
  frontend: Frontend,
  port: { readonly id: number; readonly hash: Hash },
  blocks: { readonly internal: Block | undefined; readonly external: Block | undefined },
  ranges: number,
): ServiceRecord {
  const { algorithm, external, internal } = frontend;
  return {
    key: frontendKey(frontend),
    servicePort: port.id,
    nameHash: port.hash,
    flags: flagsOf(internal, INTERNAL_FLAGS) | flagsOf(external, EXTERNAL_FLAGS),
    affinitySeconds: frontend.affinitySeconds ?? 0,
    sourceRanges: ranges,
    kind: kindNumber(frontend.kind),
    views: [viewRecord(blocks.internal, internal, algorithm), viewRecord(blocks.external, external, algorithm)],
  };
}

/** The row of an owned address: what no other row answers is refused. */
export function wholeAddressRecord(address: Address): ServiceRecord {
  return {
    key: wholeAddressKey(address),
    servicePort: 0,
    nameHash: [0, 0],
    flags: 0,
    affinitySeconds: 0,
    sourceRanges: 0,
    kind: FRONTEND_WHOLE_ADDRESS,
    views: [EMPTY_VIEW, EMPTY_VIEW],
  };
}

function sameView(left: ViewRecord, right: ViewRecord): boolean {
  return (
    left.firstSlot === right.firstSlot &&
    left.count === right.count &&
    left.tableSize === right.tableSize &&
    left.algorithm === right.algorithm
  );
}

/** Whether two rows of the same key say the same. */
export function sameService(left: ServiceRecord, right: ServiceRecord): boolean {
  return (
    left.servicePort === right.servicePort &&
    left.nameHash[0] === right.nameHash[0] &&
    left.nameHash[1] === right.nameHash[1] &&
    left.flags === right.flags &&
    left.affinitySeconds === right.affinitySeconds &&
    left.sourceRanges === right.sourceRanges &&
    left.kind === right.kind &&
    sameView(left.views[0], right.views[0]) &&
    sameView(left.views[1], right.views[1])
  );
}
