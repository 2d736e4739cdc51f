// SPDX-License-Identifier: Apache-2.0
/**
 * A VXLAN device on top of a tap: the outer checksum is verified by summing, so the frame inside arrives as
 * CHECKSUM_COMPLETE, which no tap can say of its own frames.
 */
import { execFileSync } from 'node:child_process';
import { ok, type Result } from '../../core/result.ts';
import { openTap, type FrameState, type LeftFrame, type Tap } from '../../kernel/tun.ts';
import { frameOf, type FrameSpec } from './wire.ts';

const NEAR = { address: '192.0.2.1', port: 50_000 };
const FAR = { address: '192.0.2.2', port: 4789 };
const NEAR_MAC = [2, 0, 0, 0, 9, 1];
const FAR_MAC = [2, 0, 0, 0, 9, 2];
const NETWORK = 7;
/** Ethernet, IPv4, UDP and VXLAN. */
const OUTER_BYTES = 50;
const UNDER = 'under';
const UNDER_MTU = 9_200;

function macText(mac: readonly number[]): string {
  return mac.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** What a frame of the far end looks like on the tap. */
function wrapped(frame: Uint8Array): Buffer {
  const header = Buffer.from([8, 0, 0, 0, 0, 0, NETWORK, 0]);
  const spec: FrameSpec = {
    protocol: 'UDP',
    from: { ...FAR, port: NEAR.port },
    to: { ...NEAR, port: FAR.port },
    payload: Buffer.concat([header, frame]),
    destinationMac: NEAR_MAC,
    sourceMac: FAR_MAC,
  };
  return frameOf(spec);
}

export class Tunnel implements Disposable {
  private readonly tap: Tap;

  constructor(tap: Tap) {
    this.tap = tap;
  }

  /** The frame arrives on the tunnel's device as it is: nothing can be said of its state. */
  send(frame: Uint8Array, state: FrameState = {}): Result<number> {
    if (Object.values(state).some((value) => value !== undefined && value !== false))
      throw new Error('a tunnel carries frames as they are');
    const sent = this.tap.send(wrapped(frame));
    return sent.ok ? ok(frame.length) : sent;
  }

  /** The next frame that left by the tunnel. */
  receive(): LeftFrame | undefined {
    for (let left = this.tap.receive(); left !== undefined; left = this.tap.receive()) {
      const isOurs = FAR_MAC.every((byte, index) => left?.bytes[index] === byte);
      if (isOurs) return { ...left, bytes: left.bytes.subarray(OUTER_BYTES) };
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.tap[Symbol.dispose]();
  }
}

/** Makes the tunnel's device in a named network namespace, whose thread runs what `inside` is given. */
export function openTunnel(name: string, namespace: string, inside: <T>(action: () => T) => T): Tunnel {
  const tap = inside(() => openTap(UNDER));
  if (!tap.ok) throw new Error(tap.error.message);
  const lines = [
    `link set ${UNDER} address ${macText(NEAR_MAC)} mtu ${UNDER_MTU} up`,
    `addr add ${NEAR.address}/24 dev ${UNDER}`,
    `neigh replace ${FAR.address} lladdr ${macText(FAR_MAC)} dev ${UNDER} nud permanent`,
    `link add ${name} type vxlan id ${NETWORK} local ${NEAR.address} remote ${FAR.address} dstport ${FAR.port} dev ${UNDER} udpcsum nolearning`,
  ];
  execFileSync('ip', ['-n', namespace, '-batch', '-'], { input: lines.join('\n') });
  return new Tunnel(tap.value);
}
