// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { replayFiles } from '../../cli/replay.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { readEventStreams } from '../../formats/events.ts';
import { readNodeFacts } from '../../formats/node.ts';
import { totalOf } from '../../replay/tally.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('recordings of a real cluster', () => {
  test.each([
    ['rolling-update', 'node1'],
    ['rolling-update', 'node2'],
    ['no-endpoints', 'node1'],
    ['no-endpoints', 'node2'],
    ['udp-stale', 'node1'],
    ['udp-stale', 'node2'],
  ])(
    '%s on %s: the kernel does with every packet what the model does, to the last bit of the flow table',
    async (name, host) => {
      const base = `${root}fixtures/${name}/`;
      const facts = readNodeFacts(`${base}${host}.json`);
      expect(facts.ok).toBe(true);
      if (!facts.ok) return;
      const kinds = ['services', 'endpointslices', 'nodes'];
      const replayed = await replayFiles({
        captures: [`${base}${host}.pcap`],
        streams: readEventStreams(kinds.map((kind) => `${base}${kind}.events.ndjson`)),
        facts: facts.value,
        config: defaultConfiguration(),
        seed: 0,
        allowUnattributed: false,
      });
      expect(replayed.ok).toBe(true);
      if (!replayed.ok) return;
      const { tally, setting } = replayed.value;
      expect(setting.noKernel).toBeNull();
      expect(setting.objectSha256).toMatch(/^[0-9a-f]{64}$/);
      expect(tally.firstDifference).toBeUndefined();
      expect(tally.tableDifference).toBeUndefined();
      expect(tally.differences).toBe(0);
      expect(tally.comparedWithKernel).toBe(totalOf(tally.inputs));
      expect(tally.mapFailures).toEqual(new Map());
      expect(tally.replies.differing).toBe(0);
      expect(tally.modelNotPermitted).toEqual([]);
      const chosen = tally.connections.filter(({ notJudged }) => notJudged === undefined);
      expect(chosen.map(({ kernel }) => kernel)).toEqual(chosen.map(({ model }) => model));
    },
  );
});
