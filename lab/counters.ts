// SPDX-License-Identifier: Apache-2.0
/** What a network namespace counted as wrong: checksums that its receivers refused. */
import { readFileSync } from 'node:fs';
import { fail, ok, type Result } from '../core/result.ts';
import { insideNamespace } from '../kernel/netns.ts';

/** Packets dropped for a wrong checksum since the namespace was made. */
export type ChecksumErrors = {
  /** Both families: the kernel counts TCP once. */
  readonly tcp: number;
  readonly udp: number;
  readonly udpIPv6: number;
  readonly icmp: number;
  readonly icmpIPv6: number;
};

/** /proc/net/snmp: for each protocol a line of names and a line of numbers. */
export function snmpCounter(text: string, protocol: string, name: string): number | undefined {
  const [names, values] = text.split('\n').filter((line) => line.startsWith(`${protocol}: `));
  const index = names?.split(' ').indexOf(name) ?? -1;
  const value = index < 1 ? undefined : values?.split(' ')[index];
  return value === undefined ? undefined : Number(value);
}

/** /proc/net/snmp6: one name and number a line; absent where the kernel has no IPv6. */
function snmp6Counter(text: string, name: string): number {
  const match = new RegExp(`^${name}\\s+(\\d+)$`, 'm').exec(text);
  return match === null ? 0 : Number(match[1]);
}

function optionalText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** Reads the counters of the namespace at `path`. */
export function readCounters(path: string): Result<ChecksumErrors> {
  const texts = insideNamespace(path, () => ({
    snmp: readFileSync('/proc/thread-self/net/snmp', 'utf8'),
    snmp6: optionalText('/proc/thread-self/net/snmp6'),
  }));
  if (!texts.ok) return texts;
  const { snmp, snmp6 } = texts.value;
  const tcp = snmpCounter(snmp, 'Tcp', 'InCsumErrors');
  const udp = snmpCounter(snmp, 'Udp', 'InCsumErrors');
  const icmp = snmpCounter(snmp, 'Icmp', 'InCsumErrors');
  if (tcp === undefined || udp === undefined || icmp === undefined) {
    return fail('environment', path, '/proc/net/snmp has no InCsumErrors', 'use Linux 3.10 or newer');
  }
  const [udpIPv6, icmpIPv6] = [snmp6Counter(snmp6, 'Udp6InCsumErrors'), snmp6Counter(snmp6, 'Icmp6InCsumErrors')];
  return ok({ tcp, udp, icmp, udpIPv6, icmpIPv6 });
}
