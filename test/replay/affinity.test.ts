// SPDX-License-Identifier: Apache-2.0
/** Services that keep their clients (services E1 to E5): what was recorded, and what the model does, client by client. */
import { describe, expect, test } from 'vitest';
import type { ServiceObject } from '../../core/objects.ts';
import type { EventStreams } from '../../formats/events.ts';
import { verdictText } from '../../replay/judge.ts';
import { reportText } from '../../replay/report.ts';
import { endOf, summarize } from '../../replay/summary.ts';
import type { ReplayTwin } from '../../replay/twins.ts';
import { tcp } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  connection,
  connectionOf,
  eventLine,
  exchange,
  LOCAL,
  LOCAL_DEVICE,
  LOCAL_V6,
  modelTwin,
  on,
  REMOTE,
  REMOTE_V6,
  replayed,
  SERVICE,
  service,
  setting,
  slice,
  streamsOf,
  type Circumstances,
  type Frame,
  type Replay,
} from './recording.ts';

const MODIFIED = 'MODIFIED';
const THIRD = '10.244.2.8';
const FOURTH = '10.244.2.9';
const NEVER = 'not permitted: its client was sent to';

/** The Service, keeping its clients so long. */
function keeping(timeoutSeconds = 10): Readonly<Record<string, unknown>> {
  const sessionAffinityConfig = { clientIP: { timeoutSeconds } };
  return { ...service, spec: { ...service.spec, sessionAffinity: 'ClientIP', sessionAffinityConfig } };
}

function sticky(addresses: readonly string[], ...more: readonly string[]): EventStreams {
  const [first] = addresses;
  const name = first?.includes(':') === true ? 'web-v6' : 'web-1';
  return streamsOf([eventLine(0, 'ADDED', keeping()), eventLine(0, 'ADDED', slice(addresses, name)), ...more]);
}

function replayAll(frames: readonly Frame[], streams: EventStreams, how: Circumstances = {}): Replay {
  const sorted = [...frames].sort((left, right) => left.atMs - right.atMs);
  return replayed([captureOf(sorted)], streams, undefined, how);
}

/** Connections of one client, each from a port of its own. */
function series(...steps: readonly (readonly [atMs: number, backend: string])[]): Frame[] {
  return steps.flatMap(([atMs, backend], index) => connection(atMs, 4242 + index, backend));
}

/** Why each of them was judged as it was: `bound`, or why it was free, and the verdict. */
function judged({ tally }: Replay): string[] {
  return tally.connections.map(({ affinity, verdict }) =>
    [affinity?.why ?? affinity?.is ?? 'none', verdict?.kind ?? 'not judged'].join(' '),
  );
}

function textsOf({ tally }: Replay, { events }: EventStreams): string[] {
  return tally.connections.map((one) => verdictText(one, events));
}

describe.each([
  ['IPv4', LOCAL, REMOTE],
  ['IPv6', LOCAL_V6, REMOTE_V6],
])('a client over %s', (_family, local, remote) => {
  test('that is sent where it was before is kept', () => {
    const run = replayAll(series([100, local], [5000, local]), sticky([local, remote]));
    expect(judged(run)).toEqual(['first permitted', 'bound permitted']);
    expect(summarize(run.tally, setting)).toMatchObject({
      affinity: { kept: 1, notKept: 0, free: { first: 1 } },
      notPermitted: 0,
      modelNotPermitted: 0,
      unsupported: {},
    });
  });

  test('that is sent elsewhere within its time is not, and the text says what it had', () => {
    const streams = sticky([local, remote]);
    const run = replayAll(series([100, local], [3300, remote]), streams);
    expect(judged(run)).toEqual(['first permitted', 'bound never']);
    const had = local.includes(':') ? `[${local}]:8080` : `${local}:8080`;
    expect(textsOf(run, streams)[1]).toBe(`${NEVER} ${had} 3200.0 ms before and is kept for 10 s`);
    expect(endOf(run.tally, setting)).toBe('not-permitted');
    expect(run.tally.modelNotPermitted).toEqual([]);
  });
});

describe('the time of a client', () => {
  test('that is over sets it free', () => {
    const run = replayAll(series([100, LOCAL], [10_600, REMOTE]), sticky([LOCAL, REMOTE]));
    expect(judged(run)).toEqual(['first permitted', 'expired permitted']);
  });

  test('begins anew with each connection', () => {
    const steps = series([100, LOCAL], [6000, LOCAL], [12_000, LOCAL], [20_000, REMOTE]);
    const run = replayAll(steps, sticky([LOCAL, REMOTE]));
    expect(judged(run)).toEqual(['first permitted', 'bound permitted', 'bound permitted', 'bound never']);
  });

  test('does not begin anew with the packets of a connection', () => {
    const late = { from: `${CLIENT}:4242`, to: `${SERVICE}:80`, sequence: 4_242_007, acknowledgement: 8_484_003 };
    const packet = on(9000, CLIENT_DEVICE, 'incoming', tcp({ ...late, flags: '.', identification: 99 }));
    const run = replayAll([...series([100, LOCAL], [10_600, REMOTE]), packet], sticky([LOCAL, REMOTE]));
    expect(judged(run)).toEqual(['first permitted', 'expired permitted']);
  });

  test('is three hours where the Service names none', () => {
    const { spec } = keeping();
    const bare = { ...service, spec: { ...(spec as ServiceObject['spec']), sessionAffinityConfig: undefined } };
    const streams = streamsOf([eventLine(0, 'ADDED', bare), eventLine(0, 'ADDED', slice([LOCAL, REMOTE]))]);
    const at = (hours: number): number => hours * 3_600_000;
    const steps = series([100, LOCAL], [at(2.9), LOCAL], [at(5.8), REMOTE], [at(8.9), LOCAL]);
    const run = replayAll(steps, streams);
    expect(judged(run)).toEqual(['first permitted', 'bound permitted', 'bound never', 'expired permitted']);
  });
});

describe('a client whose backend', () => {
  const gone = eventLine(3000, MODIFIED, slice([REMOTE, THIRD]));
  const back = eventLine(4000, MODIFIED, slice([LOCAL, REMOTE, THIRD]));
  const all = [LOCAL, REMOTE, THIRD];

  test('is gone is sent to another, and kept there', () => {
    const steps = series([100, LOCAL], [3500, REMOTE], [3600, REMOTE], [3700, THIRD]);
    const run = replayAll(steps, sticky(all, gone));
    expect(judged(run)).toEqual(['first permitted', 'gone permitted', 'bound permitted', 'bound never']);
    expect(run.tally.modelNotPermitted).toEqual([]);
  });

  test('is gone is stale where it is sent there nevertheless', () => {
    const streams = sticky(all, gone);
    const run = replayAll(series([100, LOCAL], [3050, LOCAL]), streams);
    expect(textsOf(run, streams)[1]).toBe('stale: 50.0 ms after EndpointSlice shop/web-1 MODIFIED (line 3)');
  });

  test('goes a moment later may be known to be gone', () => {
    const run = replayAll(series([100, LOCAL], [2900, REMOTE]), sticky(all, gone));
    expect(judged(run)).toEqual(['first permitted', 'bound early']);
  });

  test.each([LOCAL, REMOTE, THIRD])('went and came back begins clean, with %s as well', (backend) => {
    const run = replayAll(series([100, LOCAL], [4500, backend]), sticky(all, gone, back));
    expect(judged(run)).toEqual(['first permitted', 'returned permitted']);
    expect(run.tally.modelNotPermitted).toEqual([]);
  });

  test('came back is sent there again only by a proxy that remembers a client at each backend', () => {
    const streams = sticky(all, gone, back);
    const steps = series([100, LOCAL], [3500, REMOTE], [4500, LOCAL]);
    expect(judged(replayAll(steps, streams, { proxy: 'kube-proxy nftables v1.34.4' }))[2]).toBe('bound never');
    const lenient = replayAll(steps, streams, { proxy: 'kube-proxy iptables v1.34.4' });
    expect(judged(lenient)[2]).toBe('several permitted');
    expect(textsOf(lenient, streams)[2]).toBe(
      `permitted: its client was sent to ${REMOTE}:8080 1000.0 ms before, and elsewhere before that, which counts as well while the proxy keeps both`,
    );
    const never = series([100, LOCAL], [3500, REMOTE], [4500, THIRD]);
    expect(judged(replayAll(never, streams, { proxy: 'kube-proxy iptables v1.34.4' }))[2]).toBe('bound never');
  });
});

test('a client that leaves its backend is not excused by what was permitted before it had that', () => {
  const come = eventLine(3000, MODIFIED, slice([LOCAL, REMOTE]));
  const run = replayAll(series([3500, LOCAL], [4000, REMOTE]), sticky([REMOTE], come));
  expect(judged(run)).toEqual(['first permitted', 'bound never']);
});

describe('what one client had does not bind', () => {
  test('another client', () => {
    const other = connectionOf({ atMs: 200, address: LOCAL, device: LOCAL_DEVICE, clientPort: 77, backend: REMOTE });
    const run = replayAll([...series([100, THIRD], [300, THIRD]), ...other], sticky([REMOTE, THIRD]));
    expect(judged(run)).toEqual(['first permitted', 'first permitted', 'bound permitted']);
    expect(run.tally.modelNotPermitted).toEqual([]);
  });

  test('its own connections to another port of the Service', () => {
    const frames = [...series([130_000, LOCAL]), ...exchange(130_100, REMOTE)];
    expect(judged(replayAll(frames, sticky([LOCAL, REMOTE])))).toEqual(['first permitted', 'first permitted']);
  });

  test('a connection that was opened before it was known', () => {
    const run = replayAll(series([100, LOCAL], [100.01, REMOTE]), sticky([LOCAL, REMOTE]));
    expect(judged(run)).toEqual(['first permitted', 'concurrent permitted']);
  });
});

describe('a Service that begins or ends to keep its clients', () => {
  const on50 = eventLine(50, MODIFIED, keeping());

  test('keeps nobody before', () => {
    const later = eventLine(500, MODIFIED, keeping());
    const run = replayAll(series([100, LOCAL], [200, REMOTE]), cluster([LOCAL, REMOTE], later));
    expect(judged(run)).toEqual(['none permitted', 'none permitted']);
  });

  test('has no certain records for as long as a proxy may be late, and then it has', () => {
    const steps = series([100, LOCAL], [200, REMOTE], [62_000, LOCAL], [62_100, REMOTE]);
    expect(judged(replayAll(steps, cluster([LOCAL, REMOTE], on50)))).toEqual([
      'first permitted',
      'changed permitted',
      'changed permitted',
      'bound never',
    ]);
  });

  test('is judged by what it said when the connection was opened', () => {
    const off = eventLine(1700, MODIFIED, service);
    const run = replayAll(series([100, LOCAL], [600, REMOTE], [1800, LOCAL]), sticky([LOCAL, REMOTE], off));
    expect(judged(run)).toEqual(['first permitted', 'bound never', 'none permitted']);
  });

  test('keeps them through events that say the same', () => {
    const same = eventLine(200, MODIFIED, keeping());
    const run = replayAll(series([100, LOCAL], [300, REMOTE]), sticky([LOCAL, REMOTE], same));
    expect(judged(run)).toEqual(['first permitted', 'bound never']);
  });

  test('begins clean when a list lacks it and it comes again', () => {
    const { at } = JSON.parse(eventLine(300, 'ADDED', {})) as { readonly at: string };
    const list = JSON.stringify({ at, type: 'LISTED', kind: 'Service', resourceVersion: '9', items: [] });
    const streams = sticky([LOCAL, REMOTE], list, eventLine(400, 'ADDED', keeping()));
    const run = replayAll(series([100, LOCAL], [500, REMOTE]), streams);
    expect(judged(run)).toEqual(['first permitted', 'changed permitted']);
    expect(run.tally.modelNotPermitted).toEqual([]);
  });

  test('begins clean when it is deleted and made again', () => {
    const more = [eventLine(300, 'DELETED', keeping()), eventLine(400, 'ADDED', keeping())];
    const run = replayAll(series([100, LOCAL], [500, REMOTE]), sticky([LOCAL, REMOTE], ...more));
    expect(judged(run)).toEqual(['first permitted', 'changed permitted']);
    expect(run.tally.modelNotPermitted).toEqual([]);
  });
});

describe('a flow of datagrams', () => {
  const flow = (atMs: number, clientPort: number, backend: string): readonly Frame[] =>
    exchange(atMs, backend, { clientPort, identification: clientPort });

  test('that begins is sent where its client was', () => {
    const [both, begin] = [sticky([LOCAL, REMOTE]), 130_000];
    const kept = replayAll([...flow(begin, 5001, LOCAL), ...flow(begin + 900, 5002, LOCAL)], both);
    expect(judged(kept)).toEqual(['first permitted', 'bound permitted']);
    expect(kept.tally.modelNotPermitted).toEqual([]);
    const moved = replayAll([...flow(begin, 5001, LOCAL), ...flow(begin + 900, 5002, REMOTE)], both);
    expect(judged(moved)).toEqual(['first permitted', 'bound never']);
  });

  test('that goes on does not begin the time of its client anew, and stays when that is over', () => {
    const begin = 130_000;
    const goes = [0, 5000, 10_000, 14_000].flatMap((ms) => flow(begin + ms, 5001, LOCAL));
    const run = replayAll([...goes, ...flow(begin + 12_000, 5002, REMOTE)], sticky([LOCAL, REMOTE]));
    expect(judged(run)).toEqual(['first permitted', 'expired permitted']);
    expect(run.tally.connections[0]?.datagrams).toMatchObject({ judged: 4, notPermitted: 0 });
  });

  test('whose backend is gone follows its client', () => {
    const begin = 130_000;
    const gone = eventLine(begin + 1000, MODIFIED, slice([REMOTE, THIRD]));
    const frames = (last: string): Frame[] => [
      ...flow(begin, 5001, LOCAL),
      ...flow(begin + 1500, 5002, REMOTE),
      ...flow(begin + 2000, 5001, last),
    ];
    const streams = sticky([LOCAL, REMOTE, THIRD], gone);
    expect(judged(replayAll(frames(REMOTE), streams))).toEqual(['bound permitted', 'gone permitted']);
    expect(judged(replayAll(frames(THIRD), streams))).toEqual(['bound never', 'gone permitted']);
  });

  test('that may have been there before the recording binds nobody', () => {
    const run = replayAll([...flow(100, 5001, LOCAL), ...flow(900, 5002, REMOTE)], sticky([LOCAL, REMOTE]));
    expect(judged(run)).toEqual(['none permitted', 'none permitted']);
    const later = replayAll([...flow(115_000, 5001, LOCAL), ...flow(121_000, 5002, REMOTE)], sticky([LOCAL, REMOTE]));
    expect(judged(later)).toEqual(['none permitted', 'first permitted']);
  });
});

describe('a twin that keeps nobody', () => {
  /** A datapath whose Services all say that they keep nobody. */
  function forgetful(): ReplayTwin {
    const { twin, program } = modelTwin();
    return {
      twin,
      program: (event) => program(JSON.parse(JSON.stringify(event).replaceAll('"ClientIP"', '"None"')) as typeof event),
    };
  }
  const all = [LOCAL, REMOTE, THIRD, FOURTH];
  const steps = series(...Array.from({ length: 12 }, (_, index) => [100 + index * 500, LOCAL] as const));
  const datagrams = Array.from({ length: 12 }, (_, index) =>
    exchange(130_000 + index * 500, LOCAL, { clientPort: 5000 + index, identification: 5000 + index }),
  ).flat();

  test.each([
    ['connections', steps],
    ['datagrams', datagrams],
  ])('is found by its %s where it is the model', (_what, frames) => {
    expect(replayAll(frames, sticky(all)).tally.modelNotPermitted).toEqual([]);
    const { tally } = replayAll(frames, sticky(all), { model: forgetful() });
    expect(tally.modelNotPermitted.length).toBeGreaterThan(3);
    expect(endOf(tally, setting)).toBe('not-permitted');
  });

  test('is found where it is the kernel', () => {
    const { tally } = replayed([captureOf(steps)], sticky(all), forgetful());
    expect(tally.differences).toBeGreaterThan(3);
    expect(endOf(tally, setting)).toBe('twins-differ');
    expect(replayed([captureOf(steps)], sticky(all), modelTwin()).tally.differences).toBe(0);
  });
});

test('a report counts who was kept, who was not, and why others were free', () => {
  const streams = sticky([LOCAL, REMOTE]);
  const { tally } = replayAll(series([100, LOCAL], [200, LOCAL], [300, REMOTE], [14_000, LOCAL]), streams);
  const summary = summarize(tally, setting);
  const text = reportText({ tally, summary, setting, events: streams.events, command: 'x' });
  expect(text).toContain(
    [
      'client affinity',
      '  kept                        1  sent to where their client was before',
      '  not kept                    1  sent elsewhere, which is not permitted',
      '  free                        2  expired 1, first 1',
    ].join('\n'),
  );
  expect(text).toContain(`answered; ${NEVER} ${LOCAL}:8080 100.0 ms before and is kept for 10 s\n`);
});
