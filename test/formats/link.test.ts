// SPDX-License-Identifier: Apache-2.0
/** Link layers: where the network header begins, and what the capture says of device and direction. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  isKnownLinkType,
  LINK_ETHERNET,
  LINK_IPV4,
  LINK_IPV6,
  LINK_LINUX_COOKED,
  LINK_LINUX_COOKED_V2,
  LINK_LOOP,
  LINK_NULL,
  LINK_RAW_IP,
  newLinkHeader,
  parseLink,
  type LinkHeader,
  type LinkProblem,
} from '../../formats/link.ts';

function parseHex(linkType: number, hex: string): LinkHeader | LinkProblem {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  // Three bytes in front: a parser that counts from the beginning of the buffer is found out.
  const buffer = Buffer.concat([Buffer.from('ffffff', 'hex'), bytes]);
  const header = newLinkHeader();
  return parseLink(linkType, buffer, 3, bytes.length, header) ?? header;
}

const UNTOLD = { interfaceIndex: undefined, packetType: undefined, direction: undefined, vlanTags: 0 };

test.each([
  ['Ethernet', LINK_ETHERNET, '0a0000000001 0a0000000002 0800 45', { protocol: 0x0800, networkOffset: 14, ...UNTOLD }],
  [
    'Ethernet with a VLAN tag',
    LINK_ETHERNET,
    '0a0000000001 0a0000000002 8100 0064 86dd 60',
    { protocol: 0x86dd, networkOffset: 18, ...UNTOLD, vlanTags: 1 },
  ],
  [
    'Ethernet with two VLAN tags',
    LINK_ETHERNET,
    '0a0000000001 0a0000000002 88a8 0001 8100 0064 0800 45',
    { protocol: 0x0800, networkOffset: 22, ...UNTOLD, vlanTags: 2 },
  ],
  [
    'IEEE 802.3 with a length in place of the ethertype',
    LINK_ETHERNET,
    '0180c2000000 0a0000000002 0026 424203',
    { protocol: 0x26, networkOffset: 14, ...UNTOLD },
  ],
  ['raw IPv4', LINK_RAW_IP, '45', { protocol: 0x0800, networkOffset: 0, ...UNTOLD }],
  ['raw IPv6', LINK_RAW_IP, '60', { protocol: 0x86dd, networkOffset: 0, ...UNTOLD }],
  ['IPv4 by its link type', LINK_IPV4, '45', { protocol: 0x0800, networkOffset: 0, ...UNTOLD }],
  ['IPv6 by its link type', LINK_IPV6, '60', { protocol: 0x86dd, networkOffset: 0, ...UNTOLD }],
  ['raw IP by the number of a system', 12, '45', { protocol: 0x0800, networkOffset: 0, ...UNTOLD }],
  ['raw IP by the number of another', 14, '60', { protocol: 0x86dd, networkOffset: 0, ...UNTOLD }],
  ['loopback of a little-endian machine', LINK_NULL, '02000000 45', { protocol: 0x0800, networkOffset: 4, ...UNTOLD }],
  ['loopback of a big-endian machine', LINK_NULL, '0000001e 60', { protocol: 0x86dd, networkOffset: 4, ...UNTOLD }],
  ['loopback of FreeBSD', LINK_NULL, '1c000000 60', { protocol: 0x86dd, networkOffset: 4, ...UNTOLD }],
  ['loopback of OpenBSD', LINK_LOOP, '00000018 60', { protocol: 0x86dd, networkOffset: 4, ...UNTOLD }],
  [
    'cooked, going out',
    LINK_LINUX_COOKED,
    '0004 0001 0006 0a00000000010000 0800 45',
    { protocol: 0x0800, networkOffset: 16, ...UNTOLD, packetType: 'outgoing', direction: 'outgoing' },
  ],
  [
    'cooked v2, coming in on device 5',
    LINK_LINUX_COOKED_V2,
    '0800 0000 00000005 0001 00 06 0a00000000010000 45',
    {
      protocol: 0x0800,
      networkOffset: 20,
      interfaceIndex: 5,
      packetType: 'host',
      direction: 'incoming',
      vlanTags: 0,
    },
  ],
  [
    'cooked v2, for another machine',
    LINK_LINUX_COOKED_V2,
    '86dd 0000 00010002 0001 03 06 0a00000000010000 60',
    {
      protocol: 0x86dd,
      networkOffset: 20,
      interfaceIndex: 65_538,
      packetType: 'other-host',
      direction: 'incoming',
      vlanTags: 0,
    },
  ],
  ['Ethernet cut short', LINK_ETHERNET, '0a0000000001 0a0000000002 08', 'short-link-header'],
  ['a VLAN tag cut short', LINK_ETHERNET, '0a0000000001 0a0000000002 8100 0064 08', 'short-link-header'],
  [
    'three VLAN tags',
    LINK_ETHERNET,
    '0a0000000001 0a0000000002 8100 0064 8100 0064 8100 0064 0800',
    'not-a-network-packet',
  ],
  ['cooked cut short', LINK_LINUX_COOKED, '0004 0001 0006 0a00000000010000 08', 'short-link-header'],
  ['cooked v2 cut short', LINK_LINUX_COOKED_V2, '0800 0000 00000005 0001 00 06 0a000000000100', 'short-link-header'],
  ['a netlink message', LINK_LINUX_COOKED_V2, '0000 0000 00000009 0338 04 00 0000000000000000', 'not-a-network-packet'],
  ['raw IP of version 5', LINK_RAW_IP, '55', 'not-a-network-packet'],
  ['loopback cut short', LINK_NULL, '020000', 'short-link-header'],
  ['loopback with AppleTalk', LINK_NULL, '10000000 01', 'not-a-network-packet'],
  ['loopback with bytes on both sides', LINK_NULL, '02000002 45', 'not-a-network-packet'],
  ['loopback with a family of two bytes', LINK_LOOP, '00000200 45', 'not-a-network-packet'],
  ['an empty frame', LINK_RAW_IP, '', 'short-link-header'],
  ['another link type', 147, '45', 'unknown-link-type'],
])('%s', (_, linkType, hex, expected) => {
  expect(parseHex(linkType, hex)).toEqual(expected);
});

test('a header of one frame leaves nothing behind for the next', () => {
  const header = newLinkHeader();
  const cooked = Buffer.from('8100000000000005000104060a000000000100000064080045', 'hex');
  expect(parseLink(LINK_LINUX_COOKED_V2, cooked, 0, cooked.length, header)).toBeUndefined();
  expect(header).toMatchObject({ protocol: 0x0800, interfaceIndex: 5, direction: 'outgoing', vlanTags: 1 });
  expect(parseLink(LINK_RAW_IP, Buffer.from('45', 'hex'), 0, 1, header)).toBeUndefined();
  expect(header).toEqual({ protocol: 0x0800, networkOffset: 0, ...UNTOLD });
});

test('the network header never begins after the end of the frame', () => {
  const linkType = fc.constantFrom(LINK_ETHERNET, LINK_LINUX_COOKED, LINK_LINUX_COOKED_V2, LINK_RAW_IP, LINK_NULL);
  fc.assert(
    fc.property(linkType, fc.uint8Array({ maxLength: 40 }), (type, bytes) => {
      const header = newLinkHeader();
      if (parseLink(type, bytes, 0, bytes.length, header) === undefined) {
        expect(header.networkOffset).toBeLessThanOrEqual(bytes.length);
      }
    }),
  );
});

test('what is known is parsed, and nothing else', () => {
  for (let linkType = 0; linkType < 400; linkType += 1) {
    const problem = parseLink(linkType, new Uint8Array(0), 0, 0, newLinkHeader());
    expect(problem, `link type ${linkType}`).toBe(
      isKnownLinkType(linkType) ? 'short-link-header' : 'unknown-link-type',
    );
  }
});
