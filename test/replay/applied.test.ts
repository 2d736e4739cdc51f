// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { nodeSettings } from '../../core/control/settings.ts';
import { assert } from '../../core/result.ts';
import { blameText } from '../../replay/report.ts';
import { summarize } from '../../replay/summary.ts';
import { tcp } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  connection,
  eventLine,
  exchange,
  facts,
  LOCAL,
  modelTwin,
  on,
  REMOTE,
  replayed,
  SERVICE,
  setting,
  slice,
  type Frame,
  type Replay,
} from './recording.ts';

/** LOCAL gives way to REMOTE after a second. */
const streams = cluster([LOCAL], eventLine(1000, 'MODIFIED', slice([REMOTE])));

function replay(frames: readonly Frame[]): Replay & { readonly blame: string; readonly text: string } {
  const sorted = [...frames].sort((left, right) => left.atMs - right.atMs);
  const done = replayed([captureOf(sorted)], streams);
  const summary = summarize(done.tally, setting);
  return { ...done, blame: summary.blame, text: blameText(summary, done.tally) };
}

/** A socket whose datagrams go on to LOCAL until then. */
function datagramsUntil(lastMs: number): readonly Frame[] {
  return [100, 900, 1100, lastMs].flatMap((atMs) => exchange(atMs, LOCAL));
}

describe('something went on as before an event', () => {
  test('and nothing shows that the node had heard of it: its control plane is late', () => {
    const { blame, text } = replay(datagramsUntil(4000));
    expect(blame).toBe('control-plane-late');
    expect(text).toContain('control plane late: 1 of 1 connections, up to 3000.0 ms after the event');
  });

  test('although another connection shows that the node had acted on it: the datapath is wrong', () => {
    const { blame, tally, text } = replay([...datagramsUntil(4000), ...connection(1500, 4001, REMOTE)]);
    expect(blame).toBe('datapath-wrong');
    expect(text).toBe('datapath wrong: 1 of 2 connections went on as before, although the node had acted on the event');
    expect(tally.connections[0]?.applied?.timeNs).toBe(1_500_000_000);
  });

  test('within the time that a node needs to act: nobody can tell', () => {
    expect(replay([...datagramsUntil(2400), ...connection(1500, 4001, REMOTE)]).blame).toBe('control-plane-late');
    expect(replay([...datagramsUntil(2600), ...connection(1500, 4001, REMOTE)]).blame).toBe('datapath-wrong');
  });

  test('and what came before the event, or after the last of it, proves nothing', () => {
    expect(replay([...datagramsUntil(4000), ...connection(500, 4001, LOCAL)]).blame).toBe('control-plane-late');
    expect(replay([...datagramsUntil(4000), ...connection(4500, 4001, REMOTE)]).blame).toBe('control-plane-late');
  });
});

test('when the node acted on an event lies between the last choice as before it and the first that only it permits', () => {
  const stale = [...connection(1200, 4001, LOCAL), ...connection(1700, 4002, LOCAL)];
  const acting = ({ tally }: Replay): unknown => tally.connections.map((one) => one.acting);
  const interval = { lastNs: 700_000_000, firstNs: 1_100_000_000 };
  expect(acting(replay([...stale, ...connection(2100, 4003, REMOTE)]))).toEqual([interval, interval, undefined]);
  const open = { lastNs: 700_000_000, firstNs: undefined };
  expect(acting(replay(stale))).toEqual([open, open]);
});

describe('a pod that is its own backend', () => {
  const asked = (source: string): readonly Frame[] => [
    on(
      100,
      CLIENT_DEVICE,
      'incoming',
      tcp({ from: `${CLIENT}:4001`, to: `${SERVICE}:80`, flags: 'S', sequence: 7, identification: 1 }),
    ),
    on(
      100.1,
      CLIENT_DEVICE,
      'outgoing',
      tcp({ from: `${source}:4001`, to: `${CLIENT}:8080`, flags: 'S', sequence: 7, identification: 1, hops: 63 }),
    ),
  ];
  const own = cluster([CLIENT]);
  const node = nodeSettings([], facts.addresses);
  assert(node.ok, 'the node has an address from which a pod hears itself');
  const settings = node.value;

  test('and gets its own address as source: the datapath is wrong', () => {
    const { tally } = replayed([captureOf(asked(CLIENT))], own, undefined, { model: modelTwin(settings) });
    const summary = summarize(tally, setting);
    expect(summary).toMatchObject({ blame: 'datapath-wrong', connections: { never: 1, none: 1 }, notPermitted: 1 });
    expect(blameText(summary, tally)).toBe(
      'datapath wrong: 1 of 1 connections, of pods that got their own address as source',
    );
  });

  test('and hears itself from the node: that is as it should be', () => {
    const { tally } = replayed([captureOf(asked('10.88.0.11'))], own, undefined, { model: modelTwin(settings) });
    expect(tally.connections.map(({ isOwnSource }) => isOwnSource)).toEqual([false]);
    expect(summarize(tally, setting)).toMatchObject({ blame: 'neither', connections: { never: 0, permitted: 1 } });
  });
});
