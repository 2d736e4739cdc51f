// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { replayFiles } from '../../cli/replay.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { readEventStreams, type EventStreams } from '../../formats/events.ts';
import { readNodeFacts } from '../../formats/node.ts';
import type { PacketLine } from '../../replay/lines.ts';
import { totalOf } from '../../replay/tally.ts';
import { tcp } from '../replay/packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  connection,
  eventLine,
  facts,
  LOCAL,
  LOCAL_DEVICE,
  on,
  prefixOf,
  SERVICE,
  service,
  slice,
  streamsOf,
  type Frame,
} from '../replay/recording.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('recordings of a real cluster', () => {
  test.each([
    ['rolling-update', 'node1'],
    ['rolling-update', 'node2'],
    ['no-endpoints', 'node1'],
    ['no-endpoints', 'node2'],
    ['udp-stale', 'node1'],
    ['udp-stale', 'node2'],
    ['affinity', 'node1'],
    ['affinity', 'node2'],
    ['outside', 'node1'],
    ['outside', 'node2'],
    ['outside-iptables', 'node1'],
    ['outside-iptables', 'node2'],
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

describe('a recording by hand', () => {
  const streamsBy = (given: object): EventStreams =>
    streamsOf([eventLine(0, 'ADDED', given), eventLine(0, 'ADDED', slice([LOCAL]))]);
  const replayed = async (frames: readonly Frame[], streams: EventStreams): Promise<readonly PacketLine[]> => {
    const lines: PacketLine[] = [];
    const answer = await replayFiles({
      captures: [captureOf(frames)],
      streams,
      facts,
      config: { ...defaultConfiguration(), serviceCIDRs: [prefixOf('10.96.0.0/16')] },
      seed: 0,
      allowUnattributed: false,
      onLine: (line) => lines.push(line),
    });
    expect(answer.ok).toBe(true);
    if (!answer.ok) return [];
    const { tally, setting } = answer.value;
    expect(setting.noKernel).toBeNull();
    expect(tally).toMatchObject({ differences: 0, tableDifference: undefined, modelNotPermitted: [] });
    return lines;
  };
  const ask = (from: string, to: string): Uint8Array => tcp({ from, to, flags: 'S', sequence: 5, identification: 10 });

  test("has the node told to both twins: what is nobody's is dropped, and a pod hears itself from the node", async () => {
    const lines = await replayed(
      [
        on(100, CLIENT_DEVICE, 'incoming', ask(`${CLIENT}:4242`, '10.96.7.7:80')),
        on(200, LOCAL_DEVICE, 'incoming', ask(`${LOCAL}:4243`, `${SERVICE}:80`)),
      ],
      streamsBy(service),
    );
    expect(lines.map(({ kernel }) => [kernel?.verdict, kernel?.reason])).toEqual([
      ['drop', 'unallocated'],
      ['forward', 'hairpin'],
    ]);
  });

  test('has a client kept by both twins, and both forget it in time', async () => {
    const spec = {
      ...service.spec,
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } },
    };
    const others = ['10.244.2.7', '10.244.2.8', '10.244.2.9'].map((address) => slice([address], `web-${address}`));
    const more = others.map((object, index) => eventLine(1000 + index * 1000, 'ADDED', object));
    const streams = streamsOf([
      eventLine(0, 'ADDED', { ...service, spec }),
      eventLine(0, 'ADDED', slice([LOCAL])),
      ...more,
    ]);
    const times = [100, 1100, 2100, 3100, 12_000, 23_000];
    const frames = times.flatMap((atMs, index) => connection(atMs, 4242 + index, LOCAL));
    const opened = (await replayed(frames, streams)).filter(({ verdict }) => verdict !== undefined);
    const chosen = opened.map(({ kernel }) => kernel?.backend);
    expect(chosen.slice(0, 5)).toEqual(times.slice(0, 5).map(() => `${LOCAL}:8080`));
    expect(chosen).toHaveLength(6);
  });
});
