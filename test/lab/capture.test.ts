// SPDX-License-Identifier: Apache-2.0
/** A capture holds every packet between its start and its end; node facts tell what its devices are. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failureText, type Result } from '../../core/result.ts';
import { LINK_LINUX_COOKED_V2 } from '../../formats/link.ts';
import { readNodeFacts, roleOf } from '../../formats/node.ts';
import { openCapture } from '../../formats/open.ts';
import { lastCounts, startCapture } from '../../lab/capture.ts';
import { writeNodeFacts } from '../../lab/facts.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';

const directory = mkdtempSync(join(tmpdir(), 'tandem-capture-'));
const cookedBytes = 20;
const tcpSyn = 0x02;
const tcpFin = 0x01;
let lab: Lab;

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

beforeAll(async () => {
  lab = value(await startLab(twoNodes('labcap')));
});
afterAll(async () => {
  await lab.stop();
  rmSync(directory, { recursive: true });
});

type Frame = { readonly ifindex: number; readonly sourcePort: number; readonly flags: number; readonly atNs: bigint };

/** The TCP frames of a capture, IPv4 without options. */
function tcpFrames(file: string): readonly Frame[] {
  const capture = value(openCapture(file));
  const frames: Frame[] = [];
  for (let record = capture.next(); record !== undefined; record = capture.next()) {
    expect(record.linkType).toBe(LINK_LINUX_COOKED_V2);
    const { bytes, seconds, nanoseconds } = record;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (view.getUint16(0) !== 0x0800 || view.getUint8(cookedBytes + 9) !== 6) continue;
    frames.push({
      ifindex: view.getUint32(4),
      sourcePort: view.getUint16(cookedBytes + 20),
      flags: view.getUint8(cookedBytes + 33),
      atNs: BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds),
    });
  }
  expect(capture.failure()).toBeUndefined();
  return frames;
}

function devicesOf(frames: readonly { readonly ifindex: number }[]): number {
  return new Set(frames.map(({ ifindex }) => ifindex)).size;
}

test('every connection is in the capture from SYN to FIN, at the time the client says', async () => {
  const file = join(directory, 'node1.pcap');
  const client = value(await lab.startClient('client1'));
  const { namespacePath } = lab.node('node1');
  const capture = value(await startCapture({ namespacePath, harness: lab.harness, file }));
  const reports = await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      client.connect({
        address: index % 2 === 0 ? '10.244.2.4' : '10.244.1.4',
        port: 8080,
        timeoutMs: 3_000,
        sourcePort: 30_000 + index,
      }),
    ),
  );
  const counts = value(await capture.stop());
  expect(counts.dropped).toBe(0);
  const frames = tcpFrames(file);
  for (const { localPort, result, startedNs, connectedNs } of reports) {
    expect(result).toBe('answered');
    const own = frames.filter(({ sourcePort }) => sourcePort === localPort);
    // Once on the pod's device, once on the way out: the uplink or the other pod's device.
    const opening = own.filter(({ flags }) => flags === tcpSyn);
    // Devices, not packets: the first one across a new bridge can be lost and is sent again.
    expect(devicesOf(opening)).toBe(2);
    expect(devicesOf(own.filter(({ flags }) => (flags & tcpFin) !== 0))).toBe(2);
    const atNs = opening[0]?.atNs ?? 0n;
    expect({
      after: atNs >= BigInt(startedNs) - 100_000n,
      before: atNs <= BigInt(connectedNs ?? 0) + 100_000n,
    }).toEqual({
      after: true,
      before: true,
    });
  }
  await client.stop();
});

test('node facts name the role of each device as the reader of replay understands it', async () => {
  const file = join(directory, 'node1.json');
  const document = value(await writeNodeFacts(lab, 'node1', 'tandem', file));
  const facts = value(readNodeFacts(file));
  const roles = Object.fromEntries(document.links.map(({ ifname, ifindex }) => [ifname, roleOf(facts, ifindex)]));
  const pods = ['web1', 'web2', 'client1'].map((name) => [lab.pod(name).device, 'pod']);
  expect(roles).toEqual({ lo: 'loopback', eth0: 'uplink', ...Object.fromEntries(pods) });
  expect(document).toMatchObject({
    node: 'node1',
    nodeIPs: ['10.88.0.11'],
    podCIDRs: ['10.244.1.0/24'],
    clusterCIDRs: ['10.244.1.0/24', '10.244.2.0/24'],
    proxy: 'tandem',
  });
});

test('a capture that cannot be written is a failure with what tcpdump says', async () => {
  const { namespacePath } = lab.node('node1');
  const capture = await startCapture({
    namespacePath,
    harness: lab.harness,
    file: join(directory, 'absent', 'x.pcap'),
  });
  expect(capture.ok ? '' : failureText(capture.error)).toMatch(/absent\/x\.pcap.*No such file/);
});

test.each([
  {
    what: 'the running count',
    text: 'tcpdump: 12 packets captured, 14 packets received by filter, 1 packet dropped by kernel\n',
  },
  {
    what: 'the count at the end',
    text: '12 packets captured\n14 packets received by filter\n1 packet dropped by kernel\n',
  },
])('$what of tcpdump is read', ({ text }) => {
  expect(lastCounts(`listening on any\n3 packets captured\n${text}`)).toEqual({
    captured: 12,
    received: 14,
    dropped: 1,
  });
});
