// SPDX-License-Identifier: Apache-2.0
/** What only IPv6 has: extension headers, addresses that look like IPv4 ones, Services of two families; for one twin or both. */
import { expect } from 'vitest';
import { flippedBit, type HostAddress } from '../../../proof/traffic/address.ts';
import { ACK, frameOf, segment, SYN, type Segment } from '../../../proof/traffic/frame.ts';
import type { World } from '../../../proof/world.ts';
import { edited, expectUntouched } from './cases.ts';
import { client, empty, fate, six, web, webBackend, type PacketCase, type Place } from './stage.ts';

const payload = new Uint8Array(33).fill(0x61);
const from: Place = { ...client, address: six(client.address) };
const to: Place = { ...web, address: six(web.address) };
const PORT = 40000;

function syn(more: Partial<Segment> = {}): Uint8Array {
  return frameOf(segment(from, to, SYN, more));
}

function synFrom(address: HostAddress): Uint8Array {
  return frameOf(segment({ address, port: PORT }, to, SYN));
}

const untouched: readonly (readonly [string, string, Uint8Array])[] = [
  ['ESP', 'other-protocol', syn({ extensions: [50] })],
  ['no next header', 'other-protocol', syn({ protocol: 59 })],
  ['ICMPv6 to a Service', 'other-protocol', syn({ protocol: 58 })],
  ['an unspecified source', 'martian', synFrom('::')],
  ['a loopback source', 'martian', synFrom('::1')],
  ['a multicast source', 'martian', synFrom('ff02::1')],
  ['the Service as source', 'martian', synFrom(to.address)],
  ['a v4-mapped source', 'martian', synFrom('::ffff:10.2.0.9')],
  ['a v4-mapped destination', 'martian', frameOf(segment(from, { ...web, address: '::ffff:10.96.0.1' }, SYN))],
  ['v4-mapped on both sides', 'martian', frameOf(segment(client, { ...web, address: '::ffff:10.96.0.1' }, SYN))],
  ['another address', 'not-service', frameOf(segment(from, { address: '2001:db8::1', port: 80 }, SYN))],
  ['a pod directly', 'not-service', frameOf(segment(from, { ...webBackend, address: six(webBackend.address) }, SYN))],
  ['IP version 4', 'malformed', edited(syn(), 14, [0x40])],
  ['a payload length beyond the frame', 'malformed', edited(syn(), 18, [0x00, 0x15])],
  ['a payload length below the TCP header', 'malformed', edited(syn(), 18, [0x00, 0x13])],
  ['no payload length', 'malformed', edited(syn(), 18, [0x00, 0x00])],
  ['a TCP header of 16 bytes', 'malformed', edited(syn(), 66, [0x40])],
  ['a TCP header beyond the packet', 'malformed', edited(syn(), 66, [0x60])],
  ['an IPv4 packet behind the type of IPv6', 'malformed', edited(frameOf(segment(client, web, SYN)), 12, [0x86, 0xdd])],
];

const passed: readonly PacketCase[] = untouched.map(([what, reason, frame]) => ({
  title: `${what} passes untouched as ${reason}`,
  only: 'IPv6',
  play: (stage) => {
    const sent = frame.length < 54 ? Uint8Array.from([...frame, ...new Uint8Array(54 - frame.length)]) : frame;
    expectUntouched(stage.frame('from-pod', sent), sent, reason);
  },
}));

const honest: readonly (readonly [string, string])[] = [
  ['a NAT64 address', '64:ff9b::a02:9'],
  ['an IPv4-translated address', '::ffff:0:a02:9'],
  ['an IPv4-compatible address', '::a02:9'],
  ['a link-local address', 'fe80::1'],
];

/** The web Service with both families, and the backends of each. */
function dual(endpoints: readonly HostAddress[]): World {
  return {
    services: [
      {
        name: 'web',
        addresses: [web.address, to.address],
        isLocal: false,
        ports: [{ name: 'http', port: web.port, targetPort: webBackend.port }],
        endpoints: endpoints.map((address) => ({ address, state: 'ready', isLocal: true, pod: 'pod-5' })),
      },
    ],
  };
}

// Numbers are IPv4 addresses on the stage of that family, so that both can be played there.
const families: readonly PacketCase[] = [
  {
    title: 'a Service of both families answers each client with its own, however alike the two are',
    only: 'IPv4',
    play: (stage) => {
      stage.begin(dual([webBackend.address, six(webBackend.address)]));
      const backend = { ...webBackend, address: six(webBackend.address) };
      const [four, other] = [segment(client, web, SYN), segment(from, to, SYN)];
      for (const it of [four, other]) expect(fate(stage.fromPod(it))).toBe('forward new-flow');
      const ways = [
        [client, web, webBackend],
        [from, to, backend],
      ] as const;
      for (const [asking, asked, answering] of ways) {
        const back = segment(answering, asking, SYN | ACK, { sequence: 500 });
        const answer = stage.toPod(back);
        expect(fate(answer)).toBe('reply reply');
        expect(answer.frame).toEqual(frameOf({ ...back, source: asked.address, sourcePort: asked.port }));
      }
    },
  },
  {
    title: 'a family without endpoints is refused in its own words while the other one is served',
    only: 'IPv4',
    play: (stage) => {
      stage.begin(dual([webBackend.address]));
      expect(fate(stage.fromPod(segment(client, web, SYN)))).toBe('forward new-flow');
      const answer = stage.fromPod(segment(from, to, SYN));
      expect(fate(answer)).toBe('refuse no-endpoints');
      expect(answer.frame).toEqual(stage.refusalOf(segment(from, to, SYN)));
    },
  },
];

/** Played on both stages, where they say which. */
export const ipv6Cases: readonly PacketCase[] = [
  ...passed,
  ...families,
  ...honest.map(([what, address]): PacketCase => ({
    title: `${what} is a client like any other`,
    only: 'IPv6',
    play: (stage) => {
      const it = segment({ address, port: PORT }, to, SYN, { payload });
      const answer = stage.fromPod(it);
      expect(fate(answer)).toBe('forward new-flow');
      const destination = six(webBackend.address);
      expect(answer.frame).toEqual(frameOf({ ...it, destination, destinationPort: webBackend.port }));
    },
  })),
  {
    title: 'an address one bit away from that of a Service is not a Service, whichever bit',
    only: 'IPv6',
    play: (stage) => {
      for (let bit = 0; bit < 128; bit++) {
        const frame = frameOf(segment(from, { ...to, address: flippedBit(to.address, bit) }, SYN));
        expectUntouched(stage.frame('from-pod', frame), frame, 'not-service');
      }
    },
  },
  {
    title: 'an answer from, or to, an address one bit away is nobody’s and passes',
    only: 'IPv6',
    play: (stage) => {
      stage.frame('from-pod', syn());
      const backend = { ...webBackend, address: six(webBackend.address) };
      for (let bit = 0; bit < 128; bit++) {
        const strange = { ...backend, address: flippedBit(backend.address, bit) };
        const other = { ...from, address: flippedBit(from.address, bit) };
        expect(fate(stage.toPod(segment(strange, from, ACK)))).toBe('pass not-service');
        expect(fate(stage.toPod(segment(backend, other, ACK)))).toBe('pass not-service');
      }
      expect(fate(stage.toPod(segment(backend, from, ACK)))).toBe('reply reply');
    },
  },
  {
    title: 'traffic class and flow label stay as they are',
    only: 'IPv6',
    play: (stage) => {
      const words = [0x6b, 0x8f, 0xed, 0xcb];
      const it = segment(from, to, SYN, { payload });
      const wanted = frameOf({ ...it, destination: six(webBackend.address), destinationPort: webBackend.port });
      expect(stage.frame('from-pod', edited(frameOf(it), 14, words)).frame).toEqual(edited(wanted, 14, words));
    },
  },
  {
    title: 'an ICMPv6 refusal quotes both headers and leaves options, payload and padding out',
    only: 'IPv6',
    play: (stage) => {
      const more = { payload, tcpOptions: new Uint8Array(12).fill(1), padding: new Uint8Array(5), id: 0xbeef };
      const it = segment(client, empty, ACK, more);
      const answer = stage.fromPod(it);
      expect(fate(answer)).toBe('refuse no-endpoints');
      expect(answer.frame).toHaveLength(14 + 40 + 8 + 40 + 20);
      expect(answer.frame).toEqual(stage.refusalOf(it));
    },
  },
  {
    title: 'a frame cut before its last TCP header byte is never rewritten',
    only: 'IPv6',
    play: (stage) => {
      const whole = syn();
      for (let length = 54; length < whole.length; length++) {
        expectUntouched(stage.frame('from-pod', whole.slice(0, length)), whole.slice(0, length), 'malformed');
      }
      expect(stage.frame('from-pod', whole).verdict).toBe('forward');
    },
  },
];
