// SPDX-License-Identifier: Apache-2.0
/** IPv6 extension headers between a packet and its ports (RFC 8200, RFC 4302, RFC 6275); for one twin or both. */
import { expect } from 'vitest';
import { datagram, paddingOptions, refusalOf, tcp, withDestination, withSource, type Extension } from './bytes.ts';
import { expectUntouched } from './cases.ts';
import { client, empty, fate, web, webBackend, type PacketCase } from './stage.ts';

const hop = paddingOptions(0);
const options = paddingOptions(60);
const routed: Extension = { kind: 43, size: 24, fill: [2, 0] };
const authentication: Extension = { kind: 51, size: 24, fill: [0, 0, 1, 2, 3, 4, 0, 0, 0, 9] };
const mobility: Extension = { kind: 135, size: 8, fill: [4] };
const many = (count: number): readonly Extension[] => Array.from({ length: count }, () => options);

const walked: readonly (readonly [string, readonly Extension[]])[] = [
  ['hop-by-hop options', [hop]],
  ['hop-by-hop options of 24 bytes', [paddingOptions(0, 24)]],
  ['a routing header that has been followed to its end', [routed]],
  ['an authentication header of 24 bytes', [authentication]],
  ['an authentication header of 16 bytes', [{ ...authentication, size: 16 }]],
  ['destination options', [options]],
  ['a mobility header', [mobility]],
  ['hop-by-hop options, then destination options', [hop, options]],
  ['one of each', [hop, options, routed, authentication, mobility]],
  [
    'the order that RFC 8200 4.1 recommends, destination options twice',
    [hop, options, routed, authentication, options],
  ],
  ['eight headers', many(8)],
  ['options of 392 bytes', [paddingOptions(60, 392)]],
];

const translated: readonly PacketCase[] = walked.flatMap(([what, extensions]) =>
  [tcp, datagram].map((make): PacketCase => ({
    title: `packets C30: ${what} before ${make === tcp ? 'TCP' : 'UDP'}: translated both ways, the headers stay`,
    only: 'IPv6',
    play: (stage) => {
      const it = make(client, web, { extensions });
      const there = stage.send('from-pod', it);
      expect(fate(there)).toBe('forward new-flow');
      expect(there.frame).toEqual(stage.bytes(withDestination(it, webBackend)));
      const answer = make(webBackend, client, { extensions, flags: 18 });
      const back = stage.send('to-pod', answer);
      expect(fate(back)).toBe('reply reply');
      expect(back.frame).toEqual(stage.bytes(withSource(answer, web)));
      const asked = make(client, empty, { extensions });
      const refused = stage.send('from-pod', asked);
      expect(fate(refused)).toBe('refuse no-endpoints');
      expect(refused.frame).toEqual(refusalOf(stage.wire(asked)));
    },
  })),
);

const unread: readonly (readonly [string, string, readonly Extension[]])[] = [
  ['a routing header with segments left', 'extensions', [{ ...routed, fill: [2, 1] }]],
  ['a segment routing header with segments left', 'extensions', [{ ...routed, fill: [4, 2] }]],
  ['a routing header with segments left behind others', 'extensions', [hop, options, { ...routed, fill: [0, 255] }]],
  ['nine headers', 'extensions', many(9)],
  ['hop-by-hop options that are not first', 'extensions', [options, hop]],
  ['hop-by-hop options twice', 'extensions', [hop, hop]],
  ['options of 400 bytes', 'extensions', [paddingOptions(60, 400)]],
  ['ESP', 'other-protocol', [{ kind: 50, size: 16, fill: [] }]],
  ['ESP behind options', 'other-protocol', [options, { kind: 50, size: 16, fill: [] }]],
  ['no next header', 'other-protocol', [{ kind: 59, size: 8, fill: [] }]],
  ['HIP, which nobody here knows', 'other-protocol', [{ kind: 139, size: 8, fill: [] }]],
];

const passed = unread.map(([what, reason, extensions]): PacketCase => ({
  title: `${what} before a SYN to a Service passes untouched as ${reason}`,
  only: 'IPv6',
  play: (stage) => {
    const frame = stage.bytes(tcp(client, web, { extensions }));
    expectUntouched(stage.frame('from-pod', frame), frame, reason);
  },
}));

export const extensionCases: readonly PacketCase[] = [
  ...translated,
  ...passed,
  {
    title: 'a frame cut inside its extension headers is never rewritten',
    only: 'IPv6',
    play: (stage) => {
      const whole = stage.bytes(
        datagram(client, web, { extensions: [hop, options, authentication], payload: new Uint8Array() }),
      );
      for (let length = 54; length < whole.length; length++) {
        const cut = whole.slice(0, length);
        expectUntouched(stage.frame('from-pod', cut), cut, 'malformed');
        cut.set([(length - 54) >>> 8, (length - 54) & 255], 18);
        expectUntouched(stage.frame('from-pod', cut), cut, 'malformed');
      }
      expect(fate(stage.frame('from-pod', whole))).toBe('forward new-flow');
    },
  },
  {
    title: 'an extension header that claims to be longer than the packet passes untouched as malformed',
    only: 'IPv6',
    play: (stage) => {
      for (const length of [4, 30]) {
        const frame = stage.bytes(tcp(client, web, { extensions: [options] }));
        frame[55] = length;
        expectUntouched(stage.frame('from-pod', frame), frame, 'malformed');
      }
    },
  },
];
