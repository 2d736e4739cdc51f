// SPDX-License-Identifier: Apache-2.0
/** Packets at the edge of what a Service is: what must pass, what must end, and by which name; for one twin or both. */
import { expect } from 'vitest';
import {
  pseudoSum,
  datagram,
  ethernet,
  packetOf,
  paddingOptions,
  tcp,
  withDestination,
  withSource,
  type Wire,
} from './bytes.ts';
import { expectUntouched } from './cases.ts';
import { sumOf } from '../../../proof/traffic/frame.ts';
import {
  client,
  cluster,
  fate,
  pod,
  ranged,
  service,
  web,
  webBackend,
  type Host,
  type PacketCase,
  type Stage,
} from './stage.ts';

const nobody: Host = { address: 0x0a630002, port: 80 };

const unallocated: readonly PacketCase[] = [tcp, datagram].flatMap((make): PacketCase[] => [
  {
    title: `services B4: ${make === tcp ? 'a segment' : 'a datagram'} to an address of a Service range that no Service has is dropped by name`,
    play: (stage) => {
      for (const flags of [2, 16, 4]) {
        const answer = stage.send('from-pod', make(client, nobody, { flags }));
        expect(fate(answer)).toBe('drop unallocated');
        expect(answer.frame).toEqual(stage.bytes(make(client, nobody, { flags })));
      }
    },
  },
  {
    title: `a Service inside a Service range is served: ${make === tcp ? 'TCP' : 'UDP'}`,
    play: (stage) => expect(fate(stage.send('from-pod', make(client, ranged)))).toBe('forward new-flow'),
  },
  {
    title: `an address beside a Service range is nobody’s: ${make === tcp ? 'TCP' : 'UDP'}`,
    play: (stage) => {
      for (const address of [0x0a62ffff, 0x0a640000]) {
        const frame = stage.bytes(make(client, { address, port: 80 }));
        expectUntouched(stage.frame('from-pod', frame), frame, 'not-service');
      }
    },
  },
]);

const protocols: readonly (readonly [string, number])[] = [
  ['IPv4 in IP', 4],
  ['IPv6 in IP', 41],
  ['GRE', 47],
  ['ESP', 50],
  ['SCTP', 132],
  ['UDP-Lite', 136],
  ['a protocol for experiments', 253],
];

const others: readonly PacketCase[] = [
  ...protocols.map(([what, protocol]): PacketCase => ({
    title: `packets A7: ${what} to a Service passes untouched, whatever it holds`,
    play: (stage) => {
      const inner = packetOf(stage.wire(tcp(client, web)));
      const frame = stage.bytes({ ...tcp(client, web), protocol, payload: inner });
      expectUntouched(stage.frame('from-pod', frame), frame, 'other-protocol');
    },
  })),
  {
    title: 'packets D42: an echo to a Service address passes untouched, and so does its answer',
    play: (stage) => {
      const isSix = stage.family === 'IPv6';
      for (const type of isSix ? [128, 129] : [8, 0]) {
        const payload = Uint8Array.from([type, 0, 0x12, 0x34, 0, 80, 0, 1, 9, 9]);
        const frame = stage.bytes({ ...tcp(client, web), protocol: isSix ? 58 : 1, payload });
        expectUntouched(stage.frame('from-pod', frame), frame, 'other-protocol');
      }
    },
  },
];

const tags: readonly (readonly [string, readonly number[]])[] = [
  ['a VLAN tag', [0x81, 0x00, 0x00, 0x64]],
  ['a service VLAN tag', [0x88, 0xa8, 0x00, 0x64]],
  ['two VLAN tags', [0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x65]],
  ['an MPLS label', [0x88, 0x47, 0x00, 0x06, 0x41, 0x40]],
  ['PPPoE', [0x88, 0x64, 0x11, 0x00, 0x00, 0x01, 0x00, 0x30, 0x00, 0x21]],
];

const links: readonly PacketCase[] = tags.map(([what, tag]): PacketCase => ({
  title: `packets A4: a frame with ${what} passes untouched`,
  play: (stage) => {
    const plain = stage.bytes(tcp(client, web));
    const frame = Uint8Array.from([...plain.subarray(0, 12), ...tag, ...plain.subarray(12)]);
    for (const hook of ['from-pod', 'to-pod'] as const) expectUntouched(stage.frame(hook, frame), frame, 'not-ip');
  },
}));

const martians: readonly (readonly [string, number])[] = [
  ['the broadcast address', 0xffffffff],
  ['the last loopback address', 0x7fffffff],
  ['0.255.255.255', 0x00ffffff],
  ['the last multicast address', 0xefffffff],
];

const sources: readonly PacketCase[] = [
  ...martians.flatMap(([what, address]) =>
    [tcp, datagram].map((make): PacketCase => ({
      title: `${what} as the source of ${make === tcp ? 'a segment' : 'a datagram'} passes untouched as martian`,
      only: 'IPv4',
      play: (stage) => {
        const frame = stage.bytes(make({ address, port: 40000 }, web));
        expectUntouched(stage.frame('from-pod', frame), frame, 'martian');
      },
    })),
  ),
  {
    title: 'addresses right beside martian ones are clients like any other',
    only: 'IPv4',
    play: (stage) => {
      for (const address of [0x01000000, 0x7e_ff_ff_ff, 0x80000000, 0xdfffffff])
        expect(fate(stage.send('from-pod', datagram({ address, port: 40000 }, web)))).toBe('forward new-flow');
    },
  },
];

const ports: readonly PacketCase[] = [tcp, datagram].flatMap((make): PacketCase[] => [
  {
    title: `port 0 of a Service address meets no row for the whole address: ${make === tcp ? 'TCP' : 'UDP'}`,
    play: (stage) => {
      const answer = stage.send('from-pod', make(client, { ...web, port: 0 }));
      expect(answer.verdict).not.toBe('forward');
      expect(answer.trace).not.toContain('selected');
    },
  },
  {
    title: `ports 1 and 65535 of a client are ports: ${make === tcp ? 'TCP' : 'UDP'}`,
    play: (stage) => {
      for (const port of [1, 65535]) {
        const it = make({ ...client, port }, web);
        expect(stage.send('from-pod', it).frame).toEqual(stage.bytes(withDestination(it, webBackend)));
        const back = make(webBackend, { ...client, port }, { flags: 18 });
        expect(stage.send('to-pod', back).frame).toEqual(stage.bytes(withSource(back, web)));
      }
    },
  },
]);

/** The reset of RFC 9293 3.10.7.1: from the Service, with the sequence number that the client waits for. */
function expectReset(stage: Stage, it: Wire): void {
  const answer = stage.send('from-pod', it);
  expect(fate(answer)).toBe('refuse backend-reused');
  const { source, destination } = stage.wire(it);
  const network = stage.family === 'IPv6' ? 40 : 20;
  const packet = answer.frame.subarray(14);
  expect(answer.frame.slice(0, 14)).toEqual(ethernet(packet, true).slice(0, 14));
  expect([answer.from, answer.to]).toEqual([
    { address: it.destination, port: it.destinationPort },
    { address: it.source, port: it.sourcePort },
  ]);
  const segment = packet.subarray(network);
  expect(segment).toHaveLength(20);
  const view = new DataView(segment.buffer, segment.byteOffset);
  expect([view.getUint32(4), (segment[13] ?? 0) & 0x17]).toEqual([it.acknowledgement, 4]);
  const ends = { source: destination, destination: source };
  expect(sumOf(segment, pseudoSum(ends, 6, 20))).toBe(0xffff);
  if (stage.family === 'IPv4') expect(sumOf(packet.subarray(0, 20))).toBe(0xffff);
}

function reuse(stage: Stage): void {
  stage.handshake(client, web);
  const services = cluster.services.map((it) =>
    it.name === 'web' ? service('web', web, [pod(5, { pod: 'another' })]) : it,
  );
  stage.become({ services });
  stage.wait(1);
}

const reused: readonly PacketCase[] = [
  {
    title: 'the address of a backend passes to another pod: an established connection is reset by the Service',
    play: (stage) => {
      reuse(stage);
      expectReset(stage, tcp(client, web, { flags: 16, sequence: 101, acknowledgement: 0x89abcdef }));
    },
  },
  {
    title: 'every segment after the first that was reset is reset as well, in the same tick, too',
    play: (stage) => {
      reuse(stage);
      const it = tcp(client, web, { flags: 16, sequence: 101, acknowledgement: 0x89abcdef });
      expectReset(stage, it);
      expectReset(stage, it);
    },
  },
  ...(
    [
      ['data', { flags: 24, payload: new Uint8Array(100).fill(1), acknowledgement: 501 }],
      ['data and padding', { flags: 24, payload: new Uint8Array(3), padding: new Uint8Array(3), acknowledgement: 501 }],
      ['FIN', { flags: 17, acknowledgement: 501 }],
    ] as const
  ).map(([what, more]): PacketCase => ({
    title: `a segment with ${what} to a reused address is answered with a reset of the header alone`,
    play: (stage) => {
      reuse(stage);
      expectReset(stage, tcp(client, web, more));
    },
  })),
  ...(
    [
      ['without ACK', { flags: 1 }],
      ['with RST', { flags: 20 }],
    ] as const
  ).map(([what, more]): PacketCase => ({
    title: `a segment ${what} to a reused address is dropped: nothing may answer it so`,
    play: (stage) => {
      reuse(stage);
      expect(fate(stage.send('from-pod', tcp(client, web, more)))).toBe('drop cannot-answer');
    },
  })),
  {
    title: 'a segment with options or extension headers to a reused address is dropped by name',
    play: (stage) => {
      reuse(stage);
      const more =
        stage.family === 'IPv6' ? { extensions: [paddingOptions(60)] } : { ipOptions: new Uint8Array(4).fill(1) };
      expect(fate(stage.send('from-pod', tcp(client, web, { flags: 16, ...more })))).toBe('drop cannot-answer');
    },
  },
  {
    title: 'after the reset a new connection goes to the pod that has the address now',
    play: (stage) => {
      reuse(stage);
      stage.send('from-pod', tcp(client, web, { flags: 16, acknowledgement: 501 }));
      const it = tcp(client, web, { sequence: 9000 });
      const answer = stage.send('from-pod', it);
      expect(answer.verdict).toBe('forward');
      expect(answer.frame).toEqual(stage.bytes(withDestination(it, webBackend)));
      const back = tcp(webBackend, client, { flags: 18 });
      expect(stage.send('to-pod', back).frame).toEqual(stage.bytes(withSource(back, web)));
    },
  },
];

const cast: PacketCase = {
  title: 'a frame to the broadcast or a multicast address of Ethernet is not for a Service and passes untouched',
  play: (stage) => {
    for (const first of [0xff, 0x33, 0x01]) {
      const frame = stage.bytes(tcp(client, web));
      frame[0] = first;
      const answer = stage.frame('from-pod', frame);
      expect([answer.verdict, answer.frame]).toEqual(['pass', frame]);
    }
  },
};

export const edgeCases: readonly PacketCase[] = [
  ...unallocated,
  ...others,
  ...links,
  ...sources,
  ...ports,
  ...reused,
  cast,
];
