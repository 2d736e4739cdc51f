// SPDX-License-Identifier: Apache-2.0
/** The recordings of a real cluster are read completely. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { failureText } from '../../core/result.ts';
import { readEventStreams } from '../../formats/events.ts';
import { newLinkHeader, parseLink } from '../../formats/link.ts';
import { readManifests } from '../../formats/manifests.ts';
import { readNodeFacts, roleOf, type NodeFacts } from '../../formats/node.ts';
import { openCapture } from '../../formats/open.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapWriter } from '../../formats/pcap.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures');

function factsOf(path: string): NodeFacts {
  const facts = readNodeFacts(path);
  if (!facts.ok) throw new Error(failureText(facts.error));
  return facts.value;
}

/** Counts of frames, by ethertype and direction, and of devices that the facts do not know. */
function census(path: string, facts: NodeFacts): Readonly<Record<string, number>> {
  const opened = openCapture(path);
  if (!opened.ok) throw new Error(failureText(opened.error));
  const header = newLinkHeader();
  const counts: Record<string, number> = { frames: 0, gone: 0 };
  const count = (name: string): void => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) {
    count('frames');
    const problem = parseLink(record.linkType, record.buffer, record.start, record.capturedLength, header);
    expect(problem).toBeUndefined();
    count(header.protocol.toString(16).padStart(4, '0'));
    count(header.direction ?? 'untold');
    if (header.interfaceIndex !== undefined && roleOf(facts, header.interfaceIndex) === undefined) count('gone');
  }
  expect(opened.value.failure()).toBeUndefined();
  return counts;
}

// Counted once with `tcpdump -nr FILE | wc -l` and with a script of another language.
test.each([
  [
    'rolling-update',
    'node1',
    { frames: 5359, '0800': 2942, '86dd': 2411, '0806': 6, incoming: 2667, outgoing: 2692, gone: 1168 },
  ],
  [
    'rolling-update',
    'node2',
    { frames: 2894, '0800': 1781, '86dd': 1109, '0806': 4, incoming: 1431, outgoing: 1463, gone: 584 },
  ],
  ['no-endpoints', 'node1', { frames: 1439, '0800': 1435, '0806': 4, incoming: 709, outgoing: 730, gone: 212 }],
  ['no-endpoints', 'node2', { frames: 980, '0800': 976, '0806': 4, incoming: 478, outgoing: 502, gone: 260 }],
  ['udp-stale', 'node1', { frames: 490, '0800': 482, '0806': 8, incoming: 240, outgoing: 250, gone: 286 }],
  ['udp-stale', 'node2', { frames: 286, '0800': 282, '0806': 4, incoming: 135, outgoing: 151, gone: 202 }],
  ['affinity', 'node1', { frames: 1021, '0800': 1021, incoming: 500, outgoing: 521, gone: 0 }],
  ['affinity', 'node2', { frames: 1093, '0800': 1091, '0806': 2, incoming: 535, outgoing: 558, gone: 270 }],
  ['outside', 'node1', { frames: 1504, '0800': 1140, '86dd': 364, incoming: 747, outgoing: 757, gone: 0 }],
  ['outside', 'node2', { frames: 1567, '0800': 1200, '86dd': 365, '0806': 2, incoming: 782, outgoing: 785, gone: 0 }],
  ['outside-iptables', 'node1', { frames: 1623, '0800': 1260, '86dd': 363, incoming: 810, outgoing: 813, gone: 0 }],
  ['outside-iptables', 'node2', { frames: 1580, '0800': 1220, '86dd': 360, incoming: 785, outgoing: 795, gone: 0 }],
])('%s: the capture of %s', (folder, node, expected) => {
  const facts = factsOf(join(FIXTURES, folder, `${node}.json`));
  expect(census(join(FIXTURES, folder, `${node}.pcap`), facts)).toEqual(expected);
});

test('a recording that is read and written again is the same file', () => {
  const path = join(FIXTURES, 'rolling-update/node1.pcap');
  const original = readFileSync(path);
  const opened = openCapture(path);
  if (!opened.ok) throw new Error(failureText(opened.error));
  const output = memoryOutput('copy.pcap');
  const writer = createPcapWriter(output, { linkType: 276 });
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) writer.write(record);
  expect(writer.finish()).toEqual({ ok: true, value: 5359 });
  // Only the snap length differs: 2048 there, ours here.
  expect(Buffer.compare(original.subarray(0, 16), output.bytes().subarray(0, 16))).toBe(0);
  expect(Buffer.compare(original.subarray(20), output.bytes().subarray(20))).toBe(0);
});

test.each([
  ['rolling-update', { LISTED: 3, MODIFIED: 86 }],
  ['no-endpoints', { LISTED: 3, MODIFIED: 81 }],
  ['udp-stale', { LISTED: 3, MODIFIED: 77 }],
])('%s: events begin with a list of each kind', (folder, expected) => {
  const names = ['services', 'endpointslices', 'nodes'].map((name) => join(FIXTURES, folder, `${name}.events.ndjson`));
  const streams = readEventStreams(names);
  expect([streams.failures, streams.problems, streams.badLines, streams.completeUntil]).toEqual([[], [], 0, undefined]);
  const types: Record<string, number> = {};
  for (const { event } of streams.events) types[event.type] = (types[event.type] ?? 0) + 1;
  expect(types).toEqual(expected);
  expect(
    streams.events
      .slice(0, 3)
      .map(({ event }) => ('items' in event ? `${event.kind} ${event.items.length}` : event.type))
      .sort(),
  ).toEqual(['EndpointSlice 7', 'Node 2', 'Service 5']);
});

test('node facts tell pods, uplink and loopback', () => {
  const facts = factsOf(join(FIXTURES, 'rolling-update/node1.json'));
  expect(facts.devices.map(({ ifindex, name, role }) => `${ifindex} ${name} ${role}`)).toEqual([
    '1 lo loopback',
    '2 eth0 uplink',
    '5 vethb566257b pod',
    '6 vethfe2dafbc pod',
    '7 veth40966351 pod',
  ]);
});

test('manifests hold the objects that were applied', () => {
  const manifests = readManifests([join(FIXTURES, 'no-endpoints/manifests.yaml')]);
  expect(manifests.failures).toEqual([]);
  expect(manifests.objects.map(({ object, line }) => `${line} ${object.kind} ${object.metadata?.name}`)).toEqual([
    '23 Service web',
    '33 Service web-np',
    '44 Service web-lb',
    '54 Service web-sticky',
    '64 Pod client1',
    '72 Pod client2',
  ]);
  expect([...manifests.skipped]).toEqual([
    ['Namespace', 1],
    ['Deployment', 1],
  ]);
});
