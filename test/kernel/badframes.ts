// SPDX-License-Identifier: Apache-2.0
/** Frames for a Service that nobody may translate: cut short, lying about lengths, hidden behind odd headers. */
import { families, type Family } from '../lab/cluster.ts';
import { at, client, service } from './tunrig.ts';
import { serverPorts } from './tuntalk.ts';
import { ACK, ETHERNET, frameOf, icmpErrorOf, type FrameSpec, type Protocol } from './wire.ts';

export type BadFrame = { readonly name: string; readonly frame: Buffer };

export const ethernet = { destinationMac: [2, 0, 0, 0, 9, 9], sourceMac: [2, 0, 0, 0, 9, 1] } as const;

export function goodSpec(family: Family, protocol: Protocol, port = 1_000): FrameSpec {
  const to = at(service, family, serverPorts[protocol].service);
  return { protocol, from: at(client, family, port), to, payload: Buffer.alloc(9, 7), ...ethernet };
}

/** The frame with some of its bytes replaced. */
function patched(frame: Buffer, at_: number, bytes: readonly number[]): Buffer {
  const copy = Buffer.from(frame);
  copy.set(bytes, at_);
  return copy;
}

function cut(family: Family, protocol: Protocol): readonly BadFrame[] {
  const frame = frameOf(goodSpec(family, protocol));
  return Array.from({ length: frame.length - ETHERNET }, (_, index) => ({
    name: `${protocol} over ${family} cut after ${ETHERNET + index} bytes`,
    frame: frame.subarray(0, ETHERNET + index),
  }));
}

function lyingIPv4(protocol: Protocol): readonly BadFrame[] {
  const frame = frameOf(goodSpec('IPv4', protocol));
  const patches: readonly (readonly [string, number, readonly number[]])[] = [
    ...[0, 1, 2, 3, 4].map((length) => [`header length ${length}`, 0, [0x40 + length]] as const),
    ...[0, 5, 6, 15].map((version) => [`version ${version}`, 0, [version * 16 + 5]] as const),
    ['header length beyond the packet', 0, [0x4f]],
    ['total length 0', 2, [0, 0]],
    ['total length of less than the header', 2, [0, 19]],
    ['total length of less than the transport header', 2, [0, 27]],
    ['total length of more than the frame', 2, [5, 0]],
    ['source of loopback', 12, [127, 0, 0, 1]],
    ['source 0.0.0.0', 12, [0, 0, 0, 0]],
    ['source of a group', 12, [224, 0, 0, 1]],
    ['source of everybody', 12, [255, 255, 255, 255]],
    ['a protocol of its own', 9, [132]],
  ];
  return patches.map(([name, place, bytes]) => ({
    name: `${protocol} over IPv4: ${name}`,
    frame: patched(frame, ETHERNET + place, bytes),
  }));
}

function lyingIPv6(protocol: Protocol): readonly BadFrame[] {
  const frame = frameOf(goodSpec('IPv6', protocol));
  const source = ETHERNET + 8;
  const patches: readonly (readonly [string, number, readonly number[]])[] = [
    ...[0, 4, 5, 15].map((version) => [`version ${version}`, ETHERNET, [version * 16]] as const),
    ['payload length 0', ETHERNET + 4, [0, 0]],
    ['payload of less than the transport header', ETHERNET + 4, [0, 7]],
    ['payload of more than the frame', ETHERNET + 4, [5, 0]],
    ['an encrypted payload', ETHERNET + 6, [50]],
    ['no next header', ETHERNET + 6, [59]],
    ['source ::', source, Array<number>(16).fill(0)],
    ['source ::1', source, [...Array<number>(15).fill(0), 1]],
    ['source of a group', source, [0xff, 2]],
    ['source of mapped IPv4', source, [...Array<number>(10).fill(0), 0xff, 0xff, 10, 1, 0, 2]],
  ];
  return patches.map(([name, place, bytes]) => ({
    name: `${protocol} over IPv6: ${name}`,
    frame: patched(frame, place, bytes),
  }));
}

/** The frame with extension headers of eight bytes each between its IPv6 header and its transport. */
export function extended(frame: Buffer, numbers: readonly number[], fill: readonly number[] = [0, 1, 4]): Buffer {
  const start = ETHERNET + 40;
  const chain = [...numbers, frame[ETHERNET + 6] ?? 0];
  const headers = numbers.map((_, index) => Buffer.from([chain[index + 1] ?? 0, ...fill, 0, 0, 0, 0].slice(0, 8)));
  const longer = Buffer.concat([frame.subarray(0, start), ...headers, frame.subarray(start)]);
  longer.writeUInt8(chain[0] ?? 0, ETHERNET + 6);
  longer.writeUInt16BE(longer.length - start, ETHERNET + 4);
  return longer;
}

function hidden(protocol: Protocol): readonly BadFrame[] {
  const frame = frameOf(goodSpec('IPv6', protocol));
  const rows: readonly (readonly [string, readonly number[], (readonly number[])?])[] = [
    ['nine destination options', Array<number>(9).fill(60)],
    ['hop-by-hop options behind others', [60, 0]],
    ['a routing header with an address left', [43], [0, 2, 1]],
    ['an extension header longer than the packet', [60], [255, 1, 4]],
  ];
  return rows.map(([name, numbers, fill]) => ({ name: `${protocol}: ${name}`, frame: extended(frame, numbers, fill) }));
}

function lyingTransport(family: Family): readonly BadFrame[] {
  const transport = ETHERNET + (family === 'IPv4' ? 20 : 40);
  const [tcp, udp] = [frameOf(goodSpec(family, 'TCP')), frameOf(goodSpec(family, 'UDP'))];
  return [
    ...[0, 1, 4, 15].map((offset) => ({
      name: `TCP over ${family} with a header of ${offset} words`,
      frame: patched(tcp, transport + 12, [offset * 16]),
    })),
    ...[0, 7, 18, 255].map((length) => ({
      name: `UDP over ${family} of length ${length}`,
      frame: patched(udp, transport + 4, [0, length]),
    })),
  ];
}

/** Errors about nobody's flow, and quotes that can't be read. */
function quotes(family: Family): readonly BadFrame[] {
  const packet = frameOf({ ...goodSpec(family, 'UDP', 999), flags: ACK }).subarray(ETHERNET);
  const error = (quote: Uint8Array): Buffer => icmpErrorOf(service[family], client[family], quote, ethernet);
  const nested = error(packet).subarray(ETHERNET);
  const lengths = Array.from({ length: packet.length }, (_, length) => length);
  return [
    ...lengths.map((length) => ({
      name: `an error over ${family} that quotes ${length} bytes of a stranger`,
      frame: error(packet.subarray(0, length)),
    })),
    { name: `an error over ${family} about an error`, frame: error(nested) },
  ];
}

/** Frames that are not IP to begin with, and tags within tags. */
function framed(): readonly BadFrame[] {
  const frame = frameOf(goodSpec('IPv4', 'TCP'));
  const wrapped = (name: string, header: readonly number[]): BadFrame => ({
    name,
    frame: Buffer.concat([frame.subarray(0, 12), Buffer.from(header), frame.subarray(12)]),
  });
  return [
    { name: 'ARP', frame: patched(frame, 12, [8, 6]) },
    { name: 'an unknown protocol', frame: patched(frame, 12, [0x88, 0xb5]) },
    { name: 'IPv4 that says IPv6', frame: patched(frame, 12, [0x86, 0xdd]) },
    wrapped('a tag within a tag', [0x88, 0xa8, 0, 7, 0x81, 0, 0, 8]),
    wrapped('MPLS', [0x88, 0x47, 0, 1, 1, 64]),
    wrapped('PPPoE', [0x88, 0x64, 0x11, 0, 0, 1, 0, 40, 0, 33]),
  ];
}

const protocols = ['TCP', 'UDP'] as const;

/** Every one of them leaves as it came. */
export const badFrames: readonly BadFrame[] = [
  ...families.flatMap((family) => protocols.flatMap((protocol) => cut(family, protocol))),
  ...protocols.flatMap((protocol) => [...lyingIPv4(protocol), ...lyingIPv6(protocol), ...hidden(protocol)]),
  ...families.flatMap((family) => [...lyingTransport(family), ...quotes(family)]),
  ...framed(),
];
