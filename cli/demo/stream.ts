// SPDX-License-Identifier: Apache-2.0
/** The demo's cluster as an event stream, applied to running nodes on its schedule, and what was applied when. */
import { writeFileSync } from 'node:fs';
import {
  endpointText,
  isIPv4,
  parseAddress,
  parseProtocol,
  port,
  type Address,
  type Port,
  type Protocol,
} from '../../core/address.ts';
import { objectsOf, type ClusterEvent, type ServiceObject } from '../../core/objects.ts';
import { fail, ok, type Result } from '../../core/result.ts';
import { readEventStreams, type TimedEvent } from '../../formats/events.ts';
import { instantText, nanosecondsBetween } from '../../formats/instant.ts';
import { realtimeNs } from '../../lab/clock.ts';
import type { RunningNode } from './node.ts';

/** The stream that the demo plays: a rolling update and what goes on beside it. */
export const streamPath: string = new URL('../../fixtures/demo/rolling-update.events.ndjson', import.meta.url).pathname;

/** An event and when it is due, in milliseconds from the first of its stream. */
export type Scheduled = { readonly dueMs: number; readonly event: ClusterEvent };

/** An event on one node: its effect came at some moment from `beganNs` to `doneNs` (CLOCK_REALTIME). */
export type Applied = {
  readonly node: string;
  readonly event: ClusterEvent;
  readonly beganNs: bigint;
  readonly doneNs: bigint;
};

export type Family = 'IPv4' | 'IPv6';

export const families: readonly Family[] = ['IPv4', 'IPv6'];

/** A Service address that clients connect to; `name` is `namespace/name:portName`, the same for both families. */
export type Target = {
  readonly name: string;
  readonly family: Family;
  readonly address: Address;
  readonly text: string;
  readonly protocol: Protocol;
  readonly port: Port;
};

/** Reads the schedule; a line that can't be read makes it useless. */
export function readSchedule(path: string): Result<readonly Scheduled[]> {
  const { events, failures } = readEventStreams([path]);
  const [failure] = failures;
  if (failure !== undefined) return { ok: false, error: failure };
  const [first] = events;
  if (first === undefined) return fail('input', path, 'holds no event');
  return ok(events.map((timed: TimedEvent) => ({ dueMs: nanosecondsBetween(first, timed) / 1e6, event: timed.event })));
}

/** Gives an event to a node and waits until its maps are as wanted and no socket is left with a backend that is gone. */
export function applyEvent(node: RunningNode, event: ClusterEvent): Result<Applied> {
  const beganNs = realtimeNs();
  node.event(event);
  const { failures, isSettled, unlisted } = node.step();
  // A connect() that raced this step is met by the sweep of the next event.
  const swept = node.sweep();
  const doneNs = realtimeNs();
  const [failure] = failures;
  if (failure !== undefined) return { ok: false, error: failure };
  if (!swept.ok) return swept;
  // Until Services and slices have been listed nothing is programmed, on purpose.
  if (!isSettled && unlisted.length === 0) return fail('environment', node.name, 'the maps are not as wanted');
  return ok({ node: node.name, event, beganNs, doneNs });
}

/** Everything that happened at once: what stands before the first pause of the schedule. */
export function splitSchedule(schedule: readonly Scheduled[]): {
  readonly start: readonly Scheduled[];
  readonly rest: readonly Scheduled[];
} {
  const pauseMs = 50;
  const index = schedule.findIndex(({ dueMs }, at) => dueMs - (schedule[at - 1]?.dueMs ?? dueMs) > pauseMs);
  if (index < 0) return { start: schedule, rest: [] };
  return { start: schedule.slice(0, index), rest: schedule.slice(index) };
}

/** The longest that any event was neither certainly without nor certainly with effect, in nanoseconds. */
export function longestInFlightNs(applied: readonly Applied[]): number {
  return applied.reduce((longest, { beganNs, doneNs }) => Math.max(longest, Number(doneNs - beganNs)), 0);
}

/** Writes what one node was told as an event stream for replay; each event at the moment when it began to have effect. */
export function writeStream(path: string, applied: readonly Applied[], node: string): Result<null> {
  const lines = applied
    .filter((one) => one.node === node)
    .map(({ event, beganNs }) => {
      const at = instantText({
        seconds: Number(beganNs / 1_000_000_000n),
        nanoseconds: Number(beganNs % 1_000_000_000n),
      });
      return `${JSON.stringify({ at, ...event })}\n`;
    });
  try {
    writeFileSync(path, lines.join(''));
    return ok(null);
  } catch (error) {
    return fail('environment', path, error instanceof Error ? error.message : String(error));
  }
}

function servicesOf(event: ClusterEvent): readonly ServiceObject[] {
  return objectsOf(event).filter((object) => object.kind === 'Service');
}

/** A dual-stack Service has one of each family. */
function clusterAddresses({ spec }: ServiceObject): readonly string[] {
  return spec?.clusterIPs ?? [spec?.clusterIP ?? ''];
}

/** Every port of every address of every Service in a schedule, and one port that no Service has. */
export function targetsOf(schedule: readonly Scheduled[]): Result<readonly Target[]> {
  const targets = new Map<string, Target>();
  for (const service of schedule.flatMap(({ event }) => servicesOf(event))) {
    const name = `${service.metadata?.namespace ?? ''}/${service.metadata?.name ?? ''}`;
    for (const { name: portName = '', port: number = 0, protocol = 'TCP' } of service.spec?.ports ?? []) {
      for (const address of clusterAddresses(service)) {
        const target = targetOf(`${name}:${portName}`, address, number, protocol);
        if (!target.ok) return target;
        targets.set(`${target.value.text}/${protocol}`, target.value);
      }
    }
  }
  const [first] = targets.values();
  if (first === undefined) return fail('input', 'event stream', 'holds no Service');
  const firstPort = [...targets.values()].filter(({ name }) => name === first.name);
  return ok([...targets.values(), ...firstPort.map(portBeside)]);
}

function portBeside(target: Target): Target {
  const beside = port(target.port + 1);
  const text = endpointText(target.address, beside);
  return { ...target, name: `${target.name.split(':')[0]}, no such port`, port: beside, text };
}

function targetOf(name: string, addressWritten: string, number: number, protocolWritten: string): Result<Target> {
  const address = parseAddress(addressWritten);
  if (!address.ok) return address;
  const protocol = parseProtocol(protocolWritten);
  if (!protocol.ok) return protocol;
  const family = isIPv4(address.value) ? 'IPv4' : 'IPv6';
  const text = endpointText(address.value, number);
  return ok({ name, family, address: address.value, protocol: protocol.value, port: port(number), text });
}
