// SPDX-License-Identifier: Apache-2.0
/** Retransmissions: what repeats bytes that had been sent before, and what is told of it. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { traceOf } from '../../replay/card.ts';
import { PLAIN_NODE } from '../../core/control/nodes.ts';
import { assert } from '../../core/result.ts';
import { readHeaders, type Headers } from '../../replay/headers.ts';
import { followPath, spanOf } from '../../replay/path.ts';
import { reportText } from '../../replay/report.ts';
import { newStream, noteSegment } from '../../replay/stream.ts';
import { summarize } from '../../replay/summary.ts';
import { traceText } from '../../replay/tracetext.ts';
import { tcp, type Segment } from './packets.ts';
import {
  captureOf,
  CLIENT,
  cluster,
  connection,
  LOCAL,
  on,
  REMOTE,
  replayed,
  SERVICE,
  setting,
  type Frame,
  type Replay,
} from './recording.ts';

/** A packet of a stream: where its bytes begin, counted from the stream's own beginning, and how many they are. */
type Sent = { readonly at: number; readonly length: number };

function headersOf(sequence: number, length: number, flags = '.'): Headers {
  const ends: Pick<Segment, 'from' | 'to'> = { from: `${CLIENT}:4001`, to: `${SERVICE}:80` };
  const headers = readHeaders(tcp({ ...ends, flags, sequence: sequence >>> 0, payload: new Uint8Array(length) }));
  assert(headers !== undefined, 'a packet made by hand can be read');
  return headers;
}

/** By its definition: a packet repeats, if any of its bytes was in one before. */
function repeatedByDefinition(packets: readonly Sent[]): readonly boolean[] {
  const bytes = new Set<number>();
  return packets.map(({ at, length }) => {
    const own = Array.from({ length }, (_, index) => at + index);
    const isRepeated = own.some((byte) => bytes.has(byte));
    for (const byte of own) bytes.add(byte);
    return isRepeated;
  });
}

type Note = typeof noteSegment;

function repeatedBy(note: Note, first: number, packets: readonly Sent[]): readonly boolean[] {
  const stream = newStream();
  return packets.map(({ at, length }) => note(stream, headersOf(first + at, length)));
}

/** Near the end of all numbers, so that most streams go beyond it; or at the signed end. */
const beginnings = fc.oneof(
  fc.integer({ min: 0xffff_ff00, max: 0xffff_ffff }),
  fc.integer({ min: 0x7fff_ff00, max: 0x7fff_ffff }),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);

/** Each begins within what was sent, or right after it. */
const inOrder = fc
  .array(fc.tuple(fc.nat(64), fc.integer({ min: 0, max: 60 })), { minLength: 1, maxLength: 30 })
  .map((steps) => {
    let end = 0;
    return steps.map(([back, length]): Sent => {
      const at = back > 32 ? end : Math.max(0, end - back);
      end = Math.max(end, at + length);
      return { at, length };
    });
  });

/** One of consecutive packets comes some places late. */
const oneLate = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 3, maxLength: 12 }),
    fc.nat(11),
    fc.integer({ min: 1, max: 4 }),
  )
  .map(([lengths, which, places]) => {
    let end = 0;
    const packets = lengths.map((length): Sent => ({ at: (end += length) - length, length }));
    const from = 1 + (which % (packets.length - 1));
    const [late] = packets.splice(from, 1);
    assert(late !== undefined, 'one of them');
    packets.splice(Math.min(packets.length, from + places), 0, late);
    return packets;
  });

function expectByDefinition(note: Note): void {
  fc.assert(
    fc.property(beginnings, fc.oneof(inOrder, oneLate), (first, packets) => {
      expect(repeatedBy(note, first, packets)).toEqual(repeatedByDefinition(packets));
    }),
    { numRuns: 400 },
  );
}

describe('a packet of TCP', () => {
  test('repeats what any packet before has sent, across the end of all sequence numbers, and a late one does not', () => {
    expectByDefinition(noteSegment);
  });

  test.each<[string, Note]>([
    [
      'numbers compared as they are',
      (stream, headers) => {
        const isRepeated = stream.hasBegun && headers.payloadLength > 0 && headers.sequence < stream.next >>> 0;
        noteSegment(stream, headers);
        return isRepeated;
      },
    ],
    [
      'late ones taken for repeated',
      (stream, headers) => {
        stream.gapEnd = stream.gap;
        return noteSegment(stream, headers);
      },
    ],
    ['what has no bytes counted', (stream, headers) => noteSegment(stream, headers) || headers.payloadLength === 0],
  ])('is counted wrongly with %s, and that is found', (_what, note) => {
    expect(() => expectByDefinition(note)).toThrow(/Property failed/);
  });

  test.each([
    ['a SYN, which the openings count', ['S', 'S'], 0],
    ['the answer to it', ['S.', 'S.'], 1],
    ['a FIN', ['F.', 'F.'], 1],
    ['a reset', ['R.', 'R.'], 0],
    ['an acknowledgement', ['.', '.'], 0],
  ])('that is sent again: %s', (_what, flags, count) => {
    const stream = newStream();
    for (const one of flags) noteSegment(stream, headersOf(7, 0, one));
    expect(stream.repeated).toBe(count);
  });
});

describe('a recording', () => {
  const streams = cluster([LOCAL, REMOTE]);
  const good = connection(100, 4001, REMOTE);
  /** The two frames of a packet once more, later. */
  const again = (frames: readonly Frame[], from: number, delayMs: number): readonly Frame[] =>
    frames.slice(from, from + 2).map((frame) => on(frame.atMs + delayMs, frame.ifindex, frame.direction, frame.packet));
  const replayOf = (...frames: readonly Frame[]): Replay =>
    replayed([captureOf(frames.toSorted((left, right) => left.atMs - right.atMs))], streams);
  const summaryOf = ({ tally }: Replay): ReturnType<typeof summarize> => summarize(tally, setting);
  /** Its seven packets are two frames each. */
  const data = again(good, 6, 0.31);
  const end = again(good, 8, 0.05);

  test('that shows each packet on two devices has none', () => {
    expect(summaryOf(replayOf(...good)).retransmissions).toEqual({ fromClients: 0, fromServices: 0, connections: 0 });
  });

  test('has those of both sides, each once, however many devices show them', () => {
    const other = connection(300, 4002, LOCAL);
    const { retransmissions } = summaryOf(replayOf(...good, ...data, ...again(good, 6, 0.5), ...end, ...other));
    expect(retransmissions).toEqual({ fromClients: 2, fromServices: 1, connections: 1 });
  });

  test('tells of them where the connection is told of, and nowhere else', () => {
    const textOf = (replay: Replay): string =>
      reportText({ tally: replay.tally, summary: summaryOf(replay), setting, events: streams.events, command: 'x' });
    const told = textOf(replayOf(...good, ...data, ...end));
    expect(told).toContain('retransmissions             2  of 1 connections: 1 from clients, 1 from Services\n');
    expect(told).toContain('10.244.2.7:8080 after 20 µs, answered, 2 retransmissions; permitted\n');
    expect(textOf(replayOf(...good, ...data))).toContain('answered, 1 retransmission; permitted\n');
    expect(textOf(replayOf(...good))).not.toContain('retransmission');
  });

  test('shows them in a trace, beside the packets', () => {
    const capture = captureOf([...good, ...data, ...end].toSorted((left, right) => left.atMs - right.atMs));
    const { tally } = replayed([capture], streams);
    const [one] = tally.connections;
    assert(one !== undefined, 'there is a connection');
    const { path, watch } = followPath(spanOf(one, tally.connections));
    replayed([capture], streams, undefined, { watch });
    const config = { ...PLAIN_NODE, nodeName: 'node1', serviceCIDRs: [] };
    const { events } = streams;
    const trace = traceOf({
      connection: one,
      path: path(),
      events,
      origin: tally.origin,
      config,
      setting,
      writes: new Map(),
      difference: undefined,
    });
    const text = traceText(trace, 'nothing');
    expect(text).toContain('answered; 2 retransmissions: look at the network\n');
    expect(text).toContain('2 retransmissions: 1 by the client, 1 by the Service\n');
    expect(trace.timeline.filter((moment) => moment.text.includes('AGAIN')).map((moment) => moment.text)).toEqual([
      expect.stringMatching(/^frame \d+ reply ACK\+FIN 0 bytes AGAIN on eth0, /),
      expect.stringMatching(/^frame \d+ request ACK 5 bytes AGAIN on veth5, /),
    ]);
  });
});
