// SPDX-License-Identifier: Apache-2.0
/** What the tests of lab nodes share: the demo's cluster as it starts, its Service addresses, and what was counted. */
import { expect } from 'vitest';
import type { RunningNode } from '../../cli/demo/node.ts';
import {
  applyEvent,
  readSchedule,
  splitSchedule,
  streamPath,
  targetsOf,
  type Applied,
  type Family,
  type Scheduled,
  type Target,
} from '../../cli/demo/stream.ts';
import type { Visit } from '../../cli/demo/visitors.ts';
import type { EndpointSliceObject } from '../../core/objects.ts';
import { failureText, type Result } from '../../core/result.ts';
import { readCounters } from '../../lab/counters.ts';
import type { Lab } from '../../lab/lab.ts';

export const selectionKey = [11, 12] as const;

export const webs = {
  web1: { IPv4: '10.244.1.4', IPv6: 'fd00:10:244:1::4' },
  web2: { IPv4: '10.244.1.5', IPv6: 'fd00:10:244:1::5' },
  web3: { IPv4: '10.244.2.4', IPv6: 'fd00:10:244:2::4' },
  web4: { IPv4: '10.244.2.5', IPv6: 'fd00:10:244:2::5' },
} as const;

export function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

export const schedule: readonly Scheduled[] = value(readSchedule(streamPath));
const targets: readonly Target[] = value(targetsOf(schedule));

export function target(name: string, family: Family = 'IPv4'): Target {
  return targets.find((one) => one.name === name && one.family === family) ?? expect.unreachable(`no target ${name}`);
}

/** The slice of one family of a Service, with these pods as its ready endpoints. */
export function slice(
  name: string,
  port: number,
  pods: readonly (keyof typeof webs)[],
  family: Family = 'IPv4',
): EndpointSliceObject {
  const sliceName = `${name}-demo${family === 'IPv4' ? 1 : 2}`;
  return {
    kind: 'EndpointSlice',
    addressType: family,
    metadata: { name: sliceName, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
    endpoints: pods.map((pod) => {
      const nodeName = pod === 'web1' || pod === 'web2' ? 'node1' : 'node2';
      const targetRef = { kind: 'Pod', name: pod };
      return { addresses: [webs[pod][family]], conditions: { ready: true }, nodeName, targetRef };
    }),
    ports: [{ name: port === 9090 ? 'chat' : 'http', port, protocol: 'TCP' }],
  };
}

/** Tells the nodes what the schedule begins with. */
export function programStart(nodes: readonly RunningNode[]): Applied[] {
  const { start } = splitSchedule(schedule);
  return start.flatMap(({ event }) => nodes.map((node) => value(applyEvent(node, event))));
}

/** Pod and protocol to the wrong checksums that it counted; nothing where there were none. */
export function wrongChecksums(lab: Lab): Record<string, number> {
  const counts = lab.spec.pods.flatMap(({ name }) => {
    const counted = Object.entries(value(readCounters(lab.pod(name).namespacePath)));
    return counted.map(([protocol, count]) => [`${name} ${protocol}`, count] as const);
  });
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

export async function repeat(times: number, action: () => Promise<Visit>): Promise<readonly Visit[]> {
  return Promise.all(Array.from({ length: times }, action));
}

export function durationMs({ report: { startedNs, endedNs } }: Visit): number {
  return Number(BigInt(endedNs) - BigInt(startedNs)) / 1e6;
}
