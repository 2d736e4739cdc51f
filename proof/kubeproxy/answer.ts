// SPDX-License-Identifier: Apache-2.0
/** What a new connection of a client meets at a frontend: the vocabulary in which kube-proxy's rules and the document are compared. */
import { hostText } from '../../core/address.ts';

/**
 * Who asks: a pod of this node that is nobody's backend, a process of this node, a pod of another node, somebody outside
 * of the cluster, or a pod of this node that is one of the backends.
 */
export type ClientClass = 'pod' | 'process' | 'foreign-pod' | 'outside' | 'backend';

export const clientClasses: readonly ClientClass[] = ['pod', 'process', 'foreign-pod', 'outside', 'backend'];

export type ProtocolName = 'tcp' | 'udp' | 'sctp';

export type FrontendKey = { readonly address: string; readonly port: number; readonly protocol: ProtocolName };

/** One backend: its part of the new connections, and whose address it sees. */
export type Share = { readonly probability: number; readonly sees: 'client' | 'node' };

export type Answer =
  | {
      readonly kind: 'backends';
      /** By `address:port`. */
      readonly shares: ReadonlyMap<string, Share>;
      /** null: no affinity. */
      readonly affinitySeconds: number | null;
    }
  | { readonly kind: 'refuse' | 'drop' | 'pass' }
  /** Nothing a Service may mean. */
  | { readonly kind: 'senseless'; readonly why: string };

export function frontendText({ address, port, protocol }: FrontendKey): string {
  return `${backendText(address, port)}/${protocol}`;
}

export function backendText(address: string, port: number): string {
  return `${hostText(address)}:${port}`;
}

const PROBABILITY_ERROR = 1e-9;

/** The first field that differs, with both values; undefined: equal. */
export function firstDifference(left: Answer, right: Answer): readonly [string, string, string] | undefined {
  if (left.kind !== right.kind || left.kind === 'senseless') {
    return ['outcome', answerText(left), answerText(right)];
  }
  if (left.kind !== 'backends' || right.kind !== 'backends') return undefined;
  const names = (answer: { readonly shares: ReadonlyMap<string, Share> }): string =>
    [...answer.shares.keys()].sort().join(', ');
  if (names(left) !== names(right)) return ['backends', names(left), names(right)];
  for (const [name, share] of left.shares) {
    const other = right.shares.get(name);
    if (other === undefined) continue;
    if (Math.abs(share.probability - other.probability) > PROBABILITY_ERROR) {
      return [`share of ${name}`, share.probability.toFixed(4), other.probability.toFixed(4)];
    }
    if (share.sees !== other.sees) return [`source that ${name} sees`, share.sees, other.sees];
  }
  if (left.affinitySeconds === right.affinitySeconds) return undefined;
  return ['affinity in seconds', String(left.affinitySeconds), String(right.affinitySeconds)];
}

export function answerText(answer: Answer): string {
  if (answer.kind === 'senseless') return `senseless: ${answer.why}`;
  if (answer.kind !== 'backends') return answer.kind;
  const shares = [...answer.shares].sort(([left], [right]) => (left < right ? -1 : 1));
  return `backends ${shares.map(([name, { sees }]) => `${name} (sees ${sees})`).join(', ')}`;
}
