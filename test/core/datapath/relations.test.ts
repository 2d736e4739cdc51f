// SPDX-License-Identifier: Apache-2.0
/** Relations between a packet and what it becomes, whatever it holds and whichever family it is of. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sumOf } from '../../../proof/traffic/frame.ts';
import {
  cutsOf,
  datagram,
  fragmentableLength,
  tcp,
  transportOf,
  withDestination,
  withSource,
  type Wire,
} from './bytes.ts';
import { openModel } from './model.ts';
import { empty, fate, many, mirror, silent, Stage, web, webBackend, type Host } from './stage.ts';

const families = ['IPv4', 'IPv6'] as const;
const stages = { IPv4: new Stage([openModel().side], 'IPv4'), IPv6: new Stage([openModel().side], 'IPv6') };

const host: fc.Arbitrary<Host> = fc.record({
  address: fc.integer({ min: 0x0b000001, max: 0x0bffffff }),
  port: fc.integer({ min: 1, max: 65535 }),
});
const dress: fc.Arbitrary<Partial<Wire>> = fc.record({
  payload: fc.uint8Array({ maxLength: 300 }),
  id: fc.nat({ max: 65535 }),
  timeToLive: fc.integer({ min: 2, max: 255 }),
  checksum: fc.constantFrom<Wire['checksum']>('full', 'none', 1, 0xff, 0x8000, 0xfffe),
  padding: fc.uint8Array({ maxLength: 20 }),
});
const make = fc.constantFrom(tcp, datagram);

/** A segment can't go without a sum. */
function sent(it: Wire): Wire {
  return it.protocol === 6 && it.checksum === 'none' ? { ...it, checksum: 'full' } : it;
}

/** Bytes behind Ethernet and the plain IP header of a family. */
function behind(frame: Uint8Array, stage: Stage): Uint8Array {
  return frame.subarray(stage.family === 'IPv6' ? 54 : 34);
}

describe.each(families)('with %s', (family) => {
  const stage = stages[family];

  test('an echo of what the backend got is what the client sent, turned around', () => {
    const law = fc.property(host, make, dress, (from, kind, more) => {
      stage.begin();
      const it = sent(kind(from, many, more));
      const there = stage.send('from-pod', it);
      const port = { address: Number(there.to.address), port: there.to.port };
      expect(there.frame).toEqual(stage.bytes(withDestination(it, port)));
      const back = sent(kind(port, from, { ...more, flags: 18 }));
      const answer = stage.send('to-pod', back);
      expect(answer.frame).toEqual(stage.bytes(withSource(back, many)));
    });
    fc.assert(law, { numRuns: 400 });
  });

  test('no translation changes a byte of payload, nor how wrong a checksum is', () => {
    const law = fc.property(host, make, dress, (from, kind, more) => {
      stage.begin();
      const it = stage.wire(sent(kind(from, web, more)));
      const answer = stage.send('from-pod', it);
      const header = it.protocol === 6 ? 20 : 8;
      const length = transportOf(it).length;
      const got = behind(answer.frame, stage);
      expect(got.subarray(header, length)).toEqual(it.payload);
      expect(got.subarray(length)).toEqual(it.padding);
      // The sum over the pseudo-header and all bytes is the same before and after: 0xffff where it was right.
      const wanted = transportOf(stage.wire(withDestination(it, webBackend)));
      expect(sumOf(got.subarray(0, length))).toBe(sumOf(wanted));
    });
    fc.assert(law, { numRuns: 400 });
  });

  test('fragments put together are the translated datagram, however it was cut and in whatever order they came', () => {
    const sizes = fc.array(
      fc.integer({ min: 3, max: 20 }).map((words) => words * 8),
      { maxLength: 8 },
    );
    const law = fc.property(host, make, dress, sizes, fc.nat(), (from, kind, more, lengths, turn) => {
      stage.begin();
      const it = stage.wire(sent(kind(from, web, { ...more, padding: new Uint8Array() })));
      const [first, ...later] = cutsOf(fragmentableLength(it), lengths);
      if (first === undefined || later.length === 0) return;
      const whole = new Uint8Array(fragmentableLength(it));
      const ordered = [...later.slice(turn % later.length), ...later.slice(0, turn % later.length)];
      for (const cut of [first, ...ordered]) {
        const answer = stage.send('from-pod', it, cut);
        expect(answer.verdict).toBe('forward');
        whole.set(behind(answer.frame, stage).subarray(stage.family === 'IPv6' ? 8 : 0), cut.at);
      }
      expect(whole).toEqual(transportOf(stage.wire(withDestination(it, webBackend))));
    });
    fc.assert(law, { numRuns: 400 });
  });
});

test('IPv4 and IPv6 decide alike, packet by packet, in any conversation', () => {
  const clients: readonly Host[] = [1, 2].flatMap((last) =>
    [40000, 40001].map((port) => ({ address: 0x0a020000 + last, port })),
  );
  const own: Host = { address: webBackend.address, port: 40000 };
  const step = fc.record({
    from: fc.constantFrom(...clients, own),
    to: fc.constantFrom(web, web, mirror, empty, silent, webBackend, { ...web, port: 81 }, { ...web, port: 0 }),
    kind: make,
    isAnswer: fc.boolean(),
    flags: fc.constantFrom(2, 2, 16, 18, 17, 4, 20, 0),
    wait: fc.constantFrom(0, 0, 0, 50, 5000),
    cut: fc.constantFrom(undefined, undefined, 0, 24),
    payload: fc.uint8Array({ minLength: 30, maxLength: 60 }),
    timeToLive: fc.constantFrom(64, 64, 1, 0),
  });
  const law = fc.property(fc.array(step, { maxLength: 25 }), (script) => {
    const told = families.map((family) => {
      const stage = stages[family];
      stage.begin();
      return script.map(({ from, to, kind, isAnswer, flags, wait, cut, payload, timeToLive }) => {
        stage.wait(wait);
        // An identification of IPv6 is of no protocol, one of IPv4 is (RFC 791, RFC 8200 4.5): none serves both here.
        const id = kind === tcp ? 1 : 2;
        const more = { flags, payload, timeToLive, id, sequence: 100, acknowledgement: 101 };
        const it = isAnswer ? kind(webBackend, from, more) : kind(from, to, more);
        const piece = cut === undefined ? undefined : { at: cut, length: 24, isLast: false };
        return fate(stage.send(isAnswer ? 'to-pod' : 'from-pod', it, piece));
      });
    });
    expect(told[1]).toEqual(told[0]);
  });
  fc.assert(law, { numRuns: 600 });
});
