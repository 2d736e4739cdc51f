// SPDX-License-Identifier: Apache-2.0
/** Names of Service ports and pods as text, and the stable 64-bit hashes that stand for them in map entries. */
import { endpointText, protocolText, type Address, type Port, type Protocol } from '../address.ts';
import type { Frontend, ServicePortName } from '../service.ts';

/** Two unsigned 32-bit words. */
export type Hash = readonly [number, number];

const NO_HASH: Hash = [0, 0];

/** Order by UTF-16 code units, the same everywhere. */
export function compareTexts(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** `namespace/name`. */
export function serviceText(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** `namespace/name:portName/protocol`, what the name hash is made of. */
export function servicePortText(name: ServicePortName): string {
  return `${name.namespace}/${name.name}:${name.portName}/${protocolText(name.protocol)}`;
}

/** `address:port/protocol`: who owns it is decided once for the whole node. */
export function frontendText(address: Address, port: Port, protocol: Protocol): string {
  return `${endpointText(address, port)}/${protocolText(protocol)}`;
}

/** As claims and images know a frontend. */
export function keyText({ address, port, protocol }: Pick<Frontend, 'address' | 'port' | 'protocol'>): string {
  return frontendText(address, port, protocol);
}

/**
 * The same on every node and in every version, since it decides which backend a client gets: two multiplicative
 * lanes over the UTF-16 code units with different odd factors, then a cross-mixing finish (the public-domain "cyrb"
 * construction). Not secret and not collision-resistant against malice: who needs a name unique must compare it.
 */
export function hashText(text: string): Hash {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    high = Math.imul(high ^ unit, 0x9e3779b1);
    low = Math.imul(low ^ unit, 0x5f356495);
  }
  const highMixed = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  const lowMixed = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(highMixed ^ (highMixed >>> 13), 0xc2b2ae35);
  return [lowMixed >>> 0, highMixed >>> 0];
}

/** What `service.name_hash` holds. Never zero: zero stands for rows that belong to no Service. */
export function nameHash(servicePort: string): Hash {
  const [low, high] = hashText(servicePort);
  return low === 0 && high === 0 ? [1, 0] : [low, high];
}

/** What `backend.identity` holds; zero where the pod isn't known. */
export function podIdentity(uid: string): Hash {
  if (uid === '') return NO_HASH;
  const [low, high] = hashText(uid);
  return low === 0 && high === 0 ? [1, 0] : [low, high];
}

/** Two hex digits of each byte: a tenth of a full pass over 500 Services went into formatting numbers. */
const BYTES_HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function wordHex(word: number): string {
  const high = `${BYTES_HEX[word >>> 24]}${BYTES_HEX[(word >>> 16) & 0xff]}`;
  return `${high}${BYTES_HEX[(word >>> 8) & 0xff]}${BYTES_HEX[word & 0xff]}`;
}

/** Sixteen hex digits: hashes as keys of a Map. */
export function hashHex(hash: Hash): string {
  return wordHex(hash[1]) + wordHex(hash[0]);
}

/** Whether two hashes are one. */
export function sameHash(left: Hash, right: Hash): boolean {
  return left[0] === right[0] && left[1] === right[1];
}

/** Whether an address has surely passed to another pod; unknown pods prove nothing. */
export function isOtherPod(before: Hash, after: Hash): boolean {
  return !sameHash(before, NO_HASH) && !sameHash(after, NO_HASH) && !sameHash(before, after);
}
