// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { summarize, endOf } from '../../replay/summary.ts';
import { totalOf } from '../../replay/tally.ts';
import {
  captureOf,
  CLIENT_DEVICE,
  cluster,
  connection,
  eventLine,
  LOCAL,
  on,
  REMOTE,
  replayed,
  setting,
  slice,
  type Frame,
} from './recording.ts';

const frames: readonly Frame[] = connection(100, 4242, LOCAL);
const HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

/** Where each record of a capture ends, the file's header first. */
function boundariesOf(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer);
  const ends = [HEADER_BYTES];
  for (let at = HEADER_BYTES; at < bytes.length; ends.push(at))
    at += RECORD_HEADER_BYTES + view.getUint32(at + 8, true);
  return ends;
}

describe('a capture cut at any byte', () => {
  const { name, bytes } = captureOf(frames);
  const boundaries = boundariesOf(bytes);

  test('is judged as far as it goes, and the cut is told with file and offset', () => {
    expect(boundaries.at(-1)).toBe(bytes.length);
    for (let length = 0; length < bytes.length; length += 1) {
      const { tally } = replayed([{ name, bytes: bytes.slice(0, length) }], cluster([LOCAL]));
      const whole = boundaries.filter((end) => end <= length).length - 1;
      expect(tally.packets).toBe(Math.max(0, whole));
      if (boundaries.includes(length)) {
        expect(tally.failures).toEqual([]);
        continue;
      }
      const [failure] = tally.failures;
      expect(tally.failures).toHaveLength(1);
      expect(failure?.kind).toBe('input');
      const offset = length < HEADER_BYTES ? 0 : boundaries.findLast((end) => end <= length);
      expect(failure?.object).toBe(`node1.pcap offset ${offset}`);
      expect(endOf(tally, setting)).toBe('input-unreadable');
    }
  });

  test('in its last frame still has the verdict on the connection before', () => {
    const { tally } = replayed([{ name, bytes: bytes.slice(0, bytes.length - 1) }], cluster([LOCAL]));
    expect(tally.connections[0]).toMatchObject({ reply: 'answered', verdict: { kind: 'permitted' } });
  });
});

describe('a capture', () => {
  const patched = (offset: number, word: number): { name: string; bytes: Uint8Array } => {
    const { name, bytes } = captureOf(frames);
    new DataView(bytes.buffer).setUint32(offset, word, true);
    return { name, bytes };
  };

  test.each([
    ['of an unknown link type', patched(20, 147), 'node1.pcap offset 20: unknown link type 147'],
    ['with an absurd length', patched(HEADER_BYTES + 8, 0x7fffffff), 'node1.pcap offset 32: frame 1 claims'],
    [
      'that is none',
      { name: 'node1.pcap', bytes: new TextEncoder().encode('{"kind":"List"}') },
      'offset 0: not a pcap',
    ],
  ])('%s gives one line with file and offset', (_what, capture, text) => {
    const { tally } = replayed([capture], cluster([LOCAL]));
    expect(tally.failures.map(failureText)).toEqual([expect.stringContaining(text)]);
    expect(endOf(tally, setting)).toBe('input-unreadable');
  });

  test('that does not exist gives one line, and the other one is replayed', () => {
    const { tally } = replayed(['/nonexistent/node1.pcap', captureOf(frames)], cluster([LOCAL]));
    expect(tally.failures.map(failureText)).toEqual(['/nonexistent/node1.pcap: cannot be opened: ENOENT']);
    expect(tally.packets).toBe(frames.length);
  });

  test('with a bit turned in any byte of its packets still has every frame accounted for', () => {
    const { name, bytes } = captureOf(frames.slice(0, 4));
    for (let at = HEADER_BYTES + RECORD_HEADER_BYTES; at < bytes.length; at += 1) {
      const turned = bytes.slice();
      turned[at] = (turned[at] ?? 0) ^ 0x10;
      const { tally } = replayed([{ name, bytes: turned }], cluster([LOCAL]));
      const read = tally.packets;
      expect(read).toBe(tally.failures.length === 0 ? 4 : read);
      expect(totalOf(tally.inputs) + tally.sightings + totalOf(tally.noInput)).toBe(read);
    }
  });

  test('of packets cut to their first bytes is run with what is there', () => {
    const { tally } = replayed([captureOf(frames, 60)], cluster([LOCAL]));
    expect(tally.connections[0]).toMatchObject({ reply: 'answered', verdict: { kind: 'permitted' } });
    expect(tally.shortened).toBeGreaterThan(0);
    expect(tally.failures).toEqual([]);
  });

  test('of packets without a readable IP header on a device with a hook shows them to the twins', () => {
    const garbage = on(100, CLIENT_DEVICE, 'incoming', Uint8Array.of(0x55, 1, 2, 3));
    const { tally, lines } = replayed([captureOf([garbage])], cluster([LOCAL]));
    expect(tally.inputs.get('from-pod')).toBe(1);
    expect(lines).toMatchObject([{ frame: 1, flow: null, model: { verdict: 'pass', reason: 'malformed' } }]);
  });
});

describe('an event stream', () => {
  const later = connection(200, 4243, LOCAL);
  const both = [captureOf([...frames, ...later])];

  test('with a line that is not JSON is followed up to there', () => {
    const streams = cluster([LOCAL], eventLine(150, 'MODIFIED', slice([REMOTE])), 'nonsense');
    const { tally } = replayed(both, streams);
    expect(tally.connections.map(({ verdict, notJudged }) => verdict?.kind ?? notJudged)).toEqual([
      'permitted',
      'events-incomplete',
    ]);
    expect(summarize(tally, setting).failures).toEqual([
      expect.stringContaining('cluster.events.ndjson line 4: not JSON'),
    ]);
    expect(endOf(tally, setting)).toBe('input-unreadable');
  });

  test('with an object of an unknown kind is followed without it, and says so', () => {
    const secret = eventLine(50, 'ADDED', { kind: 'Secret', metadata: { namespace: 'shop', name: 'key' } });
    const streams = cluster([LOCAL], secret);
    const { tally } = replayed(both, streams);
    expect(streams.problems.map(failureText)).toEqual([
      'cluster.events.ndjson line 3: objects of kind Secret are skipped',
    ]);
    expect(tally.connections.map(({ verdict }) => verdict?.kind)).toEqual(['permitted', 'permitted']);
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('with a slice of a Service that is not there is followed, and the others are judged', () => {
    const stray = eventLine(50, 'ADDED', slice([REMOTE], 'stray-1', 'nobody'));
    const { tally } = replayed(both, cluster([LOCAL], stray));
    expect(tally.connections.map(({ verdict }) => verdict?.kind)).toEqual(['permitted', 'permitted']);
    expect(tally.mapFailures).toEqual(new Map());
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('with more than the maps can hold names what did not fit, and the others are judged', () => {
    const many = Array.from({ length: 80 }, (_, index) => `10.244.3.${index + 1}`);
    const big = {
      kind: 'Service',
      metadata: { namespace: 'shop', name: 'big', uid: 'uid-big' },
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.96.0.99',
        clusterIPs: ['10.96.0.99'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      },
    };
    const lines = [eventLine(0, 'ADDED', big), eventLine(0, 'ADDED', slice(many, 'big-1', 'big'))];
    const { tally } = replayed(both, cluster([LOCAL], ...lines));
    expect([...tally.mapFailures.keys()]).toEqual([
      expect.stringMatching(/^model: backends: map-full: shop\/big:http\/TCP needs 80/),
    ]);
    expect(tally.connections.map(({ verdict }) => verdict?.kind)).toEqual(['permitted', 'permitted']);
    expect(endOf(tally, setting)).toBe('maps-full');
  });
});
