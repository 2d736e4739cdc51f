// SPDX-License-Identifier: Apache-2.0
/** Nodes that hear the same objects in memory must come to what nodes come to that read everything anew. */
import { expect, test } from 'vitest';
import { createLoop } from '../../agent/loop.ts';
import { port, TCP } from '../../core/address.ts';
import { canonical } from '../../core/control/canonical.ts';
import { configOf } from '../../core/datapath/datapath.ts';
import { createMaps, storeOf } from '../../core/datapath/maps.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import { createOracleTimeline } from '../../core/oracle.ts';
import { createStream, type Stream } from '../../core/random.ts';
import { createApi, watchedKinds, type Api } from '../../sim/api.ts';
import { createClock } from '../../sim/clock.ts';
import { createCluster, type Cluster } from '../../sim/cluster.ts';
import { change } from '../../sim/faults.ts';
import { addressOf } from '../../sim/frame.ts';
import { configOfNode } from '../../sim/node.ts';
import { sizesFor } from '../../sim/run.ts';
import { drawSwarm } from '../../sim/swarm.ts';

const SERVICES = 6;

/** One node's loop and oracle, and what they say. */
function listener(index: number, isShared: boolean) {
  const sizes = { ...sizesFor(SERVICES), flowBuckets: 2, peers: 2 };
  const store = storeOf(createMaps(configOf(), sizes));
  const loop = createLoop({ store, node: configOfNode(index), onProblem: () => undefined });
  const oracle = createOracleTimeline({ nodeName: `node-${index}` });
  return {
    hear: (timeNs: number, event: ClusterEvent): void => {
      const heard = isShared ? event : structuredClone(event);
      oracle.apply(timeNs, heard);
      loop.event(heard);
      loop.step();
    },
    says: (timeNs: number, { apps }: Cluster): string => {
      const meaning = canonical(store);
      const questions = apps.flatMap(({ clusterIP, families, ports }) =>
        families.flatMap((family) =>
          ports.map((it) => ({ address: addressOf(clusterIP, family === 'IPv6'), port: port(it.port) })),
        ),
      );
      const judgements = questions.map((question) =>
        oracle.judge(timeNs, timeNs / 2, { client: 'pod', protocol: TCP, ...question }),
      );
      return `${meaning.ok ? meaning.value : meaning.error.message}\n${JSON.stringify(judgements, undefined, 1)}`;
    },
  };
}

/** Two that hear the same but for what one leaves out until its next list, each with one that reads everything anew. */
function listenersTo(api: Api, stream: Stream, nowNs: () => number) {
  const sides = [0, 1].map((index) => ({
    isDeaf: false,
    both: [listener(index, true), listener(index, false)] as const,
  }));
  const list = ({ both }: (typeof sides)[number], kind: (typeof watchedKinds)[number]): void => {
    for (const it of both) it.hear(nowNs(), { type: 'LISTED', kind, items: api.list(kind).items });
  };
  for (const kind of watchedKinds) {
    for (const side of sides) list(side, kind);
    api.subscribe(kind, ({ event }) => {
      for (const [index, side] of sides.entries()) {
        if (index === 1 && stream.chance(0.1)) side.isDeaf = !side.isDeaf;
        if (!side.isDeaf) for (const it of side.both) it.hear(nowNs(), event);
        else if (stream.chance(0.3)) list(side, kind);
      }
    });
  }
  return sides;
}

test.each([1, 2, 3, 4, 5, 6])('what is read once says what is read anew, seed %i', (seed) => {
  const clock = createClock();
  const api = createApi();
  const [stream, other] = [createStream(seed, 1), createStream(seed, 2)];
  const swarm = { ...drawSwarm(createStream(seed, 3)), localShare: 0.3 };
  const cluster = createCluster({ clock, stream, swarm, api, nodes: 2, services: SERVICES });
  cluster.bootstrap();
  const sides = listenersTo(api, other, () => clock.nowUs() * 1000);
  for (let step = 1; step <= 60; step += 1) {
    change({ clock, stream, swarm, api, cluster, nodes: [], onLine: () => undefined });
    clock.runUntil(step * 1e6, () => false);
    for (const { both } of sides) {
      const [shared, anew] = both.map((it) => it.says(clock.nowUs() * 1000, cluster));
      expect(shared).toBe(anew);
    }
  }
});
