// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHECKSUM_MODE_NONE, CHECKSUM_MODE_PARTIAL } from '../../core/layout.gen.ts';
import { ETHERNET_BYTES, FRAME_BYTES_MAX, poseFrame, withSource, type CapturedPacket } from '../../replay/frame.ts';
import { readHeaders, type Headers } from '../../replay/headers.ts';
import { addressOf, tcp, type Segment } from './recording.ts';

function headersOf(packet: Uint8Array): Headers {
  const headers = readHeaders(packet);
  if (headers === undefined) throw new Error('unreadable');
  return headers;
}

function captured(packet: Uint8Array, more: Partial<CapturedPacket> = {}): CapturedPacket {
  const headers = headersOf(packet);
  return { network: packet, headers, ethernet: undefined, ethertype: 0x0800, isCut: false, mtu: 1500, ...more };
}

const segment: Segment = { from: '10.96.0.10:80', to: '10.0.0.1:4242', flags: 'P.', payload: Uint8Array.of(1, 2, 3) };

describe('a frame for the twins', () => {
  test('has an Ethernet header of its own where the capture has none', () => {
    const packet = tcp(segment);
    const { bytes } = poseFrame(captured(packet));
    expect([...bytes.subarray(0, ETHERNET_BYTES)]).toEqual([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    expect(bytes.subarray(ETHERNET_BYTES)).toEqual(packet);
  });

  test('keeps the addresses of the capture, without VLAN tags', () => {
    const ethernet = Uint8Array.from({ length: 12 }, (_, index) => index);
    const { bytes } = poseFrame(captured(tcp(segment), { ethernet }));
    expect([...bytes.subarray(0, ETHERNET_BYTES)]).toEqual([...ethernet, 8, 0]);
  });

  test.each([
    ['right', CHECKSUM_MODE_NONE],
    ['partial', CHECKSUM_MODE_PARTIAL],
    ['wrong', CHECKSUM_MODE_NONE],
  ] as const)('whose checksum is %s has mode %i', (checksum, mode) => {
    expect(poseFrame(captured(tcp({ ...segment, checksum })))).toMatchObject({ checksum, checksumMode: mode });
  });

  test('longer than the MTU is a super-packet of segments that fit it', () => {
    const packet = tcp({ ...segment, payload: new Uint8Array(3000) });
    expect(poseFrame(captured(packet)).gsoSize).toBe(1460);
    expect(poseFrame(captured(packet, { mtu: 9000 })).gsoSize).toBe(0);
  });

  test('of which the capture kept only the beginning claims no more than that', () => {
    const packet = tcp({ ...segment, payload: new Uint8Array(400) });
    const { bytes, checksum, isShortened } = poseFrame(
      captured(packet, { network: packet.subarray(0, 100), isCut: true }),
    );
    expect({ checksum, isShortened, length: bytes.length }).toEqual({
      checksum: 'unknown',
      isShortened: true,
      length: 114,
    });
    const cut = bytes.subarray(ETHERNET_BYTES);
    expect(headersOf(cut).length).toBe(100);
    // The IP header's own checksum is right again: one's complement sum of its halves is all ones.
    const view = new DataView(cut.buffer, cut.byteOffset, 20);
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
    expect((sum % 0x10000) + Math.floor(sum / 0x10000)).toBe(0xffff);
  });

  test('cut inside its TCP options keeps its whole header', () => {
    const packet = tcp({ ...segment, payload: new Uint8Array(40) });
    packet[32] = 0x80;
    const { bytes, isShortened } = poseFrame(captured(packet, { network: packet.subarray(0, 44), isCut: true }));
    expect({ isShortened, length: bytes.length }).toEqual({ isShortened: true, length: ETHERNET_BYTES + 52 });
    expect([...bytes.subarray(ETHERNET_BYTES + 44)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('that is too long for a test run is cut to what one takes', () => {
    const { bytes, isShortened } = poseFrame(captured(tcp({ ...segment, payload: new Uint8Array(9000) })));
    expect(bytes.length).toBe(FRAME_BYTES_MAX);
    expect(isShortened).toBe(true);
  });

  test('whose header claims more than was on the wire is left as it is', () => {
    const packet = tcp(segment);
    new DataView(packet.buffer).setUint16(2, 5000);
    const { bytes, isShortened } = poseFrame(captured(packet));
    expect(isShortened).toBe(false);
    expect(bytes.subarray(ETHERNET_BYTES)).toEqual(packet);
  });
});

describe('another source', () => {
  const states = fc.constantFrom<Segment['checksum'] & string>('right', 'partial', 'wrong');

  test('gives the packet that this source would have sent, whatever the state of its checksum', () => {
    fc.assert(
      fc.property(
        fc.record({
          checksum: states,
          port: fc.integer({ min: 1, max: 65535 }),
          last: fc.integer({ min: 1, max: 254 }),
          sequence: fc.nat(),
          payload: fc.uint8Array({ maxLength: 40 }),
        }),
        ({ checksum, last, payload, port, sequence }) => {
          const common = { to: '10.0.0.1:4242', flags: 'P.', sequence, payload, checksum };
          const packet = tcp({ ...common, from: '10.96.0.10:80' });
          const posed = poseFrame(captured(packet));
          fc.pre(posed.checksum === checksum);
          const changed = withSource(posed, headersOf(packet), addressOf(`10.244.7.${last}`), port);
          const wanted = tcp({ ...common, from: `10.244.7.${last}:${port}` });
          // A wrong checksum stays as wrong as it was, by the same difference and not by the same bits.
          const end = checksum === 'wrong' ? 36 : wanted.length;
          expect(changed.subarray(ETHERNET_BYTES, ETHERNET_BYTES + end)).toEqual(wanted.subarray(0, end));
          const back = withSource({ ...posed, bytes: changed }, headersOf(packet), addressOf('10.96.0.10'), 80);
          expect(back).toEqual(posed.bytes);
        },
      ),
    );
  });
});
