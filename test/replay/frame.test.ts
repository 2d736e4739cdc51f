// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endpointText } from '../../core/address.ts';
import { CHECKSUM_MODE_NONE, CHECKSUM_MODE_PARTIAL } from '../../core/layout.gen.ts';
import {
  destinationOf,
  ETHERNET_BYTES,
  FRAME_BYTES_MAX,
  poseFrame,
  withSource,
  type CapturedPacket,
} from '../../replay/frame.ts';
import { readHeaders, type Headers } from '../../replay/headers.ts';
import { addressOf, tcp, withOptions, type Segment } from './recording.ts';

function headersOf(packet: Uint8Array): Headers {
  const headers = readHeaders(packet);
  if (headers === undefined) throw new Error('unreadable');
  return headers;
}

function captured(packet: Uint8Array, more: Partial<CapturedPacket> = {}): CapturedPacket {
  const headers = headersOf(packet);
  const ethertype = headers.family === 'IPv4' ? 0x0800 : 0x86dd;
  return { network: packet, headers, ethernet: undefined, ethertype, isCut: false, mtu: 1500, ...more };
}

type Ends = Pick<Segment, 'from' | 'to'>;

/** What differs between the families: ends, bytes of the IP header, and its type in an Ethernet header. */
const families: readonly (readonly [string, Ends, number, readonly number[]])[] = [
  ['IPv4', { from: '10.96.0.10:80', to: '10.0.0.1:4242' }, 20, [0x08, 0x00]],
  ['IPv6', { from: '[fd00:10:96::a]:80', to: '[fd00:10:244:1::4]:4242' }, 40, [0x86, 0xdd]],
];

const payload = Uint8Array.of(1, 2, 3);
const segment: Segment = { from: '10.96.0.10:80', to: '10.0.0.1:4242', flags: 'P.', payload };

describe.each(families)('a frame of %s for the twins', (_family, ends, headerBytes, ethertype) => {
  const sent: Segment = { ...ends, flags: 'P.', payload };

  test('has an Ethernet header of its own where the capture has none', () => {
    const packet = tcp(sent);
    const { bytes } = poseFrame(captured(packet));
    expect([...bytes.subarray(0, ETHERNET_BYTES)]).toEqual([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ...ethertype]);
    expect(bytes.subarray(ETHERNET_BYTES)).toEqual(packet);
  });

  test('keeps the addresses of the capture, without VLAN tags', () => {
    const ethernet = Uint8Array.from({ length: 12 }, (_, index) => index);
    const { bytes } = poseFrame(captured(tcp(sent), { ethernet }));
    expect([...bytes.subarray(0, ETHERNET_BYTES)]).toEqual([...ethernet, ...ethertype]);
  });

  test.each([
    ['right', CHECKSUM_MODE_NONE],
    ['partial', CHECKSUM_MODE_PARTIAL],
    ['wrong', CHECKSUM_MODE_NONE],
  ] as const)('whose checksum is %s has mode %i', (checksum, mode) => {
    expect(poseFrame(captured(tcp({ ...sent, checksum })))).toMatchObject({ checksum, checksumMode: mode });
  });

  test('longer than the MTU is a super-packet of segments that fit it', () => {
    const packet = tcp({ ...sent, payload: new Uint8Array(3000) });
    expect(poseFrame(captured(packet)).gsoSize).toBe(1500 - headerBytes - 20);
    expect(poseFrame(captured(packet, { mtu: 9000 })).gsoSize).toBe(0);
  });

  test('of which the capture kept only the beginning claims no more than that', () => {
    const packet = tcp({ ...sent, payload: new Uint8Array(400) });
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
    expect(cut.subarray(headerBytes)).toEqual(packet.subarray(headerBytes, 100));
  });

  test('cut inside its TCP options keeps its whole header', () => {
    const packet = tcp({ ...sent, payload: new Uint8Array(40) });
    packet[headerBytes + 12] = 0x80;
    const network = packet.subarray(0, headerBytes + 24);
    const { bytes, isShortened } = poseFrame(captured(packet, { network, isCut: true }));
    expect({ isShortened, length: bytes.length }).toEqual({
      isShortened: true,
      length: ETHERNET_BYTES + headerBytes + 32,
    });
    expect([...bytes.subarray(ETHERNET_BYTES + headerBytes + 24)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('tells where it goes', () => {
    const { bytes } = poseFrame(captured(tcp(sent)));
    const { address, port } = destinationOf(bytes);
    expect(endpointText(address, port)).toBe(ends.to);
  });
});

describe('a frame for the twins', () => {
  test('of which the capture kept only the beginning has the right IPv4 checksum again', () => {
    const packet = tcp({ ...segment, payload: new Uint8Array(400) });
    const { bytes } = poseFrame(captured(packet, { network: packet.subarray(0, 100), isCut: true }));
    // One's complement sum of its halves is all ones.
    const view = new DataView(bytes.buffer, ETHERNET_BYTES, 20);
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
    expect((sum % 0x10000) + Math.floor(sum / 0x10000)).toBe(0xffff);
  });

  test('behind extension headers keeps its checksum to itself', () => {
    const packet = withOptions(tcp({ from: '[fd00::1]:80', to: '[fd00::2]:4242', flags: 'P.', checksum: 'partial' }));
    expect(poseFrame(captured(packet))).toMatchObject({ checksum: 'unknown', checksumMode: CHECKSUM_MODE_NONE });
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

describe.each(families)('another source of %s', (family, { from, to }, headerBytes) => {
  const states = fc.constantFrom<Segment['checksum'] & string>('right', 'partial', 'wrong');
  const pod = (last: number): string => (family === 'IPv4' ? `10.244.7.${last}` : `fd00:10:244:7:a:b:c:${last}`);
  const endpoint = (address: string, port: number): string =>
    family === 'IPv4' ? `${address}:${port}` : `[${address}]:${port}`;

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
        ({ checksum, last, payload: body, port, sequence }) => {
          const common = { to, flags: 'P.', sequence, payload: body, checksum };
          const packet = tcp({ ...common, from });
          const posed = poseFrame(captured(packet));
          fc.pre(posed.checksum === checksum);
          const changed = withSource(posed, headersOf(packet), addressOf(pod(last)), port);
          const wanted = tcp({ ...common, from: endpoint(pod(last), port) });
          // A wrong checksum stays as wrong as it was, by the same difference and not by the same bits.
          const end = checksum === 'wrong' ? headerBytes + 16 : wanted.length;
          expect(changed.subarray(ETHERNET_BYTES, ETHERNET_BYTES + end)).toEqual(wanted.subarray(0, end));
          const service = headersOf(packet).source;
          const back = withSource({ ...posed, bytes: changed }, headersOf(packet), service, 80);
          expect(back).toEqual(posed.bytes);
        },
      ),
    );
  });
});
