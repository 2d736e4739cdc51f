// SPDX-License-Identifier: Apache-2.0
/** Other ways to come to where a scenario comes: what is served depends on the last word about each object alone. */
import { objectKey } from '../../core/control/decode.ts';
import { kindOf, type ClusterEvent, type ClusterObject } from '../../core/objects.ts';
import type { Scenario } from '../../formats/scenario.ts';
import { KINDS, Stage, type Played } from './play.ts';

/** How a node begins: tests of the ways have one that goes wrong. */
export type Start = (config: Scenario['config']) => Stage;

const startStage: Start = (config) => new Stage(config);

/** What is so after each step, as the scenario tells it. */
export function playScenario({ config, steps }: Scenario, start: Start = startStage): Played[] {
  const stage = start(config);
  return steps.map(({ events }) => stage.tell(events));
}

/** `undefined`: this step is passed over on this way. */
export type Way = (scenario: Scenario, start?: Start) => readonly (Played | undefined)[];

/** By what differs from the scenario. */
export const ways: Readonly<Record<string, Way>> = {
  'in reverse order': ({ config, steps }, start = startStage) => {
    const events = reversed(steps.flatMap((step) => step.events));
    return atTheEnd(steps.length, start(config).tell(events));
  },
  'each step in reverse order': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    return steps.map(({ events }) => stage.tell(reversed(events)));
  },
  'in one step': ({ config, steps }, start = startStage) => {
    const events = steps.flatMap((step) => step.events);
    return atTheEnd(steps.length, start(config).tell(events));
  },
  'each event alone': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    return steps.map(({ events }) => events.map((event) => stage.tell([event])).at(-1));
  },
  'each event twice': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    return steps.map(({ events }) => stage.tell(events.flatMap((event) => [event, copyOf(event)])));
  },
  'each step twice': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    return steps.map(({ events }) => {
      stage.tell(events);
      const { writes } = stage;
      const played = stage.tell(events.map(copyOf));
      if (stage.writes !== writes) throw new Error(`nothing is new, but ${stage.writes - writes} writes were made`);
      return played;
    });
  },
  'with nothing there between the steps': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    const nothing = stage.tell([]).maps;
    return statesOf(steps).map((state) => {
      const objects = [...state.objects.values()];
      const played = stage.tell([...objects.map((object) => ({ type: 'ADDED' as const, object })), ...state.gaps]);
      const gone = objects.map((object) => ({ type: 'DELETED' as const, object }));
      // Only a list ends what a lost watch began.
      const ended = state.gaps.map((gap) => ({ type: 'LISTED' as const, kind: kindOf(gap), items: [] }));
      const empty = stage.tell([...gone, ...ended]);
      if (empty.maps !== nothing) throw new Error(`nothing is there, but the maps say:\n${empty.dump}`);
      return played;
    });
  },
  'by lists instead of events': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    return statesOf(steps).map((state) => stage.tell(lists(state)));
  },
  'each state alone': ({ config, steps }, start = startStage) =>
    statesOf(steps).map((state) => start(config).tell(lists(state))),
  'with a restart at each step': ({ config, steps }, start = startStage) => {
    const stage = start(config);
    return statesOf(steps).map((state) => stage.restart(lists(state)));
  },
};

function atTheEnd(steps: number, played: Played): readonly (Played | undefined)[] {
  return [...Array.from({ length: steps - 1 }, () => undefined), played];
}

function identityOf(object: ClusterObject): string {
  return `${object.kind} ${objectKey(object.metadata) ?? object.metadata?.name ?? ''}`;
}

/** The order of what is said of one object stays; a list is about everything of its kind. */
function reversed(events: readonly ClusterEvent[]): ClusterEvent[] {
  const listed = new Set(events.filter((event) => !('object' in event)).map(kindOf));
  const groups = new Map<string, ClusterEvent[]>();
  for (const event of events) {
    const kind = kindOf(event);
    const about = 'object' in event && !listed.has(kind) ? identityOf(event.object) : kind;
    const group = groups.get(about);
    if (group === undefined) groups.set(about, [event]);
    else group.push(event);
  }
  return [...groups.values()].toReversed().flat();
}

/** A watch that begins again sends another object of the same content. */
function copyOf(event: ClusterEvent): ClusterEvent {
  return structuredClone(event);
}

type State = { readonly objects: ReadonlyMap<string, ClusterObject>; readonly gaps: readonly ClusterEvent[] };

/** The objects that are there after each step, and the watches that are broken then. */
function statesOf(steps: Scenario['steps']): State[] {
  const objects = new Map<string, ClusterObject>();
  const gaps = new Map<string, ClusterEvent>();
  return steps.map(({ events }) => {
    for (const event of events) follow(objects, gaps, event);
    return { objects: new Map(objects), gaps: [...gaps.values()] };
  });
}

function follow(objects: Map<string, ClusterObject>, gaps: Map<string, ClusterEvent>, event: ClusterEvent): void {
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      objects.set(identityOf(event.object), event.object);
      return;
    case 'DELETED':
      objects.delete(identityOf(event.object));
      return;
    case 'LISTED':
      for (const [identity, { kind }] of objects) if (kind === event.kind) objects.delete(identity);
      for (const object of event.items) objects.set(identityOf(object), object);
      gaps.delete(event.kind);
      return;
    case 'DISCONNECTED':
      gaps.set(event.kind, event);
      return;
    case 'BOOKMARK':
      return;
  }
}

function lists({ objects, gaps }: State): ClusterEvent[] {
  const all = [...objects.values()];
  const listed = KINDS.map((kind) => ({ type: 'LISTED' as const, kind, items: all.filter((it) => it.kind === kind) }));
  return [...listed, ...gaps];
}
