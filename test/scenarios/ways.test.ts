// SPDX-License-Identifier: Apache-2.0
/** Each way to play a scenario finds a fault that the scenario as it is told does not. */
import { describe, expect, test } from 'vitest';
import { kindOf, type ClusterEvent } from '../../core/objects.ts';
import { readScenario, type Scenario } from '../../formats/scenario.ts';
import { playScenario, ways } from './expand.ts';
import { Stage, type Played } from './play.ts';

const TEXT = `Endpoints come, change and go.
rules: H3
-- config --
nodeName: node-a
-- objects --
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
-- step: another Service, and other endpoints --
event: ADDED
kind: Service
metadata: {name: api}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}
---
event: MODIFIED
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.2]}]
`;

function scenario(): Scenario {
  const read = readScenario('ways', TEXT);
  if (!read.ok) throw new Error(read.error.message);
  return read.value;
}

type Hears = (events: readonly ClusterEvent[]) => readonly ClusterEvent[];

/** Hears something else than what it is told. */
class Deaf extends Stage {
  readonly #hears: Hears;

  constructor(config: Scenario['config'], hears: Hears) {
    super(config);
    this.#hears = hears;
  }

  override tell(events: readonly ClusterEvent[]): Played {
    // The first lists are told before there is anything to hear them with.
    return super.tell(#hears in this ? this.#hears(events) : events);
  }
}

/** A slice that comes before its Service is lost. */
function withoutEarlySlices(): Hears {
  let isKnown = false;
  return (events) =>
    events.filter((event) => {
      isKnown ||= 'object' in event && event.object.kind === 'Service' && event.object.metadata?.name === 'web';
      return isKnown || kindOf(event) !== 'EndpointSlice';
    });
}

/** What is heard a second time is taken for its end. */
function withoutRepeated(): Hears {
  const heard = new Set<string>();
  return (events) =>
    events.flatMap((event): ClusterEvent[] => {
      const text = JSON.stringify(event);
      if (!heard.has(text) || !('object' in event)) {
        heard.add(text);
        return [event];
      }
      return [{ type: 'DELETED', object: event.object }];
    });
}

function lastOfEach(events: readonly ClusterEvent[]): readonly ClusterEvent[] {
  return events.length < 3 ? events : events.slice(-2);
}

const faults: Readonly<Record<string, () => Hears>> = {
  'in reverse order': withoutEarlySlices,
  'each step in reverse order': withoutEarlySlices,
  'in one step': () => lastOfEach,
  'each event alone': () => (events) => (events.length < 2 ? [] : events),
  'each event twice': withoutRepeated,
  'each step twice': withoutRepeated,
  'with nothing there between the steps': () => (events) => events.filter(({ type }) => type !== 'DELETED'),
  'by lists instead of events': () => (events) => events.filter(({ type }) => type !== 'LISTED'),
  'each state alone': () => (events) => events.filter(({ type }) => type !== 'LISTED'),
  'with a restart at each step': () => (events) =>
    events.filter((event) => event.type !== 'LISTED' || event.kind !== 'EndpointSlice'),
};

describe('a fault that is found', () => {
  const told = playScenario(scenario());

  test.each(Object.entries(ways))('%s', (name, way) => {
    const hears = faults[name];
    if (hears === undefined) throw new Error(`no fault for this way: ${name}`);
    const start = (config: Scenario['config']): Stage => new Deaf(config, hears());
    expect(playScenario(scenario(), start)).toEqual(told);
    expect(() => {
      for (const [index, there] of way(scenario(), start).entries())
        if (there !== undefined) expect(there).toEqual(told[index]);
    }).toThrow();
  });
});
