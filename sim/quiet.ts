// SPDX-License-Identifier: Apache-2.0
/** What must be so once the faults are over: maps as if made at once, traffic to who is ready, none to who is gone. */
import { createLoop } from '../agent/loop.ts';
import { canonical } from '../core/control/canonical.ts';
import { configOf } from '../core/datapath/datapath.ts';
import { createMaps, storeOf, type MapSizes } from '../core/datapath/maps.ts';
import { watchedKinds, type Api } from './api.ts';
import type { Broken } from './checkers.ts';
import type { App, AppPort, Cluster } from './cluster.ts';
import { wordText } from './frame.ts';
import { configOfNode, everyKind, type SimNode } from './node.ts';
import type { Traffic } from './traffic.ts';

/** Tries per ready pod until one that is never chosen counts as forgotten: e^-60 of the rightful runs. */
const TRIES = 60;

/** The meaning of maps made at once from the objects as they are. */
export function freshMeaning(api: Api, node: number, sizes: MapSizes): string {
  const store = storeOf(createMaps(configOf(), { ...sizes, flowBuckets: 2, peers: 2, affinity: 2, netns: 1 }));
  const loop = createLoop({ store, node: configOfNode(node), whyNot: everyKind, onProblem: () => undefined });
  for (const kind of watchedKinds) loop.event({ type: 'LISTED', kind, items: api.list(kind).items });
  loop.step();
  return meaningOf(store);
}

function meaningOf(store: Parameters<typeof canonical>[0]): string {
  const meaning = canonical(store);
  return meaning.ok ? meaning.value : `unreadable: ${meaning.error.message}`;
}

/** undefined: the node has what it should have. `isTight`: its maps may be too small, which it must then say. */
export function checkConverged(node: SimNode, fresh: string, isTight: boolean): Broken | undefined {
  const meaning = meaningOf(node.store);
  const differing = meaning === fresh ? undefined : firstDifference(meaning, fresh);
  const failures = node.report?.failures ?? [];
  const isShort = isTight && failures.some(({ kind }) => kind === 'limit');
  if (isShort && !/broken/.test(meaning)) return undefined;
  if (node.report?.isSettled !== true) {
    const why = failures[0] === undefined ? '' : `: ${failures[0].object} ${failures[0].message}`;
    return { invariant: 'convergence', what: `the agent is ${node.phase}${why}` };
  }
  if (differing !== undefined) return { invariant: isTight ? 'rows-within-capacity' : 'convergence', what: differing };
  const strays = node.order.strays();
  if (strays.length === 0) return undefined;
  return { invariant: 'convergence', what: `${strays.length} live backends that no frontend names` };
}

function firstDifference(meaning: string, fresh: string): string {
  const held = new Set(meaning.split('\n'));
  const wanted = new Set(fresh.split('\n'));
  const missing = [...wanted].find((line) => !held.has(line));
  const extra = [...held].find((line) => !wanted.has(line));
  return `maps differ: ${missing === undefined ? '' : `missing ${missing}`}${extra === undefined ? '' : ` extra ${extra}`}`;
}

/** Asks a Service on a node, in each family and on each port, until each ready pod has been chosen. */
export function checkTraffic(cluster: Cluster, traffic: Traffic, node: SimNode, app: App): Broken | undefined {
  for (const family of app.families) {
    for (const port of app.ports) {
      const broken = checkPort(cluster, traffic, node, app, port, family === 'IPv6');
      if (broken !== undefined) return broken;
    }
  }
  return undefined;
}

function checkPort(
  cluster: Cluster,
  traffic: Traffic,
  node: SimNode,
  app: App,
  port: AppPort,
  isIPv6: boolean,
): Broken | undefined {
  const ready = app.pods.filter((pod) => pod.state === 'ready' && (!app.isLocal || pod.node === node.index));
  const expected = new Set(app.exists ? ready.map(({ address }) => address) : []);
  const waiting = new Set(expected);
  for (let tries = 0; tries <= expected.size * TRIES; tries += 1) {
    const backend = traffic.probe(node, app.clusterIP, port, isIPv6);
    if (backend !== 0 && !expected.has(backend)) {
      const state = cluster.podAt(backend)?.state ?? 'gone';
      const what = `${app.name} sends to ${wordText(backend, isIPv6)}, which is ${state}`;
      return { invariant: 'removed-gets-none', what };
    }
    waiting.delete(backend);
    if (waiting.size === 0) break;
  }
  const [forgotten] = waiting;
  if (forgotten === undefined) return undefined;
  const what = `${app.name} never sends to ${wordText(forgotten, isIPv6)}, which is ready`;
  return { invariant: 'ready-gets-traffic', what };
}
