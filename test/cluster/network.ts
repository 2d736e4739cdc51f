// SPDX-License-Identifier: Apache-2.0
/** Network namespaces of a node with its pods, of pods elsewhere and of the world, and programs that run in them. */
import { execFileSync, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { foreignPods, node, otherNodes, ownPods, world } from '../../proof/kubeproxy/places.ts';

/** Where programs run: the node, one pod as a client, the node's other pods, pods of other nodes, and everybody else. */
export type Place = 'node' | 'client' | 'pods' | 'far' | 'world';

const places: readonly Place[] = ['node', 'client', 'pods', 'far', 'world'];

export type ClusterNetwork = {
  readonly namespaceOf: (place: Place) => string;
  /** To its end; standard output. Throws when it fails. */
  readonly run: (place: Place, program: string, args: readonly string[], input?: string) => string;
  readonly start: (place: Place, program: string, args: readonly string[], options?: StartOptions) => ChildProcess;
  readonly remove: () => void;
};

export type StartOptions = {
  readonly stdio?: StdioOptions;
  readonly environment?: Readonly<Record<string, string>>;
};

const namePrefix = 'tandem-proxy-';

/** Of runs that were ended before they could clean up. */
function removeAbandoned(): void {
  if (!existsSync('/run/netns')) return;
  for (const name of readdirSync('/run/netns').filter((each) => each.startsWith(namePrefix))) {
    const [pid = ''] = name.slice(namePrefix.length).split('-');
    if (!existsSync(`/proc/${pid}`)) execFileSync('ip', ['netns', 'delete', name], { stdio: 'pipe' });
  }
}

/** Removed by `remove`; every process started in them must have ended before. */
export function createNetwork(): ClusterNetwork {
  const namespaceOf = (place: Place): string => `${namePrefix}${process.pid}-${place}`;
  const inside = (place: Place, program: string, args: readonly string[]): readonly string[] => [
    ...['netns', 'exec', namespaceOf(place), program],
    ...args,
  ];
  const run: ClusterNetwork['run'] = (place, program, args, input = '') =>
    execFileSync('ip', inside(place, program, args), { encoding: 'utf8', input, maxBuffer: 1 << 29, stdio: 'pipe' });
  const start: ClusterNetwork['start'] = (place, program, args, { stdio = 'ignore', environment = {} } = {}) =>
    spawn('ip', inside(place, program, args), { stdio, env: { ...process.env, ...environment } });
  const remove = (): void => {
    for (const place of places) execFileSync('ip', ['netns', 'delete', namespaceOf(place)], { stdio: 'pipe' });
  };
  removeAbandoned();
  for (const place of places) execFileSync('ip', ['netns', 'add', namespaceOf(place)]);
  const network = { namespaceOf, run, start, remove };
  try {
    connectPlaces(network);
  } catch (error) {
    remove();
    throw error;
  }
  return network;
}

/** The node's device towards a place, and what it finds there. */
const ways: readonly { readonly place: Exclude<Place, 'node'>; readonly ranges: readonly string[] }[] = [
  { place: 'client', ranges: ownPods.clients },
  { place: 'pods', ranges: ownPods.ranges },
  { place: 'far', ranges: [...foreignPods.ranges, ...otherNodes.flatMap((one) => [one.address, one.addressSix])] },
  { place: 'world', ranges: [...world.ranges, ...foreignPods.clients] },
];

const settings = [
  ...['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0'],
  ...['net.ipv4.conf.default.rp_filter=0', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0'],
  // A refusal answers every connection: a limit would turn some into silence.
  ...['net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0', 'net.ipv4.icmp_msgs_per_sec=1000000'],
  'net.ipv4.icmp_msgs_burst=100000',
];

function connectPlaces(network: ClusterNetwork): void {
  for (const place of places) {
    network.run(place, 'sysctl', ['-eqw', ...settings]);
    network.run(place, 'ip', ['link', 'set', 'lo', 'up']);
  }
  const links = ways.map(
    ({ place }) => `link add to-${place} type veth peer name eth0 netns ${network.namespaceOf(place)}`,
  );
  const lines = ways.flatMap(({ place, ranges }) => [
    `link set to-${place} up`,
    `addr add ${node.gateways[0]}/32 dev to-${place}`,
    `addr add ${node.gateways[1]}/128 dev to-${place} nodad`,
    ...ranges.map((range) => `route add ${range} dev to-${place}`),
  ]);
  batch(network, 'node', [...links, ...nodeDevice(), ...lines]);
  for (const { place } of ways) {
    batch(network, place, [
      'link set eth0 up',
      `route add ${node.gateways[0]} dev eth0`,
      `route add default via ${node.gateways[0]} dev eth0 onlink`,
      `-6 route add ${node.gateways[1]} dev eth0`,
      `-6 route add default via ${node.gateways[1]} dev eth0 onlink`,
    ]);
  }
}

/** The node's own addresses, the primary ones first. */
function nodeDevice(): readonly string[] {
  return [
    // Not every kernel has dummy devices; what is sent into this pair comes to nobody.
    'link add node0 type veth peer name nowhere',
    'link set node0 up',
    'link set nowhere up',
    ...node.addresses.map((address) =>
      address.includes(':') ? `addr add ${address}/128 dev node0 nodad` : `addr add ${address}/32 dev node0`,
    ),
    // What a process of the node sends anywhere comes from the primary address.
    `route add default dev node0 src ${node.primary[0]}`,
    `-6 route add default dev node0 src ${node.primary[1]}`,
  ];
}

/** Lines as `ip` reads them; the family is that of the addresses. */
export function batch(network: ClusterNetwork, place: Place, lines: readonly string[]): void {
  const [six, four] = [true, false].map((wanted) =>
    lines.filter((line) => (line.includes(':') || line.startsWith('-6 ')) === wanted),
  );
  network.run(place, 'ip', ['-batch', '-'], `${(four ?? []).join('\n')}\n`);
  network.run(
    place,
    'ip',
    ['-6', '-batch', '-'],
    `${(six ?? []).map((line) => line.replace(/^-6 /, '')).join('\n')}\n`,
  );
}
