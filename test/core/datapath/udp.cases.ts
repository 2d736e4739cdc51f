// SPDX-License-Identifier: Apache-2.0
/** UDP to a Service and back: what each datagram becomes, whatever its checksum; for one twin or both. */
import { expect } from 'vitest';
import { datagram, refusalOf, tcp, transportOf, withDestination, withSource, type Wire } from './bytes.ts';
import { expectUntouched } from './cases.ts';
import { client, empty, fate, silent, streams, web, webBackend, type PacketCase, type Stage } from './stage.ts';

const toWeb = datagram(client, web);
const toClient = datagram(webBackend, client);

const shapes: readonly (readonly [string, Partial<Wire>])[] = [
  ['no payload', { payload: new Uint8Array() }],
  ['a payload of odd length', {}],
  ['Ethernet padding', { padding: Uint8Array.from([9, 8, 7, 6, 5, 4, 3]) }],
  ['TTL or hop limit 1, which routing will judge', { timeToLive: 1 }],
  ['a payload of 1,472 bytes', { payload: new Uint8Array(1472).fill(0xa5) }],
  ["don't fragment set", { dontFragment: true }],
];
const shapesOfIPv4: readonly (readonly [string, Partial<Wire>])[] = [
  ['IPv4 options of 4 bytes', { ipOptions: new Uint8Array(4).fill(1) }],
  ['IPv4 options of 40 bytes', { ipOptions: new Uint8Array(40).fill(1) }],
];

const translated = [...shapes, ...shapesOfIPv4].map(([what, more], index): PacketCase => ({
  title: `packets E43, E46: a datagram with ${what} goes to the backend, and one like it comes back`,
  ...(index < shapes.length ? {} : { only: 'IPv4' }),
  play: (stage) => {
    const there = stage.send('from-pod', { ...toWeb, ...more });
    expect(fate(there)).toBe('forward new-flow');
    expect(there.frame).toEqual(stage.bytes(withDestination({ ...toWeb, ...more }, webBackend)));
    const back = stage.send('to-pod', { ...toClient, ...more });
    expect(fate(back)).toBe('reply reply');
    expect(back.frame).toEqual(stage.bytes(withSource({ ...toClient, ...more }, web)));
    expect(fate(stage.send('from-pod', { ...toWeb, ...more }))).toBe('forward known-flow');
  },
}));

const modes: readonly (readonly [string, number, Wire['checksum']])[] = [
  ['none', 0, 'full'],
  ['unnecessary', 1, 'full'],
  ['partial', 3, 'partial'],
  ['none, sum zero', 0, 'none'],
  ['none, sum wrong by 1', 0, 1],
  ['none, sum wrong by 0x8001', 0, 0x8001],
];

const checksums = modes.map(([what, checksumMode, checksum]): PacketCase => ({
  title: `checksum mode ${what}: both ways a datagram's sum stays as right, absent or wrong as it was`,
  play: (stage) => {
    for (const length of [0, 1, 32, 33]) {
      const more = { checksum, payload: new Uint8Array(length).fill(0x5e) };
      const there = stage.send('from-pod', { ...toWeb, ...more }, undefined, { checksumMode });
      expect(there.frame).toEqual(stage.bytes(withDestination({ ...toWeb, ...more }, webBackend)));
      const back = stage.send('to-pod', { ...toClient, ...more }, undefined, { checksumMode });
      expect(back.frame).toEqual(stage.bytes(withSource({ ...toClient, ...more }, web)));
    }
  },
}));

/** The packet with the first word of its payload chosen so that its sum is zero and is sent as ones. */
function summingToZero(stage: Stage, it: Wire): Wire {
  const plain = stage.wire({ ...it, payload: new Uint8Array(2) });
  const header = transportOf(plain);
  const wanted = Uint8Array.of(header[6] ?? 0, header[7] ?? 0);
  const found = { ...it, payload: wanted };
  expect([...transportOf(stage.wire(found)).subarray(6, 8)]).toEqual([0xff, 0xff]);
  return found;
}

const zeroSums: readonly PacketCase[] = [
  {
    title: 'a checksum that comes out as zero is sent as ones, both ways (RFC 768)',
    play: (stage) => {
      const there = summingToZero(stage, withDestination(toWeb, webBackend));
      expect(stage.send('from-pod', withDestination(there, web)).frame).toEqual(stage.bytes(there));
      const back = summingToZero(stage, withSource(toClient, web));
      expect(stage.send('to-pod', withSource(back, webBackend)).frame).toEqual(stage.bytes(back));
    },
  },
  {
    title: 'a checksum of ones becomes what the new addresses make of it, both ways',
    play: (stage) => {
      const there = summingToZero(stage, toWeb);
      expect(stage.send('from-pod', there).frame).toEqual(stage.bytes(withDestination(there, webBackend)));
      const back = summingToZero(stage, toClient);
      expect(stage.send('to-pod', back).frame).toEqual(stage.bytes(withSource(back, web)));
    },
  },
  {
    title: 'IPv6 without a UDP checksum is noticed',
    only: 'IPv6',
    play: (stage) => expect(stage.send('from-pod', { ...toWeb, checksum: 'none' }).trace).toContain('udp-unchecked'),
  },
];

const refused: readonly (readonly [string, string, Wire])[] = [
  ['packets D33: a Service without endpoints', 'no-endpoints', datagram(client, empty)],
  ['a port that the Service does not have', 'unknown-port', datagram(client, { ...web, port: 81 })],
  ['packets A3: a port that the Service has for TCP only', 'unknown-port', datagram(client, streams)],
];

const refusals: readonly PacketCase[] = [
  ...refused.flatMap(([what, reason, it]): PacketCase[] =>
    [0, 1, 8, 61].map((length) => ({
      title: `${what} refuses a datagram of ${length} bytes, quoting eight bytes of UDP`,
      play: (stage) => {
        const asked = { ...it, payload: new Uint8Array(length).fill(3), padding: new Uint8Array(length === 1 ? 5 : 0) };
        const answer = stage.send('from-pod', asked);
        expect(fate(answer)).toBe(`refuse ${reason}`);
        expect(answer.frame).toEqual(refusalOf(stage.wire(asked)));
      },
    })),
  ),
  {
    title: 'packets D37: a refusal of a datagram quotes its IPv4 options',
    only: 'IPv4',
    play: (stage) => {
      const asked = datagram(client, empty, { ipOptions: new Uint8Array(40).fill(1) });
      expect(stage.send('from-pod', asked).frame).toEqual(refusalOf(stage.wire(asked)));
    },
  },
  {
    title: 'a Local Service with endpoints elsewhere only is silent to datagrams too',
    play: (stage) => expect(fate(stage.send('from-pod', datagram(client, silent)))).toBe('drop no-local-endpoints'),
  },
  {
    title: 'the other protocol at the same port is another Service port with flows of its own',
    play: (stage) => {
      expect(fate(stage.send('from-pod', toWeb))).toBe('forward new-flow');
      expect(fate(stage.send('to-pod', tcp(webBackend, client, { flags: 18 })))).toBe('pass not-service');
      expect(fate(stage.send('from-pod', tcp(client, web)))).toBe('forward new-flow');
      expect(fate(stage.send('to-pod', toClient))).toBe('reply reply');
    },
  },
];

/** A UDP length that is not the packet's. */
function lying(stage: Stage, length: number): Uint8Array {
  const frame = stage.bytes(toWeb);
  const transport = stage.family === 'IPv6' ? 54 : 34;
  frame.set([length >>> 8, length & 255], transport + 4);
  return frame;
}

/** The frame cut to a length, which its IP header tells rightly. */
function shortened(frame: Uint8Array, length: number): Uint8Array {
  const bytes = frame.slice(0, length);
  const view = new DataView(bytes.buffer);
  if (bytes[12] === 0x86) view.setUint16(18, length - 54);
  else {
    // The header's checksum follows its length (RFC 1624).
    const before = view.getUint16(16);
    view.setUint16(16, length - 14);
    let sum = (0xffff ^ view.getUint16(24)) + (0xffff ^ before) + (length - 14);
    while (sum > 0xffff) sum -= 0xffff;
    view.setUint16(24, 0xffff ^ sum);
  }
  return bytes;
}

const malformed: readonly PacketCase[] = [
  ...[0, 1, 7, 20, 0xffff].map((length): PacketCase => ({
    title: `packets H86: a UDP length of ${length} where there are 19 bytes passes untouched as malformed`,
    play: (stage) => expectUntouched(stage.frame('from-pod', lying(stage, length)), lying(stage, length), 'malformed'),
  })),
  {
    title: 'a datagram shorter than its packet is translated, and what follows it stays',
    play: (stage) => {
      const frame = lying(stage, 15);
      const answer = stage.frame('from-pod', frame);
      expect(fate(answer)).toBe('forward new-flow');
      expect(answer.frame.slice(-11)).toEqual(frame.slice(-11));
      expect(answer.frame).toHaveLength(frame.length);
    },
  },
  ...[toWeb, tcp(client, web, { payload: new Uint8Array(3) })].map((it): PacketCase => ({
    title: `packets H86: ${it.protocol === 6 ? 'a segment' : 'a datagram'} cut at any byte is never rewritten`,
    play: (stage) => {
      const whole = stage.bytes(it);
      const network = stage.family === 'IPv6' ? 54 : 34;
      for (let length = network; length < whole.length; length++) {
        const cut = whole.slice(0, length);
        expectUntouched(stage.frame('from-pod', cut), cut, 'malformed');
        // The same with an IP header that tells the truth: too short only for the transport's header.
        const honest = shortened(whole, length);
        const isShort = length < network + (it.protocol === 6 ? 20 : 8) || it.protocol === 17;
        if (isShort) expectUntouched(stage.frame('from-pod', honest), honest, 'malformed');
      }
      expect(fate(stage.frame('from-pod', whole))).toBe('forward new-flow');
    },
  })),
];

export const udpCases: readonly PacketCase[] = [...translated, ...checksums, ...zeroSums, ...refusals, ...malformed];
