// SPDX-License-Identifier: Apache-2.0
/** Single packets against a small cluster and what must become of them; played on the model, and on both twins. */
import { expect } from 'vitest';
import { ACK, FIN, frameOf, PSH, RST, segment, SYN, type Segment } from '../../../proof/traffic/frame.ts';
import {
  client,
  empty,
  fate,
  lifetimes,
  many,
  silent,
  web,
  webBackend,
  type Answer,
  type PacketCase,
  type Stage,
} from './stage.ts';

const options = new Uint8Array(12).fill(1);
const payload = new Uint8Array(33).fill(0x61);

/** What a packet to the web Service becomes: the same, written anew, to its backend. */
function forwarded(stage: Stage, it: Segment): Uint8Array {
  return stage.frameOf({ ...it, destination: webBackend.address, destinationPort: webBackend.port });
}

export function expectUntouched(answer: Answer, frame: Uint8Array, reason: string): void {
  expect(fate(answer)).toBe(`pass ${reason}`);
  expect(answer.frame).toEqual(frame);
}

/** Packets that are translated, whatever they carry: the whole frame is compared with one built anew. */
const shapes: readonly (readonly [string, Partial<Segment>])[] = [
  ['a bare SYN', {}],
  ['TCP options', { tcpOptions: options }],
  ['a payload of odd length', { payload }],
  ['Ethernet padding', { padding: new Uint8Array(6) }],
  ['TTL or hop limit 1', { timeToLive: 1 }],
];
const shapesOfIPv4: readonly (readonly [string, Partial<Segment>])[] = [
  ['IPv4 options', { ipOptions: options }],
  ['the longest IPv4 options', { ipOptions: new Uint8Array(40).fill(1) }],
  ["don't fragment clear", { fragment: 0, id: 0xbeef }],
];

const translated: readonly PacketCase[] = [...shapes, ...shapesOfIPv4].map(([what, more], index) => ({
  title: `a new connection with ${what} goes to the backend with all checksums right`,
  ...(index < shapes.length ? {} : { only: 'IPv4' as const }),
  play: (stage) => {
    const it = segment(client, web, SYN, more);
    const answer = stage.fromPod(it);
    expect(fate(answer)).toBe('forward new-flow');
    expect(answer.frame).toEqual(forwarded(stage, it));
  },
}));

const modes: readonly (readonly [string, number, 'full' | 'partial'])[] = [
  ['none', 0, 'full'],
  ['unnecessary', 1, 'full'],
  ['partial', 3, 'partial'],
];

const checksums: readonly PacketCase[] = modes.flatMap(
  ([name, checksumMode, checksum]) =>
    [
      {
        title: `checksum mode ${name}: the sum of a forwarded packet is that of the new addresses`,
        play: (stage) => {
          const it = segment(client, web, SYN, { checksum, payload });
          expect(stage.fromPod(it, { checksumMode }).frame).toEqual(forwarded(stage, it));
        },
      },
      {
        title: `checksum mode ${name}: the sum of an answer is that of the Service's address`,
        play: (stage) => {
          stage.fromPod(segment(client, web, SYN));
          const it = segment(webBackend, client, SYN | ACK, { checksum, sequence: 500 });
          const answer = stage.toPod(it, { checksumMode });
          expect(answer.frame).toEqual(stage.frameOf({ ...it, source: web.address, sourcePort: web.port }));
        },
      },
      {
        title: `checksum mode ${name}: the quote of a refusal is summed as it will be on the wire`,
        play: (stage) => {
          const it = segment(client, empty, SYN, { checksum });
          const answer = stage.fromPod(it, { checksumMode });
          expect(fate(answer)).toBe('refuse no-endpoints');
          expect(answer.frame).toEqual(stage.refusalOf(it));
        },
      },
    ] satisfies readonly PacketCase[],
);

const untouched: readonly (readonly [string, string, Uint8Array])[] = [
  ['a loopback source', 'martian', frameOf(segment({ address: 0x7f000001, port: 40000 }, web, SYN))],
  ['a zero source', 'martian', frameOf(segment({ address: 0x00000001, port: 40000 }, web, SYN))],
  ['a multicast source', 'martian', frameOf(segment({ address: 0xe0000001, port: 40000 }, web, SYN))],
  ['the Service as source', 'martian', frameOf(segment({ address: web.address, port: 40000 }, web, SYN))],
  ['another address', 'not-service', frameOf(segment(client, { address: 0x08080808, port: 80 }, SYN))],
  ['a pod directly', 'not-service', frameOf(segment(client, webBackend, SYN))],
  ['ARP', 'not-ip', edited(frameOf(segment(client, web, SYN)), 12, [0x08, 0x06])],
  ['a header length of 4', 'malformed', edited(frameOf(segment(client, web, SYN)), 14, [0x44])],
  ['IP version 6', 'malformed', edited(frameOf(segment(client, web, SYN)), 14, [0x65])],
  ['a total length beyond the frame', 'malformed', edited(frameOf(segment(client, web, SYN)), 16, [0x05, 0xdc])],
  ['a total length below the headers', 'malformed', edited(frameOf(segment(client, web, SYN)), 16, [0x00, 0x27])],
  ['a TCP header of 16 bytes', 'malformed', edited(frameOf(segment(client, web, SYN)), 46, [0x40])],
  ['a TCP header beyond the packet', 'malformed', edited(frameOf(segment(client, web, SYN)), 46, [0x60])],
];

export function edited(frame: Uint8Array, at: number, bytes: readonly number[]): Uint8Array {
  frame.set(bytes, at);
  return frame;
}

const passed: readonly PacketCase[] = untouched.map(([what, reason, frame]) => ({
  title: `${what} passes untouched as ${reason}`,
  only: 'IPv4',
  play: (stage) => expectUntouched(stage.frame('from-pod', frame), frame, reason),
}));

const truncated: PacketCase = {
  title: 'a frame cut before its last TCP header byte is never rewritten',
  only: 'IPv4',
  play: (stage) => {
    const whole = frameOf(segment(client, web, SYN, { ipOptions: options }));
    for (let length = 34; length < whole.length; length++) {
      expectUntouched(stage.frame('from-pod', whole.slice(0, length)), whole.slice(0, length), 'malformed');
    }
    expect(stage.frame('from-pod', whole).verdict).toBe('forward');
  },
};

const oddFlags: readonly (readonly [string, number])[] = [
  ['no flags', 0],
  ['SYN+FIN', SYN | FIN],
  ['SYN+RST', SYN | RST],
  ['FIN alone', FIN],
  ['Christmas lights', FIN | PSH | 32],
];

const refusals: readonly PacketCase[] = [
  ...oddFlags.map(([what, flags]): PacketCase => ({
    title: `${what} to a Service opens nothing and is dropped by name`,
    play: (stage) => {
      expect(fate(stage.fromPod(segment(client, web, flags)))).toBe('drop tcp-flags');
      expect(fate(stage.toPod(segment(webBackend, client, ACK)))).toBe('pass not-service');
    },
  })),
  {
    title: 'a Service without endpoints refuses with an ICMP port unreachable',
    play: (stage) => {
      const it = segment(client, empty, SYN);
      const answer = stage.fromPod(it);
      expect(fate(answer)).toBe('refuse no-endpoints');
      expect(answer.frame).toEqual(stage.refusalOf(it));
    },
  },
  {
    title: 'a refusal quotes IPv4 options and leaves payload and padding out',
    only: 'IPv4',
    play: (stage) => {
      const it = segment(client, empty, ACK, { ipOptions: options, payload, padding: new Uint8Array(5) });
      expect(stage.fromPod(it).frame).toEqual(stage.refusalOf(it));
    },
  },
  {
    title: 'a port that the Service does not have is refused',
    play: (stage) => {
      const it = segment(client, { ...web, port: 81 }, SYN);
      const answer = stage.fromPod(it);
      expect(fate(answer)).toBe('refuse unknown-port');
      expect(answer.frame).toEqual(stage.refusalOf(it));
    },
  },
  {
    title: 'a Local Service with endpoints elsewhere only is silent',
    play: (stage) => expect(fate(stage.fromPod(segment(client, silent, SYN)))).toBe('drop no-local-endpoints'),
  },
  {
    title: 'a packet that cannot be turned into an answer is dropped by name',
    play: (stage) => {
      const it = segment(client, empty, SYN);
      expect(fate(stage.fromPod(it, { gsoSize: 1448 }))).toBe('drop cannot-answer');
      expect(fate(stage.fromPod(it, { roomResult: -22 }))).toBe('drop cannot-answer');
      expect(fate(stage.fromPod({ ...it, payload }, { tailResult: -12 }))).toBe('drop cannot-answer');
    },
  },
  {
    title: 'headers that cannot be made linear pass',
    play: (stage) => expect(fate(stage.fromPod(segment(client, web, SYN), { pullResult: -12 }))).toBe('pass headers'),
  },
];

const many8: PacketCase = {
  title: 'the choice depends on the client and reaches every backend',
  play: (stage) => {
    const chosen = new Set<unknown>();
    for (let port = 40000; port < 40060; port++) {
      const it = segment({ ...client, port }, many, RST);
      const first = stage.fromPod(it).to.address;
      expect(stage.fromPod(it).to.address).toBe(first);
      chosen.add(first);
    }
    expect(chosen).toEqual(new Set([5, 6, 7, 8, 9, 10, 11, 12].map((last) => 0x0a010000 + last)));
  },
};

/** Every case that needs one packet, or two. */
export const packetCases: readonly PacketCase[] = [
  ...translated,
  ...checksums,
  ...passed,
  truncated,
  ...refusals,
  many8,
  {
    title: 'a bad checksum stays exactly as bad',
    play: (stage) => {
      const it = segment(client, web, SYN, { payload });
      const bad = edited(stage.frameOf(it), stage.frameOf(it).length - payload.length - 4, [0x12, 0x34]);
      const answer = stage.frame('from-pod', bad);
      const error = (left: Uint8Array, right: Uint8Array): number => {
        const at = left.length - payload.length - 4;
        return (halfAt(left, at) - halfAt(right, at) + 2 * 0xffff) % 0xffff;
      };
      expect(error(answer.frame, forwarded(stage, it))).toBe(error(bad, stage.frameOf(it)));
    },
  },
  {
    title: 'a reset without a flow is forwarded by choice alone and makes no state',
    play: (stage) => {
      expect(fate(stage.fromPod(segment(client, web, RST)))).toBe('forward stateless');
      expect(fate(stage.toPod(segment(webBackend, client, ACK)))).toBe('pass not-service');
    },
  },
  {
    title: 'fast open: data on the SYN is part of a SYN',
    play: (stage) => {
      expect(fate(stage.fromPod(segment(client, web, SYN, { payload })))).toBe('forward new-flow');
      stage.wait(lifetimes.pending - 1);
      expect(fate(stage.fromPod(segment(client, web, SYN, { payload })))).toBe('forward known-flow');
    },
  },
];

function halfAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}
