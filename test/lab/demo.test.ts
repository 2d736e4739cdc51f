// SPDX-License-Identifier: Apache-2.0
/** The demo as an operator runs it: all of it, and a Ctrl-C in the middle of it; nothing stays behind either way. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { readdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { DemoReport } from '../../cli/demo/report.ts';
import type { Road } from '../../cli/demo/visitors.ts';
import { findCgroupMount, thisMachine } from '../../lab/requirements.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
type Demo = ChildProcessByStdio<null, Readable, Readable>;

function startDemo(...words: readonly string[]): Demo {
  return spawn(process.execPath, ['cli/main.ts', 'demo', ...words], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
}

function textOf(stream: Readable): { text: string } {
  const collected = { text: '' };
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    collected.text += chunk;
  });
  return collected;
}

function ended(child: Demo): Promise<number | null> {
  return new Promise((resolve) => child.once('close', (code) => resolve(code)));
}

/** Namespaces, cgroups and directories of the lab that a demo of this process made. */
function leftBy(child: Demo): readonly string[] {
  const cgroups = findCgroupMount(thisMachine().mounts) ?? expect.unreachable('cgroup v2 is mounted');
  const places = ['/run/netns', '/run', cgroups, '/tmp'];
  return places.flatMap((place) => readdirSync(place).filter((name) => name.includes(`demo${child.pid}`)));
}

test('the demo plays, every connection is as permitted, the twins agree, and nothing stays behind', async () => {
  const startedMs = performance.now();
  const child = startDemo('--seed', '11', '-o', 'json');
  const [output, errors] = [textOf(child.stdout), textOf(child.stderr)];
  expect({ code: await ended(child), errors: errors.text }).toEqual({ code: 0, errors: '' });
  // The acceptance is 60 s with everything installed.
  expect(performance.now() - startedMs).toBeLessThan(45_000);
  expect(leftBy(child)).toEqual([]);
  const report = JSON.parse(output.text) as DemoReport;
  expect(report).toMatchObject({ seed: 11, problems: [], checksumErrors: {}, comparison: { differences: 0 } });
  expect(report.comparison.packets).toBeGreaterThan(5_000);
  const { total, permitted, inFlight } = report.connections;
  expect(permitted + inFlight).toBe(total);
  // Three of each of the four clients to each of the two addresses.
  expect(report.held).toEqual({ total: 24, alive: 24, moved: 24 });
  // One connected and one unconnected UDP socket of each of the four to each of the two addresses.
  const { asked } = report;
  expect(asked.sockets).toBe(16);
  expect(asked.datagrams).toBeGreaterThan(200);
  // Of the four that were connected where tandem sees sockets, each lost its first backend; the other twelve moved.
  expect(asked.ended).toBeGreaterThanOrEqual(4);
  expect(asked.reconnected).toBe(asked.ended);
  expect(asked.moved).toBeGreaterThanOrEqual(12);
  expect(report.reasons['socket-ended']).toBeGreaterThanOrEqual(asked.ended);
  const { connected, unconnected } = report.connections.datagrams;
  expect(Math.min(connected, unconnected)).toBeGreaterThan(100);
  // Every backend of the update was met, so were refusals, and each Service was asked for on both roads.
  const web = report.services.filter(({ service }) => service === 'shop/web:http');
  expect(web.map(({ family, connections }) => [family, ...connections.map(({ answer }) => answer)])).toEqual([
    ['IPv4', 'refused', 'web1', 'web2', 'web3', 'web4'],
    ['IPv6', 'refused', 'web1', 'web2', 'web3', 'web4'],
  ]);
  for (const { service, address, connections } of report.services) {
    const sum = (road: Road): number => connections.reduce((total, counts) => total + counts[road], 0);
    const both = sum('socket') > 20 && sum('packet') > 20;
    expect({ service, address, both }).toEqual({ service, address, both: true });
  }
  // With the recorded key the model makes the choices that the programs made, but for those in flight.
  for (const { choices, repliesReproduced } of report.replays) {
    expect(choices?.of ?? 0).toBeGreaterThan(50);
    expect((choices?.same ?? 0) / (choices?.of ?? 1)).toBeGreaterThan(0.95);
    expect(repliesReproduced).toBeGreaterThan(200);
  }
});

test('Ctrl-C in the middle of the demo leaves nothing behind', async () => {
  const child = startDemo();
  const output = textOf(child.stdout);
  await new Promise<void>((resolve) => {
    child.stdout.on('data', () => {
      if (output.text.includes('programmed')) resolve();
    });
  });
  expect(leftBy(child).length).toBeGreaterThan(0);
  child.kill('SIGINT');
  expect(await ended(child)).toBe(130);
  expect(leftBy(child)).toEqual([]);
});
