// SPDX-License-Identifier: Apache-2.0
/** From a recording to what is sent and to the lab that it is sent in, and what can't be. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { createScribe, type Script, type Shot } from '../../cli/inject/script.ts';
import { planStage, PODS_MAX } from '../../cli/inject/stage.ts';
import { replayFiles } from '../../cli/replay.ts';
import { openNodes, type ReplayFiles } from '../../cli/replayfiles.ts';
import { openInputs } from '../../cli/replayinputs.ts';
import { addressFromIPv4, addressText } from '../../core/address.ts';
import { failureText, type Result } from '../../core/result.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapngWriter } from '../../formats/pcapngwriter.ts';
import { parseFilter, type FilterWords } from '../../replay/filter.ts';
import { tcp } from '../replay/packets.ts';
import { captureOf, CLIENT, CLIENT_DEVICE, cluster, LOCAL, on, replayed, SERVICE } from '../replay/recording.ts';

const fixtures = join(import.meta.dirname, '../../fixtures');
const nothing: FilterWords = { service: undefined, flow: undefined, from: undefined, to: undefined };

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

function textOf(result: Result<unknown>): string {
  return result.ok ? 'ok' : failureText(result.error);
}

async function filesOf(name: string, capture = join(fixtures, name, 'node1.pcap')): Promise<ReplayFiles> {
  const streams = ['cluster', 'services', 'endpointslices', 'nodes'].map((stream) =>
    join(fixtures, name, `${stream}.events.ndjson`),
  );
  const inputs = value(await openInputs([capture, ...streams.filter((file) => existsSync(file))]));
  const [only] = value(openNodes(inputs, { node: [join(fixtures, name, 'node1.json')] }));
  return only ?? expect.unreachable();
}

async function scriptOf(files: ReplayFiles, words: Partial<FilterWords> = {}): Promise<Result<Script>> {
  const scribe = createScribe(value(parseFilter({ ...nothing, ...words })));
  value(await replayFiles({ ...files, watch: scribe.watch, withKernel: false }));
  return scribe.finish(['a.pcap']);
}

test('the packets of clients to Services are sent, and what the backends of the model would have answered', async () => {
  const { shots, tooLarge } = value(await scriptOf(await filesOf('rolling-update')));
  const count = (is: Shot['is']): number => shots.filter((shot) => shot.is === is).length;
  // 240 connections of six packets of the client and four of the server.
  expect([count('request'), count('answer'), tooLarge.count]).toEqual([1440, 960, 0]);
  expect(new Set(shots.map(({ service }) => service))).toEqual(new Set(['shop/web:http']));
  const requests = shots.filter(({ is }) => is === 'request').map(({ headers }) => addressText(headers.source));
  expect(new Set(requests)).toEqual(new Set(['10.244.1.4', 'fd00:10:244:1::4']));
  for (const [index, { timeNs }] of shots.entries())
    expect(timeNs).toBeGreaterThanOrEqual(shots[index - 1]?.timeNs ?? 0);
});

test('filters choose what is sent', async () => {
  const files = await filesOf('udp-stale');
  const all = value(await scriptOf(files)).shots;
  const { flow } = all[0] ?? expect.unreachable();
  expect(value(await scriptOf(files, { flow })).shots.length).toBe(all.length);
  expect(textOf(await scriptOf(files, { service: 'shop/nobody' }))).toMatch(
    /^a\.pcap: holds no packet of a client .*; look again at the filters$/,
  );
});

test('a pod of the node is one namespace with its addresses of both families; others are behind the uplink', async () => {
  const files = await filesOf('rolling-update');
  const { shots } = value(await scriptOf(files));
  const { elsewhere, podOf, spec } = value(planStage('lab', shots, files.facts, files.streams.events));
  expect(spec.nodes).toEqual([
    {
      name: 'node',
      address: '10.88.0.11',
      podRange: '10.244.1.0/24',
      addressIPv6: 'fd00:88::11',
      podRangeIPv6: 'fd00:10:244:1::/64',
    },
  ]);
  const pods = new Map(spec.pods.map(({ address, addressIPv6 }) => [address, addressIPv6]));
  expect(pods).toEqual(new Map([2, 3, 4, 5, 6].map((last) => [`10.244.1.${last}`, `fd00:10:244:1::${last}`])));
  expect(podOf.get('fd00:10:244:1::4')).toBe(podOf.get('10.244.1.4'));
  expect(elsewhere).toContain('10.244.2.2');
});

test('more pods than a lab has are refused with the number and the remedy', async () => {
  const files = await filesOf('rolling-update');
  const [shot] = value(await scriptOf(files)).shots;
  if (shot === undefined) expect.unreachable();
  const fromPods = (pods: number): readonly Shot[] =>
    Array.from({ length: pods }, (_, index) => {
      const source = addressFromIPv4(0x0af40120 + index);
      return { ...shot, service: 'none/none:none', headers: { ...shot.headers, source } };
    });
  expect(textOf(planStage('lab', fromPods(PODS_MAX), files.facts, files.streams.events))).toBe('ok');
  expect(textOf(planStage('lab', fromPods(PODS_MAX + 1), files.facts, files.streams.events))).toBe(
    'replay --inject: 65 pods of node1 send or get these packets; a lab has at most 64; ' +
      'choose with --service, --flow, --from and --to',
  );
});

test('a capture of an unknown link type is refused by its number', () => {
  const output = memoryOutput('odd.pcapng');
  const writer = createPcapngWriter(output);
  const interfaceId = writer.addInterface({ linkType: 127 });
  writer.write({ seconds: 1, nanoseconds: 0, bytes: new Uint8Array(60), originalLength: 60, interfaceId });
  writer.finish();
  const scribe = createScribe(value(parseFilter(nothing)));
  replayed([{ name: 'odd.pcapng', bytes: output.bytes() }], cluster([LOCAL]), undefined, { watch: scribe.watch });
  expect(textOf(scribe.finish(['odd.pcapng']))).toBe(
    'odd.pcapng: link type 127 is not known; known are Ethernet (1), raw IP (101, 228, 229), loopback (0, 108), ' +
      'Linux cooked v1 (113) and v2 (276)',
  );
});

test('what no device of the lab takes is counted and named by its frame', () => {
  const ends = { from: `${CLIENT}:4000`, to: `${SERVICE}:80`, flags: 'P.' };
  const [small, large] = [1460, 1461].map((length) => tcp({ ...ends, payload: new Uint8Array(length) }));
  const frames = [small, large, large].map((packet, index) =>
    on(10 + index, CLIENT_DEVICE, 'incoming', packet ?? expect.unreachable()),
  );
  const scribe = createScribe(value(parseFilter(nothing)));
  replayed([captureOf(frames)], cluster([LOCAL]), undefined, { watch: scribe.watch });
  const { shots, tooLarge } = value(scribe.finish(['node1.pcap']));
  expect(shots.map(({ bytes, frame }) => [frame, bytes.length])).toEqual([[1, 1514]]);
  expect(tooLarge).toEqual({ count: 2, first: 'node1.pcap frame 2: 1501 bytes' });
});
