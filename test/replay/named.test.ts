// SPDX-License-Identifier: Apache-2.0
/** Captures of pcapng that name their devices in place of numbering them, and frames that tell no time. */
import { describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { LINK_ETHERNET } from '../../formats/link.ts';
import type { NodeFacts } from '../../formats/node.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapngWriter } from '../../formats/pcapngwriter.ts';
import { endOf } from '../../replay/summary.ts';
import { bytesOf, enhancedPacket, interfaceDescription, sectionHeader, simplePacket } from '../formats/pcapngbytes.ts';
import { tcp } from './packets.ts';
import {
  BEGIN_SECONDS,
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  connection,
  facts,
  inferredOf,
  LOCAL,
  LOCAL_DEVICE,
  momentOfMs,
  on,
  REMOTE,
  replayed,
  SERVICE,
  setting,
  UPLINK,
  type Frame,
} from './recording.ts';

type Capture = { readonly name: string; readonly bytes: Uint8Array };

/** What tells the direction of a frame. */
type Told = 'flags' | 'mac' | 'addresses';

const NAMES: ReadonlyMap<number, string> = new Map([
  [UPLINK, 'eth0'],
  [CLIENT_DEVICE, 'veth5'],
  [LOCAL_DEVICE, 'veth6'],
]);
const STRANGER = Uint8Array.of(0x0e, 0, 0, 0, 0, 1);

function macOf(device: number): Uint8Array {
  return Uint8Array.of(0x0a, 0, 0, 0, 0, device);
}

function ethernet({ direction, ifindex, packet }: Frame, told: Told): Uint8Array {
  const own = told === 'mac' ? macOf(ifindex) : STRANGER;
  const type = Uint8Array.from((packet[0] ?? 0) >>> 4 === 6 ? [0x86, 0xdd] : [8, 0]);
  const ends = direction === 'incoming' ? [own, STRANGER] : [STRANGER, own];
  return Uint8Array.from(Buffer.concat([...ends, type, packet]));
}

/** As `dumpcap -i eth0 -i veth5 -i veth6` writes them. */
function dumpcap(frames: readonly Frame[], told: Told, names = NAMES): Capture {
  const output = memoryOutput('node1.pcap');
  const writer = createPcapngWriter(output);
  const ids = new Map(
    [...names].map(([device, name]) => [device, writer.addInterface({ linkType: LINK_ETHERNET, name })]),
  );
  for (const frame of frames) {
    const { atMs, direction, ifindex } = frame;
    const flags = told === 'flags' ? { direction } : {};
    const bytes = ethernet(frame, told);
    writer.write({ ...momentOfMs(atMs), bytes, interfaceId: ids.get(ifindex) ?? 0, ...flags });
  }
  expect(writer.finish().ok).toBe(true);
  return { name: 'node1.pcap', bytes: output.bytes() };
}

const streams = cluster([LOCAL, REMOTE]);
const frames = [...connection(100, 4242, LOCAL), ...connection(200, 4243, REMOTE)];

/** Two MACs, as hexadecimal text: captures with numbers keep none. */
const MACS = 24;

function storyOf(capture: Capture): unknown {
  const { lines: all, tally } = replayed([capture], streams);
  const lines = all.map((line) => ({ ...line, model: { ...line.model, bytes: line.model.bytes?.slice(MACS) } }));
  const { connections, inputs, noInput, replies } = tally;
  const told = connections.map(({ backend, flow, reply, verdict }) => ({ backend, flow, reply, verdict }));
  return { lines, told, inputs, noInput, replies };
}

describe('a capture whose devices have names and no numbers', () => {
  const expected = storyOf(captureOf(frames));

  test.each(['flags', 'mac', 'addresses'] as const)('is judged as one with numbers: direction by %s', (told) => {
    expect(storyOf(dumpcap(frames, told))).toEqual(expected);
  });

  test('is judged by the names: with two of them swapped the story is another', () => {
    const swapped = new Map(NAMES).set(UPLINK, 'veth5').set(CLIENT_DEVICE, 'eth0');
    expect(storyOf(dumpcap(frames, 'flags', swapped))).not.toEqual(expected);
  });

  test('is judged by what it says of directions, whatever the MACs are', () => {
    const turned = frames.map((frame) => {
      return { ...frame, direction: frame.direction === 'incoming' ? 'outgoing' : 'incoming' } as const;
    });
    expect(storyOf(dumpcap(turned, 'flags'))).not.toEqual(expected);
  });

  test('is judged by MACs and addresses where its names are nobody’s', () => {
    const foreign = new Map([...NAMES.keys()].map((device) => [device, 'sshdump']));
    const { tally } = replayed([dumpcap(frames, 'mac', foreign)], streams);
    expect(tally.connections.map(({ verdict }) => verdict?.kind)).toEqual(['permitted', 'permitted']);
    expect(tally.places.inferred).toEqual([]);
  });
});

describe('a named device that the facts do not know', () => {
  const gone: NodeFacts = { ...facts, devices: facts.devices.filter(({ name }) => name !== 'veth5') };
  const rolesOf = (capture: Capture, known: NodeFacts): readonly string[] =>
    inferredOf(known, capture).map(({ device, role, why }) => `${device} ${role}: ${why}`);

  test.each(['flags', 'addresses'] as const)(
    'is the one of the pod that all of its packets are from or to: direction by %s',
    (told) => {
      const probe = tcp({ from: '10.88.0.11:1', to: `${CLIENT}:8080`, flags: 'S' });
      const capture = dumpcap([...frames, on(300, CLIENT_DEVICE, 'outgoing', probe)], told);
      expect(rolesOf(capture, gone)).toEqual([`veth5 pod: only packets from and to pod ${CLIENT}`]);
    },
  );

  test('is found where all devices of the node have one MAC', () => {
    const devices = gone.devices.map((device) => ({ ...device, mac: '0a:00:00:00:00:05' }));
    const told = rolesOf(dumpcap(frames, 'mac'), { ...gone, devices });
    expect(told).toEqual([`veth5 pod: only packets from and to pod ${CLIENT}`]);
  });

  test.each(['flags', 'addresses'] as const)('stays unknown with packets of two pods: direction by %s', (told) => {
    const other = tcp({ from: '10.244.1.77:1', to: `${SERVICE}:80`, flags: 'S' });
    const capture = dumpcap([...frames, on(300, CLIENT_DEVICE, 'incoming', other)], told);
    expect(rolesOf(capture, gone)).toEqual([]);
  });

  test('stays unknown where two pods have all packets in common and no direction is told', () => {
    const between = tcp({ from: `${CLIENT}:1`, to: `${LOCAL}:2`, flags: '.' });
    const capture = dumpcap([on(100, CLIENT_DEVICE, 'incoming', between)], 'addresses');
    expect(rolesOf(capture, gone)).toEqual([]);
    expect(rolesOf(dumpcap([on(100, CLIENT_DEVICE, 'incoming', between)], 'flags'), gone)).toHaveLength(1);
  });

  test('is found out where no devices are told at all and there are several', () => {
    const told = rolesOf(dumpcap(frames, 'flags'), { ...facts, devices: [] });
    expect(told.map((line) => line.split(':')[0])).toEqual(['eth0 uplink', 'veth5 pod', 'veth6 pod']);
  });
});

describe('frames that tell no time', () => {
  const head = [sectionHeader('little'), interfaceDescription('little', LINK_ETHERNET, 0, [[2, Buffer.from('veth5')]])];
  const bytes = ethernet(on(0, CLIENT_DEVICE, 'incoming', frames[0]?.packet ?? new Uint8Array(0)), 'mac');
  const simple = simplePacket('little', bytes.length, bytes);
  const timed = enhancedPacket('little', { units: BigInt(BEGIN_SECONDS) * 1_000_000n, data: bytes });
  const file = (...blocks: readonly Uint8Array[]): Capture => {
    return { name: 'node1.pcapng', bytes: bytesOf('little', ...head, ...blocks) };
  };

  test('as the first of a capture end it, by file and offset, and the other captures are judged', () => {
    const { tally } = replayed([file(simple, timed), captureOf(frames)], streams);
    expect(tally.failures.map(failureText)).toEqual([
      `node1.pcapng offset ${bytesOf('little', ...head).length}: frame 1 tells no time (simple packet block): it cannot be put beside events; capture with enhanced packet blocks, as dumpcap does`,
    ]);
    expect(endOf(tally, setting)).toBe('input-unreadable');
    expect(tally.packets).toBe(frames.length);
    expect(tally.connections).toHaveLength(2);
  });

  test('later on count as simultaneous with the one before', () => {
    const { lines, tally } = replayed([file(timed, simple)], streams);
    expect(tally.untimed).toBe(1);
    expect(tally.failures).toEqual([]);
    expect(lines.map(({ at }) => at)).toEqual([lines[0]?.at, lines[0]?.at]);
    expect(lines[0]?.at).toMatch(/^2026-01-02T03:04:05/);
  });
});
