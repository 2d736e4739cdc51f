// SPDX-License-Identifier: Apache-2.0
/** No damage to a file of a recording crashes replay, hangs it, or makes it say what nobody recorded. */
import { describe, expect, test } from 'vitest';
import { LINK_ETHERNET } from '../../formats/link.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapngWriter } from '../../formats/pcapngwriter.ts';
import {
  cutsOf,
  flipsOf,
  inputsOf,
  run,
  sweep,
  type Damage,
  type File,
  type Outcome,
  type Recorded,
  type Run,
} from './damaged.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  connection,
  eventLine,
  LOCAL,
  LOCAL_DEVICE,
  momentOfMs,
  REMOTE,
  SERVICE,
  service,
  slice,
  UPLINK,
  type Frame,
} from './recording.ts';

/** Ports that no change of one byte makes equal. */
const [FIRST_PORT, SECOND_PORT] = [4242, 24_381];
const FIRST = `${CLIENT}:${FIRST_PORT}>${SERVICE}:80/TCP`;
const SECOND = `${CLIENT}:${SECOND_PORT}>${SERVICE}:80/TCP`;

/** SYN and the answer to it, each on two devices, and so long apart that neither is of interest to the other. */
const frames = [
  ...connection(100, FIRST_PORT, LOCAL).slice(0, 4),
  ...connection(8000, SECOND_PORT, REMOTE).slice(0, 4),
];
const FIRST_FRAMES = 4;

function textFile(name: string, text: string): File {
  return { name, bytes: new TextEncoder().encode(text) };
}

const gone = slice([REMOTE]);
const events = textFile(
  'cluster.events.ndjson',
  [
    eventLine(0, 'ADDED', service),
    eventLine(0, 'ADDED', slice([LOCAL])),
    eventLine(2000, 'MODIFIED', slice([LOCAL])),
    eventLine(4000, 'MODIFIED', gone),
    '',
  ].join('\n'),
);

const node = textFile(
  'node1.json',
  JSON.stringify({
    node: 'node1',
    nodeIPs: ['10.88.0.11'],
    podCIDRs: ['10.244.1.0/24'],
    clusterCIDRs: ['10.244.0.0/16'],
    links: [
      { ifindex: UPLINK, ifname: 'eth0', mtu: 1500, role: 'uplink' },
      { ifindex: CLIENT_DEVICE, ifname: 'veth5', mtu: 1500, role: 'pod' },
      { ifindex: LOCAL_DEVICE, ifname: 'veth6', mtu: 1500, role: 'pod' },
    ],
  }),
);

/** The same frames as `dumpcap` writes them on three devices, with directions and comments. */
function pcapngOf(given: readonly Frame[], byteOrder: 'little' | 'big'): File {
  const output = memoryOutput('node1.pcapng');
  const writer = createPcapngWriter(output, { byteOrder });
  const names = new Map([
    [UPLINK, 'eth0'],
    [CLIENT_DEVICE, 'veth5'],
    [LOCAL_DEVICE, 'veth6'],
  ]);
  const ids = new Map(
    [...names].map(([device, name]) => [device, writer.addInterface({ linkType: LINK_ETHERNET, name })]),
  );
  for (const { atMs, direction, ifindex, packet } of given) {
    const bytes = Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, ...packet]);
    writer.write({ ...momentOfMs(atMs), bytes, interfaceId: ids.get(ifindex) ?? 0, direction, comments: ['ok'] });
  }
  writer.finish();
  return { name: 'node1.pcapng', bytes: output.bytes() };
}

const recorded: Recorded = { capture: captureOf(frames), events, node };
const STORIES: ReadonlyMap<string, string> = new Map([
  [FIRST, 'answered 8080 permitted'],
  [SECOND, 'answered 8080 permitted'],
]);

test('the recording itself is read and judged', () => {
  for (const capture of [recorded.capture, pcapngOf(frames, 'little'), pcapngOf(frames, 'big')]) {
    const outcome = run(inputsOf({ ...recorded, capture }));
    expect(outcome).toEqual({ end: 'agreed', messages: [], frames: 8, accounted: 8, stories: STORIES });
  }
});

/** The first connection is judged as if nothing had happened to what is behind it. */
function keepsFirst(from: number, except?: (at: number) => boolean): (outcome: Outcome, damage: Damage) => void {
  return ({ stories }, { at }) => {
    if (at >= from && except?.(at) !== true) expect(stories.get(FIRST)).toBe(STORIES.get(FIRST));
  };
}

/** Up to the last frame of the first connection. */
function endOfFirst(capture: (given: readonly Frame[]) => File): number {
  return capture(frames.slice(0, FIRST_FRAMES)).bytes.length;
}

describe.each<[string, (given: readonly Frame[]) => File, ('all' | 'one')[]]>([
  ['pcap', (given) => captureOf(given), ['all', 'one']],
  ['pcapng, little endian', (given) => pcapngOf(given, 'little'), ['all']],
  ['pcapng, big endian', (given) => pcapngOf(given, 'big'), ['one']],
])('a capture, %s', (_format, capture, bits) => {
  const given = { ...recorded, capture: capture(frames) };
  const { bytes } = given.capture;
  const holds = keepsFirst(endOfFirst(capture));

  test('with any byte changed is judged up to there', () => {
    const refused = sweep(given, 'capture', flipsOf(bytes, bits), { holds });
    expect(refused).toBeGreaterThan(100);
  });

  test('cut at any byte is judged up to there', () => {
    const refused = sweep(given, 'capture', cutsOf(bytes), { holds });
    // A cut between two frames can't be told from an end.
    expect(refused).toBeGreaterThan(bytes.length - 2 * frames.length);
  });
});

/** Which line, from 1, holds a byte. */
function lineAt(bytes: Uint8Array, at: number): number {
  return bytes.subarray(0, at).filter((byte) => byte === 10).length + 1;
}

/** A line is named that is the damaged one; where its end was damaged the next one is a part of it. */
function namesLine(bytes: Uint8Array, slack: number): (outcome: Outcome, damage: Damage) => void {
  return ({ messages }, { at }) => {
    const line = lineAt(bytes, at);
    for (const message of messages) {
      const named = Number(/ line (\d+)/.exec(message)?.[1]);
      expect(named, message).toBeGreaterThanOrEqual(line - slack);
      expect(named, message).toBeLessThanOrEqual(line + 1);
    }
  };
}

describe('an event stream', () => {
  const { bytes } = events;
  const last = Buffer.from(bytes).lastIndexOf('{"at"');
  // The time of the last event may become any other, also one before the first connection.
  const isTime = (at: number): boolean => at >= last && at < last + '{"at":"2026-01-02T03:04:09.000000000Z"'.length;
  const holds = (outcome: Outcome, damage: Damage): void => {
    keepsFirst(last, isTime)(outcome, damage);
    namesLine(bytes, 0)(outcome, damage);
  };

  test('with any byte changed is followed up to there', () => {
    expect(sweep(recorded, 'events', flipsOf(bytes), { holds })).toBeGreaterThan(bytes.length / 2);
  });

  test('cut at any byte is followed up to there, and nothing behind the cut is judged', () => {
    const cut = (outcome: Outcome, damage: Damage): void => {
      holds(outcome, damage);
      const [, second] = [FIRST, SECOND].map((flow) => outcome.stories.get(flow));
      const isIncomplete = damage.at > last && outcome.messages.length > 0;
      if (isIncomplete) expect(second).toBe('answered 8080 events-incomplete');
    };
    expect(sweep(recorded, 'events', cutsOf(bytes), { holds: cut })).toBeGreaterThan(bytes.length - 10);
  });
});

describe('node facts', () => {
  const holds = ({ messages, stories }: Outcome): void => {
    expect(messages.length).toBeLessThanOrEqual(1);
    if (messages.length > 0) expect(stories.size).toBe(0);
  };

  test('with any byte changed are other facts, or refused by line', () => {
    expect(sweep(recorded, 'node', flipsOf(node.bytes), { holds })).toBeGreaterThan(node.bytes.length / 4);
  });

  test('cut at any byte are refused by line', () => {
    expect(sweep(recorded, 'node', cutsOf(node.bytes), { holds })).toBe(node.bytes.length);
  });
});

/** What may go wrong with replay itself, each planted and found. */
describe('the check of what must hold finds', () => {
  const cutCapture = (by: Run): number =>
    sweep(recorded, 'capture', cutsOf(recorded.capture.bytes), { holds: keepsFirst(endOfFirst(captureOf)), by });
  const planted = (change: (outcome: Outcome) => Partial<Outcome>): Run => {
    return (inputs) => {
      const outcome = run(inputs);
      return { ...outcome, ...change(outcome) };
    };
  };

  test.each<[string, Run]>([
    [
      'a crash',
      (inputs) => {
        const outcome = run(inputs);
        if (outcome.frames === 5) throw new RangeError('offset is outside the bounds');
        return outcome;
      },
    ],
    ['a cut that is not told', planted(() => ({ messages: [] }))],
    ['an end as if all had been read', planted(() => ({ end: 'agreed' }))],
    [
      'a place that is not in the file',
      planted(({ messages }) => ({ messages: messages.map((one) => one.replace(/offset/, 'offset 9')) })),
    ],
    [
      'a file that is not named',
      planted(({ messages }) => ({ messages: messages.map((one) => one.replace(/^\S+/, 'x')) })),
    ],
    ['a frame that is lost', planted(({ accounted, frames: read }) => ({ accounted: Math.min(accounted, read, 6) }))],
    [
      'what was before the cut and is not judged',
      planted(({ messages, stories }) => (messages.length > 0 ? { stories: new Map() } : { stories })),
    ],
    [
      'what was before the cut and is judged otherwise',
      planted(({ stories }) => ({ stories: new Map([...stories].map(([flow]) => [flow, 'answered 8080 never'])) })),
    ],
  ])('%s', (_what, by) => {
    expect(() => cutCapture(by)).toThrow(/^capture, cut at \d+$/);
  });
});
