// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endpointText } from '../../core/address.ts';
import { CHECKSUM_MODE_NONE, CHECKSUM_MODE_PARTIAL } from '../../core/layout.gen.ts';
import {
  endsOf,
  ETHERNET_BYTES,
  FRAME_BYTES_MAX,
  poseFrame,
  withPodAsSource,
  withSource,
  type CapturedPacket,
} from '../../replay/frame.ts';
import { readHeaders, type Headers } from '../../replay/headers.ts';
import { addressOf, fragmentsOf, tcp, udp, withOptions, withRouting, type Segment } from './packets.ts';

function headersOf(packet: Uint8Array): Headers {
  const headers = readHeaders(packet);
  if (headers === undefined) throw new Error('unreadable');
  return headers;
}

/** `network`: what of the packet was captured; `ethernet`: the addresses in front of it. */
type More = Partial<Pick<CapturedPacket, 'isCut' | 'mtu'>> & {
  readonly network?: Uint8Array;
  readonly ethernet?: Uint8Array;
};

/** In the middle of other bytes, as in the buffer of a capture. */
function captured(packet: Uint8Array, { ethernet, network = packet, ...more }: More = {}): CapturedPacket {
  const headers = headersOf(packet);
  const ethertype = headers.family === 'IPv4' ? 0x0800 : 0x86dd;
  const before = [9, 9, 9, ...(ethernet ?? [])];
  const buffer = Uint8Array.from([...before, ...network, 9, 9, 9]);
  const ethernetAt = ethernet && 3;
  const place = { buffer, start: before.length, end: before.length + network.length, ethernetAt };
  return { ...place, headers, ethertype, isCut: false, mtu: 1500, ...more };
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
    const { destination, destinationPort } = headersOf(bytes.subarray(ETHERNET_BYTES));
    expect(endpointText(destination, destinationPort)).toBe(ends.to);
    expect(endsOf(bytes)).toMatchObject({ destination, destinationPort });
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

  test('behind extension headers has its checksum read, unless a routing header says that it covers another address', () => {
    const packet = tcp({ from: '[fd00::1]:80', to: '[fd00::2]:4242', flags: 'P.', checksum: 'partial' });
    const posed = [withOptions(packet), withRouting(packet)].map((each) => poseFrame(captured(each)));
    expect(posed).toMatchObject([
      { checksum: 'partial', checksumMode: CHECKSUM_MODE_PARTIAL },
      { checksum: 'unknown', checksumMode: CHECKSUM_MODE_NONE },
    ]);
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

/**
 * In ones' complement all ones are zero, and no incremental update can tell which of them was there (RFC 1624 3). Only
 * UDP says which is written (RFC 768).
 */
function oneZero(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  if (copy[at] === 0xff && copy[at + 1] === 0xff) copy.fill(0, at, at + 2);
  return copy;
}

const transports: readonly (readonly [string, number, (segment: Omit<Segment, 'flags'>) => Uint8Array])[] = [
  ['TCP', 16, (given) => tcp({ flags: 'P.', ...given })],
  ['UDP', 6, udp],
];
const kinds = families.flatMap(([family, ends, headerBytes]) =>
  transports.map(([protocol, checksumAt, make]) => ({ family, protocol, ends, at: headerBytes + checksumAt, make })),
);

describe.each(kinds)('another source of $protocol over $family', ({ at, ends, family, make, protocol }) => {
  const states = fc.constantFrom<Segment['checksum'] & string>('right', 'partial', 'wrong');
  const pod = (last: number): string => (family === 'IPv4' ? `10.244.7.${last}` : `fd00:10:244:7:a:b:c:${last}`);
  const endpoint = (address: string, port: number): string =>
    family === 'IPv4' ? `${address}:${port}` : `[${address}]:${port}`;
  const { destination: client, destinationPort: clientPort } = headersOf(make(ends));

  function check(checksum: Segment['checksum'] & string, payload: Uint8Array, last: number, port: number): void {
    const common = { ...ends, payload, checksum };
    const packet = make(common);
    const posed = poseFrame(captured(packet));
    fc.pre(posed.checksum === checksum);
    const changed = withSource(posed, headersOf(packet), { address: addressOf(pod(last)), port, client, clientPort });
    const wanted = make({ ...common, from: endpoint(pod(last), port) });
    const isWrong = checksum === 'wrong';
    // A wrong checksum stays as wrong as it was, by the same difference and not by the same bits.
    if (isWrong) wanted.set(changed.subarray(ETHERNET_BYTES + at, ETHERNET_BYTES + at + 2), at);
    expect(changed.subarray(ETHERNET_BYTES)).toEqual(wanted);
    const service = { address: headersOf(packet).source, port: 80, client, clientPort };
    const back = withSource({ ...posed, bytes: changed }, headersOf(packet), service);
    const same = (bytes: Uint8Array): Uint8Array => (protocol === 'TCP' ? oneZero(bytes, ETHERNET_BYTES + at) : bytes);
    expect(same(back)).toEqual(same(posed.bytes));
  }

  test('gives the packet that this source would have sent, whatever the state of its checksum', () => {
    fc.assert(
      fc.property(
        states,
        fc.uint8Array({ maxLength: 40 }),
        fc.integer({ min: 1, max: 254 }),
        fc.integer({ min: 1, max: 65535 }),
        check,
      ),
    );
  });

  test.each([
    ['all ones, which is wrong', 'wrong', 0x0000],
    ['zero, which is right', 'right', 0xffff],
  ] as const)('of a packet whose checksum is %s, comes back as an equal one', (_what, checksum, complement) => {
    // Two bytes of payload bring the sum to where it is wanted.
    const bare = make({ ...ends, payload: Uint8Array.of(0, 0) });
    const sum = new DataView(bare.buffer).getUint16(at);
    const aim = checksum === 'wrong' ? 0xaaaa : complement ^ 0xffff;
    const word = (sum + (aim ^ 0xffff)) % 0xffff;
    const payload = Uint8Array.of(word >>> 8, word & 0xff);
    const found = new DataView(make({ ...ends, payload, checksum }).buffer).getUint16(at);
    // RFC 768: a UDP sender writes all ones for a sum that comes to zero.
    expect(found === 0xffff || (found === 0 && checksum === 'right')).toBe(true);
    check(checksum, payload, 7, 8080);
  });

  test('replaces also the port of a client that the twin has replaced', () => {
    const packet = make(ends);
    const taken = { address: addressOf(pod(7)), port: 8080, client, clientPort: 61_001 };
    const changed = withSource(poseFrame(captured(packet)), headersOf(packet), taken);
    const to = ends.to.replace(/\d+$/, '61001');
    expect(changed.subarray(ETHERNET_BYTES)).toEqual(make({ from: endpoint(pod(7), 8080), to }));
  });

  test('is that of a pod which answers itself, by the way back: both ends, one more hop, Ethernet turned', () => {
    const packet = make({ ...ends, hops: 63 });
    const posed = poseFrame(captured(packet));
    const own = { address: addressOf(pod(7)), port: 8080, client: addressOf(pod(1)), clientPort: 61_001 };
    const changed = withPodAsSource(posed, headersOf(packet), own);
    const wanted = make({ from: endpoint(pod(7), 8080), to: endpoint(pod(1), 61_001), hops: 64 });
    expect(changed.subarray(ETHERNET_BYTES)).toEqual(wanted);
    const [there, back] = [posed.bytes.subarray(0, 6), posed.bytes.subarray(6, 12)];
    expect(changed.subarray(0, 12)).toEqual(Uint8Array.from([...back, ...there]));
  });
});

test('a datagram without a checksum gets none, and its fragments only the address', () => {
  const packet = udp({ from: '10.96.0.10:53', to: '10.0.0.1:4242', checksum: 'none', payload: new Uint8Array(40) });
  const backend = { address: addressOf('10.244.7.7'), port: 8053, client: addressOf('10.0.0.1'), clientPort: 4242 };
  const wanted = udp({ from: '10.244.7.7:8053', to: '10.0.0.1:4242', checksum: 'none', payload: new Uint8Array(40) });
  const changed = [packet, ...fragmentsOf(packet, 16)].map((part) =>
    withSource(poseFrame(captured(part)), headersOf(part), backend).subarray(ETHERNET_BYTES),
  );
  expect(changed).toEqual([wanted, ...fragmentsOf(wanted, 16)]);
});
