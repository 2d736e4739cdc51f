// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { PLAIN_NODE } from '../../core/control/nodes.ts';
import { assert } from '../../core/result.ts';
import type { EventStreams } from '../../formats/events.ts';
import { traceOf, type Trace } from '../../replay/card.ts';
import { followPath, spanOf } from '../../replay/path.ts';
import { traceText } from '../../replay/tracetext.ts';
import type { ReplayTwin } from '../../replay/twins.ts';
import { tcp } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  connection,
  eventLine,
  LOCAL,
  modelTwin,
  on,
  REMOTE,
  replayed,
  SERVICE,
  setting,
  slice,
  UPLINK,
  type Frame,
} from './recording.ts';

const config = { ...PLAIN_NODE, nodeName: 'node1', serviceCIDRs: [] };

/** The trace of the connection that was opened as the n-th. */
function traced(frames: readonly Frame[], streams: EventStreams, which = 0, kernel?: () => ReplayTwin): Trace {
  const capture = captureOf(frames);
  const { tally } = replayed([capture], streams, kernel?.());
  const { connections, firstDifference: difference, origin } = tally;
  const one = connections[which];
  assert(one !== undefined, 'the recording has such a connection');
  const { path, watch } = followPath(spanOf(one, connections));
  replayed([capture], streams, undefined, { watch });
  return traceOf({
    connection: one,
    path: path(),
    events: streams.events,
    origin,
    config,
    setting,
    writes: new Map(),
    difference,
  });
}

function answerOf({ answers }: Trace, question: string): string {
  return answers.find((answer) => answer.question === question)?.lines.join('\n') ?? '';
}

function textOf(trace: Trace): string {
  return traceText(trace, 'nothing');
}

const asked = (atMs: number): Frame =>
  on(
    atMs,
    CLIENT_DEVICE,
    'incoming',
    tcp({ from: `${CLIENT}:4001`, to: `${SERVICE}:80`, flags: 'S', sequence: 7, identification: 10 }),
  );

describe('a connection that was late', () => {
  const late = cluster([LOCAL], eventLine(1000, 'MODIFIED', slice([REMOTE])));
  const trace = traced(connection(1500, 4001, LOCAL), late);

  test("is the control plane's, with the event that it had not heard of", () => {
    expect(trace.verdict).toEqual({
      blame: 'control-plane-late',
      text: 'control plane late: sent to 10.244.1.9:8080, which EndpointSlice shop/web-1 MODIFIED (line 3) had ended 500.0 ms before',
    });
    expect(answerOf(trace, 'who is late')).toMatch(
      /^the node's proxy: 500\.0 ms after EndpointSlice shop\/web-1 MODIFIED/,
    );
  });

  test('has an answer to each of the ten questions', () => {
    expect(trace.answers.map(({ question }) => question)).toEqual([
      'object',
      'maps',
      'hook',
      'flow',
      'choice',
      'rewritten',
      'went to',
      'reply',
      'dropped',
      'who is late',
    ]);
    expect(trace.answers.filter(({ lines }) => lines.length === 0)).toEqual([]);
    expect(answerOf(trace, 'object')).toContain('EndpointSlice shop/web-1: heard 500.0 ms before (line 3)');
    expect(answerOf(trace, 'maps')).toContain(
      '10.96.0.10:80 ClusterIP shop/web:http, topology none\n  10.244.2.7:8080 active',
    );
    expect(answerOf(trace, 'hook')).toContain('from-pod on veth5 (pod, incoming), frame 1');
    expect(answerOf(trace, 'choice')).toContain('observed 10.244.1.9:8080; model forward 10.244.2.7:8080 (new-flow)');
    expect(answerOf(trace, 'rewritten')).toContain('observed  10.244.1.4:4001 > 10.244.1.9:8080, hops 64 to 63');
    expect(answerOf(trace, 'went to')).toBe('veth6 (pod, outgoing), frame 2, 20 µs later');
    expect(answerOf(trace, 'reply')).toBe(
      '10.244.1.9:8080 > 10.244.1.4:4001 on veth6, frame 3, 100 µs after the request\n' +
        '10.96.0.10:80 > 10.244.1.4:4001 on veth5, frame 4',
    );
  });

  test('has events and packets on one time line, in their order', () => {
    const times = trace.timeline.map(({ at }) => at);
    expect(times).toEqual([...times].sort());
    expect(trace.timeline.map(({ what }) => what)).toEqual([
      'event',
      'event',
      'event',
      ...Array<string>(7).fill('packet'),
    ]);
  });

  test('fits on a screen', () => {
    expect(textOf(trace).split('\n').length).toBeLessThan(50);
  });
});

test("a choice that nothing permits is the datapath's", () => {
  const trace = traced(connection(500, 4001, REMOTE), cluster([LOCAL]));
  expect(trace.verdict.blame).toBe('datapath-wrong');
  expect(trace.verdict.text).toContain('sent to 10.244.2.7:8080; never permitted');
});

test("a kernel that chooses otherwise than the model is the datapath's, whatever was observed", () => {
  const many = cluster([LOCAL, ...Array.from({ length: 20 }, (_, index) => `10.244.2.${index + 30}`)]);
  const trace = traced(connection(500, 4001, LOCAL), many, 0, () => {
    const other = modelTwin({ selectionKey: [77, 88] });
    return { ...other, twin: { ...other.twin, name: 'kernel' } };
  });
  const same = traced(connection(500, 4001, LOCAL), many, 0, modelTwin);
  expect(same.verdict.blame).toBe('neither');
  expect(trace.verdict.text).toMatch(
    /^datapath wrong: model forward .*, kernel forward .* for the same packet and maps$/,
  );
});

test("a packet of the flow that the kernel translates otherwise is the datapath's, although the choice is the same", () => {
  const trace = traced(connection(500, 4001, LOCAL), cluster([LOCAL]), 0, () => {
    const other = modelTwin();
    const packet: ReplayTwin['twin']['packet'] = (hook, frame, outside, outcome) => {
      const asked = other.twin.packet(hook, frame, outside, outcome);
      if (hook === 'to-pod') outcome.bytes[30] = (outcome.bytes[30] ?? 0) ^ 1;
      return asked;
    };
    return { ...other, twin: { ...other.twin, packet } };
  });
  expect(trace.verdict.text).toMatch(/^datapath wrong: frame 4, byte 30: model .*, kernel /);
});

test("a permitted choice without an answer is neither's, and nothing hides that it is silent", () => {
  const target = tcp({
    from: `${CLIENT}:4001`,
    to: `${REMOTE}:8080`,
    flags: 'S',
    sequence: 7,
    identification: 10,
    hops: 63,
  });
  const trace = traced([asked(500), on(500.02, UPLINK, 'outgoing', target)], cluster([REMOTE]));
  expect(trace.verdict.text).toContain('which was permitted; no reply reached this node: look at the network');
  expect(answerOf(trace, 'reply')).toBe('none was seen');
});

test('a refusal for want of endpoints is right, and says so', () => {
  const reset = tcp({
    from: `${SERVICE}:80`,
    to: `${CLIENT}:4001`,
    flags: 'R.',
    sequence: 0,
    acknowledgement: 8,
    identification: 0,
  });
  const trace = traced([asked(500), on(500.1, CLIENT_DEVICE, 'outgoing', reset)], cluster([]));
  expect(trace.verdict.text).toBe('neither datapath nor control plane: refused, rightly: nobody was eligible');
  expect(answerOf(trace, 'dropped')).toContain('refused, frame 2, nobody was eligible');
  expect(answerOf(trace, 'maps')).toContain('nobody: reject');
});

test('a watch that was broken is told where the object is', () => {
  const broken = JSON.stringify({
    at: '2026-01-02T03:04:05.2Z',
    type: 'DISCONNECTED',
    kind: 'EndpointSlice',
    reason: '410',
  });
  const listed = JSON.stringify({
    at: '2026-01-02T03:04:05.3Z',
    type: 'LISTED',
    kind: 'EndpointSlice',
    items: [slice([LOCAL])],
  });
  const told = 'EndpointSlice DISCONNECTED (line 3) 300.0 ms before and not listed since';
  expect(answerOf(traced(connection(500, 4001, LOCAL), cluster([LOCAL], broken)), 'object')).toContain(told);
  expect(answerOf(traced(connection(500, 4001, LOCAL), cluster([LOCAL], broken, listed)), 'object')).not.toContain(
    'DISC',
  );
});

test('a port that is used again is another connection with packets of its own', () => {
  const first = connection(100, 4001, LOCAL);
  const other = [
    on(
      3500,
      CLIENT_DEVICE,
      'incoming',
      tcp({ from: `${CLIENT}:4001`, to: `${SERVICE}:80`, flags: 'S', sequence: 99, identification: 10 }),
    ),
  ];
  const streams = cluster([LOCAL]);
  const [one, two] = [traced([...first, ...other], streams, 0), traced([...first, ...other], streams, 1)];
  const packets = (trace: Trace): number => trace.timeline.filter(({ what }) => what === 'packet').length;
  expect([packets(one), packets(two)]).toEqual([7, 1]);
});
