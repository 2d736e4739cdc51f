// SPDX-License-Identifier: Apache-2.0
/** What the tests of the demo share: its cluster, what was applied when, its judge, and visits as they may turn out. */
import { expect } from 'vitest';
import { createJudge, type Judge } from '../../cli/demo/judge.ts';
import {
  readSchedule,
  streamPath,
  targetsOf,
  type Applied,
  type Family,
  type Scheduled,
  type Target,
} from '../../cli/demo/stream.ts';
import type { Road, Visit } from '../../cli/demo/visitors.ts';
import { failureText, type Result } from '../../core/result.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import type { ConnectionReport } from '../../lab/wire.ts';

/** Of a nanosecond clock. */
export const millisecond = 1_000_000n;

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

export const schedule: readonly Scheduled[] = value(readSchedule(streamPath));
export const targets: readonly Target[] = value(targetsOf(schedule));
const spec = twoNodes('x', { ipv6: true });

export function target(name: string, family: Family = 'IPv4'): Target {
  return targets.find((one) => one.name === name && one.family === family) ?? expect.unreachable(`no target ${name}`);
}

/** Both nodes hear of each event when it is due and take 10 ms for it. */
export const applied: readonly Applied[] = schedule.flatMap(({ dueMs, event }) => {
  const beganNs = BigInt(Math.round(dueMs * 1e6));
  return ['node1', 'node2'].map((node) => ({ node, event, beganNs, doneNs: beganNs + 10n * millisecond }));
});

export const judge: Judge = createJudge(spec, applied, { originNs: 0n, inFlightNs: 10_000_000 });

export const pods: Readonly<Record<Family, Readonly<Record<string, string>>>> = {
  IPv4: {
    web1: '10.244.1.4:8080',
    web2: '10.244.1.5:8080',
    web3: '10.244.2.4:8080',
    web4: '10.244.2.5:8080',
  },
  IPv6: {
    web1: '[fd00:10:244:1::4]:8080',
    web2: '[fd00:10:244:1::5]:8080',
    web3: '[fd00:10:244:2::4]:8080',
    web4: '[fd00:10:244:2::5]:8080',
  },
};

const client1: Readonly<Record<Family, string>> = { IPv4: '10.244.1.6', IPv6: 'fd00:10:244:1::6' };

export type VisitOptions = {
  readonly to?: string;
  readonly family?: Family;
  readonly by?: string;
  readonly atMs?: number;
  readonly road?: Road;
  readonly report?: Partial<ConnectionReport>;
};

/** A connection of client1 that took a millisecond; `by`: the pod that answered, or how else it ended. */
export function visitOf(options: VisitOptions): Visit {
  const { to = 'shop/web:http', family = 'IPv4', by = 'web1', atMs = 300, road = 'packet', report = {} } = options;
  const startedNs = BigInt(Math.round(atMs * 1e6));
  const { text } = target(to, family);
  const answered: ConnectionReport = {
    id: 1,
    result: 'answered',
    errno: null,
    by,
    answeredAs: pods[family][by] ?? null,
    peerSeen: family === 'IPv4' ? '10.244.1.6:20000' : '[fd00:10:244:1::6]:20000',
    peerName: text,
    localPort: 20_000,
    startedNs: String(startedNs),
    connectedNs: String(startedNs + millisecond),
    endedNs: String(startedNs + 2n * millisecond),
  };
  const refused = { by: null, answeredAs: null, peerSeen: null, peerName: null, connectedNs: null } as const;
  const ended = by in pods[family] ? answered : { ...answered, ...refused, result: by as ConnectionReport['result'] };
  const from = { pod: 'client1', address: client1[family], node: 'node1', road };
  const rest = { call: 'stream', isHeld: false, before: null, isEnded: false } as const;
  return { from, target: target(to, family), report: { ...ended, ...report }, ...rest };
}
