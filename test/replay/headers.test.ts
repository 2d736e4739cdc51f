// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { flowText, hasExtensions, isMapped, isOpening, readHeaders, turned } from '../../replay/headers.ts';
import { addressOf, CLIENT_V6, icmpError, SERVICE_V6, tcp, udp } from './recording.ts';

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
      isFragment: false,
    });
    expect(headers && isOpening(headers)).toBe(true);
    expect(headers && flowText(headers)).toBe('10.0.0.1:4242>10.96.0.10:80/TCP');
    expect(headers && flowText(turned(headers))).toBe('10.96.0.10:80>10.0.0.1:4242/TCP');
  });

  test.each([
    ['no extension', ipv6(6, [], tcpBytes), 40, false],
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
      false,
    ],
    ['a fragment header', ipv6(44, [[6, 0, 0, 1, 0, 0, 0, 1]], tcpBytes), 48, true],
  ])('of TCP over IPv6 are found behind %s', (_what, packet, transportOffset, isFragment) => {
    expect(readHeaders(packet)).toMatchObject({
      family: 'IPv6',
      protocol: 6,
      transportOffset,
      isFragment,
      sourcePort: isFragment ? 0 : 4242,
      flags: isFragment ? 0 : 0x12,
    });
    const headers = readHeaders(packet);
    expect(headers && hasExtensions(headers)).toBe(transportOffset > 40);
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
    const packet = udp('10.0.0.1:1', '10.0.0.2:2');
    const other = packet.slice();
    other[31] = 1;
    expect(readHeaders(packet)?.digest).not.toBe(readHeaders(other)?.digest);
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
