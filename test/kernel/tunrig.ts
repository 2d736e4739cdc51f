// SPDX-License-Identifier: Apache-2.0
/** A node of two tap devices: frames enter as a pod's or a backend's, pass the production programs and leave again. */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createLoop } from '../../agent/loop.ts';
import { parseAddress } from '../../core/address.ts';
import { configOf } from '../../core/datapath/datapath.ts';
import { maps, reasonNames } from '../../core/layout.gen.ts';
import { failureText, type Result } from '../../core/result.ts';
import { attachDevice, type Attachment } from '../../kernel/attach.ts';
import { writeOffload } from '../../kernel/ethtool.ts';
import { insideNamespace, namespacePath } from '../../kernel/netns.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { KernelStore } from '../../kernel/store.ts';
import { openTap, type LeftFrame, type Tap, type TapOptions } from '../../kernel/tun.ts';
import { worldNode } from '../../proof/world.ts';
import { listed, type Both, type Family, type SmallService } from '../lab/cluster.ts';
import { openTunnel, type Tunnel } from './tunnel.ts';
import { ETHERNET, readPacket, type Endpoint, type FrameSpec, type Seen } from './wire.ts';
import { packetPrograms } from '../../kernel/twin.ts';

export const client: Both = { IPv4: '10.1.0.2', IPv6: 'fd00:1::2' };
export const backend: Both = { IPv4: '10.2.0.2', IPv6: 'fd00:2::2' };
export const service: Both = { IPv4: '10.96.0.10', IPv6: 'fd00:96::10' };
export const empty: Both = { IPv4: '10.96.0.50', IPv6: 'fd00:96::50' };
export const self: Both = { IPv4: '10.96.0.20', IPv6: 'fd00:96::20' };
export const gateway = {
  pod: { IPv4: '10.1.0.1', IPv6: 'fd00:1::1' },
  out: { IPv4: '10.2.0.1', IPv6: 'fd00:2::1' },
} as const;

/** Who has which Ethernet address; the devices' own are the node's. */
const macs = {
  pod: { node: [2, 0, 0, 0, 1, 1], peer: [2, 0, 0, 0, 1, 2] },
  out: { node: [2, 0, 0, 0, 2, 1], peer: [2, 0, 0, 0, 2, 2] },
} as const;

const ports = [
  { name: 'http', protocol: 'TCP', port: 80, targetPort: 8080 },
  { name: 'dns', protocol: 'UDP', port: 53, targetPort: 5353 },
] as const;

const services: readonly SmallService[] = [
  { name: 'web', addresses: service, ports, endpoints: [{ pod: 'web1', node: 'node-a', addresses: backend }] },
  { name: 'self', addresses: self, ports, endpoints: [{ pod: 'self', node: 'node-a', addresses: client }] },
  { name: 'empty', addresses: empty, ports, endpoints: [] },
];

/** Larger than any frame that is not cut into segments. */
const deviceMtu = 9000;
const waitMs = 400;

/**
 * `name` tells rigs of one process apart. `tunnelled`: the pod is behind a tunnel, so that its packets are
 * CHECKSUM_COMPLETE; the programs of this object run behind ours there.
 */
export type RigOptions = TapOptions & { readonly name?: string; readonly tunnelled?: LoadedObject };

export type Side = 'pod' | 'out';

/** A frame that left, and what it says. */
export type Left = Seen & LeftFrame;

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

function macText(mac: readonly number[]): string {
  return mac.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export class TunRig implements Disposable {
  readonly name: string;
  readonly store: KernelStore;
  private readonly loaded: LoadedObject;
  private readonly taps = new Map<Side, Tap | Tunnel>();
  private readonly attachments: Attachment[] = [];
  private readonly bridged: Tap[] = [];

  /** The object is loaded for production: what it sees of a packet is what the kernel has. */
  constructor(object: Uint8Array, { name = 'rig', ...options }: RigOptions = {}) {
    this.name = `tandem-tun-${process.pid}-${name}`;
    const settings = configOf({
      testMode: 0,
      flowSecret: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
      selectionKey: [1, 2],
      hairpinSource: [value(parseAddress(gateway.pod.IPv4)), value(parseAddress(gateway.pod.IPv6))],
    });
    const loaded = loadObject({ object, name: 'tandem.bpf.o', settings, programs: packetPrograms });
    if (!loaded.ok) throw new Error(failureText(loaded.error));
    this.loaded = loaded.value;
    this.store = new KernelStore(this.loaded);
    execFileSync('ip', ['netns', 'add', this.name]);
    this.inside(() => {
      for (const family of ['ipv4', 'ipv6']) writeFileSync(`/proc/sys/net/${family}/conf/all/forwarding`, '1');
      for (const key of ['default/accept_dad', 'all/accept_dad', 'default/router_solicitations']) {
        writeFileSync(`/proc/sys/net/ipv6/conf/${key}`, '0');
      }
      for (const key of ['all', 'default']) writeFileSync(`/proc/sys/net/ipv4/conf/${key}/rp_filter`, '0');
    });
    this.plug('pod', options);
    this.plug('out', options);
    const loop = createLoop({
      store: this.store,
      node: worldNode,
      onProblem: ({ message }) => {
        throw new Error(message);
      },
    });
    for (const event of listed(services)) loop.event(event);
    loop.step();
  }

  inside<T>(action: () => T): T {
    return value(insideNamespace(namespacePath(this.name), action));
  }

  /** Makes a side's device, with its addresses and neighbour; on the pod's the programs are attached. */
  plug(side: Side, { tunnelled, ...options }: RigOptions = {}): void {
    const isTunnel = side === 'pod' && tunnelled !== undefined;
    this.taps.set(
      side,
      isTunnel
        ? openTunnel(side, this.name, (action) => this.inside(action))
        : this.inside(() => value(openTap(side, options))),
    );
    const [peer, own] = [side === 'pod' ? client : backend, gateway[side]];
    const lines = [
      `link set ${side} address ${macText(macs[side].node)} mtu ${deviceMtu} up`,
      `addr add ${own.IPv4}/24 dev ${side}`,
      `addr add ${own.IPv6}/64 dev ${side} nodad`,
      `neigh replace ${peer.IPv4} lladdr ${macText(macs[side].peer)} dev ${side} nud permanent`,
      `neigh replace ${peer.IPv6} lladdr ${macText(macs[side].peer)} dev ${side} nud permanent`,
    ];
    execFileSync('ip', ['-n', this.name, '-batch', '-'], { input: lines.join('\n') });
    // Where segments are merged on arrival, headers are pulled into the linear part for it.
    this.inside(() => value(writeOffload(side, 'generic-receive', false)));
    if (isTunnel) this.attachBehind(tunnelled, 'arrived', 'ingress');
    if (side === 'pod') this.attach('pod');
    if (isTunnel) this.attachBehind(tunnelled, 'leaves', 'egress');
  }

  /** The device vanishes. */
  unplug(side: Side): void {
    this.tap(side)[Symbol.dispose]();
  }

  /**
   * A bridge between a device with the programs and one without: whatever passes comes out at the other end as it
   * was, also what no IP stack would touch. Frames cross before `send` returns.
   */
  bridge(): { readonly pod: Tap; readonly other: Tap } {
    const names = ['odd', 'other'] as const;
    const [pod, other] = names.map((name) => this.inside(() => value(openTap(name))));
    if (pod === undefined || other === undefined) throw new Error('two names, two devices');
    const lines = [
      'link add br0 type bridge forward_delay 0 mcast_snooping 0',
      ...[...names, 'br0'].map((name) => `link set ${name} addrgenmode none mtu ${deviceMtu}`),
      ...names.map((name) => `link set ${name} master br0 up`),
      'link set br0 up',
    ];
    execFileSync('ip', ['-n', this.name, '-batch', '-'], { input: lines.join('\n') });
    this.inside(() => {
      // No address, no neighbour discovery: nothing but our frames is on the bridge.
      for (const name of [...names, 'br0']) writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
      // Where the module is loaded, it judges IP headers before a bridge forwards them.
      for (const key of ['iptables', 'ip6tables', 'arptables']) {
        const path = `/proc/sys/net/bridge/bridge-nf-call-${key}`;
        if (existsSync(path)) writeFileSync(path, '0');
      }
    });
    this.attach('odd');
    this.bridged.push(pod, other);
    return { pod, other };
  }

  private attach(device: string): void {
    for (const [program, direction] of [
      ['tc_to_pod', 'egress'],
      ['tc_from_pod', 'ingress'],
    ] as const) {
      const programFd = this.loaded.programFd(program);
      this.attachments.push(this.inside(() => value(attachDevice({ programFd, device, direction }))));
    }
  }

  /** Ours is put before whatever is there on arrival, and behind it where packets leave. */
  private attachBehind(object: LoadedObject, program: string, direction: 'ingress' | 'egress'): void {
    const programFd = object.programFd(program);
    this.attachments.push(this.inside(() => value(attachDevice({ programFd, device: 'pod', direction }))));
  }

  tap(side: Side): Tap | Tunnel {
    const tap = this.taps.get(side);
    if (tap === undefined) throw new Error(`no tap ${side}`);
    return tap;
  }

  /** The Ethernet addresses of a frame that arrives on a side. */
  ethernet(side: Side): Pick<FrameSpec, 'destinationMac' | 'sourceMac'> {
    return { destinationMac: macs[side].node, sourceMac: macs[side].peer };
  }

  /** What leaves a side for its peer within a moment, until `count` packets have come. */
  async leaving(side: Side, count = 1): Promise<readonly Left[]> {
    const seen: Left[] = [];
    const endsAtMs = performance.now() + waitMs;
    while (seen.length < count && performance.now() < endsAtMs) {
      const frame = this.tap(side).receive();
      if (frame === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      // Neighbour discovery and the like go to nobody in particular.
      if (!macs[side].peer.every((byte, index) => frame.bytes[index] === byte)) continue;
      seen.push({ ...readPacket(frame.bytes.subarray(ETHERNET)), ...frame });
    }
    return seen;
  }

  /** Nothing that left before is waiting any more. */
  drain(): void {
    for (const tap of this.taps.values()) while (tap.receive() !== undefined);
  }

  count(reason: string): number {
    const index = reasonNames.indexOf(reason);
    return Number(value(this.store.get(maps.counters, index))?.packets ?? 0n);
  }

  [Symbol.dispose](): void {
    for (const attachment of this.attachments) attachment[Symbol.dispose]();
    for (const tap of [...this.taps.values(), ...this.bridged]) tap[Symbol.dispose]();
    this.loaded[Symbol.dispose]();
    execFileSync('ip', ['netns', 'del', this.name]);
  }
}

export function at(addresses: Both, family: Family, port: number): Endpoint {
  return { address: addresses[family], port };
}
