// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { flowText, isAsking, isFollowed, isMapped, isOpening, readHeaders, turned } from '../../replay/headers.ts';
import { addressOf, fragmentsOf, icmpError, tcp, udp } from './packets.ts';
import { CLIENT_V6, SERVICE_V6 } from './recording.ts';

/** An IPv6 packet with extension headers, from fd00::1 to fd00::2. */
function ipv6(next: number, extensions: readonly (readonly number[])[], transport: readonly number[]): Uint8Array {
  const body = [...extensions.flat(), ...transport];
  const source = [0xfd, ...Array.from({ length: 14 }, () => 0), 1];
  const destination = [0xfd, ...Array.from({ length: 14 }, () => 0), 2];
  return Uint8Array.from([0x60, 0, 0, 0, 0, body.length, next, 64, ...source, ...destination, ...body]);
}

const tcpBytes = [0x10, 0x92, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x12, 0, 0, 0, 0, 0, 0, 1, 2, 3];

describe('headers', () => {
  test('of TCP over IPv4 tell its ends, flags and numbers', () => {
    const payload = Uint8Array.of(1, 2, 3);
    const headers = readHeaders(
      tcp({
        from: '10.0.0.1:4242',
        to: '10.96.0.10:80',
        flags: 'S',
        sequence: 7,
        identification: 9,
        hops: 62,
        payload,
      }),
    );
    expect(headers).toMatchObject({
      family: 'IPv4',
      protocol: 6,
      source: addressOf('10.0.0.1'),
      sourcePort: 4242,
      destinationPort: 80,
      sequence: 7,
      identification: 9,
      hops: 62,
      payloadLength: 3,
      length: 43,
      transportOffset: 20,
      part: 'whole',
    });
    expect(headers && isOpening(headers)).toBe(true);
    expect(headers && flowText(headers)).toBe('10.0.0.1:4242>10.96.0.10:80/TCP');
    expect(headers && flowText(turned(headers))).toBe('10.96.0.10:80>10.0.0.1:4242/TCP');
  });

  test.each([
    ['no extension', ipv6(6, [], tcpBytes), 40, 'whole'],
    [
      'hop-by-hop and destination options',
      ipv6(
        0,
        [
          [60, 0, 0, 0, 0, 0, 0, 0],
          [6, 1, ...Array.from({ length: 14 }, () => 0)],
        ],
        tcpBytes,
      ),
      64,
      'whole',
    ],
    ['the header of a first fragment', ipv6(44, [[6, 0, 0, 1, 0, 0, 0, 1]], tcpBytes), 48, 'first'],
    ['the header of a later fragment', ipv6(44, [[6, 0, 0, 8, 0, 0, 0, 1]], tcpBytes), 48, 'later'],
    ['a fragment header of the whole', ipv6(44, [[6, 0, 0, 0, 0, 0, 0, 1]], tcpBytes), 48, 'whole'],
    ['authentication', ipv6(51, [[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], tcpBytes), 52, 'whole'],
    ['mobility', ipv6(135, [[6, 0, 0, 0, 0, 0, 0, 0]], tcpBytes), 48, 'whole'],
    ['a routing header that is done', ipv6(43, [[6, 0, 0, 0, 0, 0, 0, 0]], tcpBytes), 48, 'whole'],
  ])('of TCP over IPv6 are found behind %s', (_what, packet, transportOffset, part) => {
    expect(readHeaders(packet)).toMatchObject({
      family: 'IPv6',
      protocol: 6,
      transportOffset,
      part,
      sourcePort: part === 'later' ? 0 : 4242,
      flags: part === 'later' ? 0 : 0x12,
      isRouted: false,
    });
  });

  test.each([
    ['ICMP', '10.0.0.1:4242', '10.96.0.10:80', '10.0.0.254', 3, 3],
    ['ICMPv6', `[${CLIENT_V6}]:4242`, `[${SERVICE_V6}]:80`, SERVICE_V6, 1, 4],
  ])('of an %s error name the packet that it is about', (_what, from, to, sender, type, code) => {
    const headers = readHeaders(icmpError(sender, tcp({ from, to, flags: 'S', sequence: 77 }), type, code));
    expect(headers?.error).toMatchObject({ type, code, sequence: 77 });
    expect(headers?.error?.about && flowText(headers.error.about)).toBe(`${from}>${to}/TCP`);
    expect(headers).toMatchObject({ source: addressOf(sender), flags: 0, sequence: 0 });
  });

  test('of an ICMPv6 message that is no error are about nothing', () => {
    const about = tcp({ from: `[${CLIENT_V6}]:4242`, to: `[${SERVICE_V6}]:80`, flags: 'S' });
    expect(readHeaders(icmpError(SERVICE_V6, about, 128, 0))?.error).toBeUndefined();
  });

  test('of IPv6 with an address that stands for an IPv4 one are told from IPv4', () => {
    const packet = ipv6(6, [], tcpBytes);
    const before = readHeaders(packet);
    packet.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 96, 0, 10], 24);
    const after = readHeaders(packet);
    const plain = readHeaders(tcp({ from: '10.0.0.1:1', to: '10.96.0.10:80', flags: 'S' }));
    expect([before, after, plain].map((headers) => headers && isMapped(headers))).toEqual([false, true, false]);
  });

  test('of UDP have a digest of the payload, since nothing else tells its packets apart', () => {
    const packet = udp({ from: '10.0.0.1:1', to: '10.0.0.2:2' });
    const other = packet.slice();
    other[29] = 1;
    expect(readHeaders(packet)?.digest).not.toBe(readHeaders(other)?.digest);
  });

  test('of IPv6 behind a routing header that is not done say so', () => {
    const packet = ipv6(43, [[6, 0, 0, 1, 0, 0, 0, 0]], tcpBytes);
    expect(readHeaders(packet)).toMatchObject({ isRouted: true, destinationPort: 80 });
  });

  test('of a chain longer than any host sends are not followed to its end', () => {
    const options = Array.from({ length: 9 }, (_, index) => [index === 8 ? 6 : 60, 0, 0, 0, 0, 0, 0, 0]);
    const followed = [8, 9].map((count) => {
      const headers = readHeaders(ipv6(60, options.slice(9 - count), tcpBytes));
      return headers && isFollowed(headers);
    });
    expect(followed).toEqual([true, false]);
  });

  test('of the fragments of one datagram tell which is which, and which packets ask for a backend', () => {
    const packet = udp({ from: '10.0.0.1:1', to: '10.0.0.2:2', payload: new Uint8Array(20), identification: 9 });
    const parts = fragmentsOf(packet, 16).map((part) => readHeaders(part));
    expect(parts).toMatchObject([
      { part: 'first', fragmentOffset: 0, sourcePort: 1, identification: 9 },
      { part: 'later', fragmentOffset: 16, sourcePort: 0, identification: 9 },
    ]);
    expect(parts.map((headers) => headers && isAsking(headers))).toEqual([true, false]);
  });

  test('of an error about a later fragment name no packet: its payload is not ports', () => {
    const [, later] = fragmentsOf(udp({ from: '10.0.0.1:1', to: '10.0.0.2:2', payload: new Uint8Array(40) }), 16);
    const error = readHeaders(icmpError('10.0.0.2', later ?? new Uint8Array(0), 11, 1))?.error;
    expect(error).toMatchObject({ type: 11, about: undefined });
  });

  test.each([
    ['nothing', Uint8Array.of()],
    ['version 5', Uint8Array.from({ length: 40 }, () => 0x55)],
    ['19 bytes of IPv4', tcp({ from: '10.0.0.1:1', to: '10.0.0.2:2', flags: 'S' }).subarray(0, 19)],
    ['a header longer than the packet', Uint8Array.from([0x4f, 0, 0, 20, ...Array.from({ length: 56 }, () => 0)])],
  ])('of %s are not there', (_what, bytes) => {
    expect(readHeaders(bytes)).toBeUndefined();
  });

  test('of any bytes whatsoever are read without a crash, and of a cut packet as far as it goes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x4f, 0x60, 0x6f), (bytes, first) => {
        if (bytes.length > 0) bytes[0] = first;
        const headers = readHeaders(bytes);
        expect(headers === undefined || headers.payloadLength >= 0).toBe(true);
      }),
    );
    const whole = tcp({ from: '10.0.0.1:4242', to: '10.96.0.10:80', flags: 'S' });
    expect(readHeaders(whole.subarray(0, 24))).toMatchObject({ sourcePort: 4242, destinationPort: 80, flags: 0 });
  });
});
