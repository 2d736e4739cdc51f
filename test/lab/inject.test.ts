// SPDX-License-Identifier: Apache-2.0
/** A recording sent again into the kernel's own path: as the model byte for byte, and a planted fault is named. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { inject, type Injected } from '../../cli/inject.ts';
import type { InjectedPacket } from '../../cli/inject/judge.ts';
import type { InjectionSummary } from '../../cli/inject/report.ts';
import { buildMutant } from '../../cli/mutant.ts';
import { replayFiles } from '../../cli/replay.ts';
import { openNodes } from '../../cli/replayfiles.ts';
import { openInputs } from '../../cli/replayinputs.ts';
import { failureText, type Result } from '../../core/result.ts';
import { findCgroupMount, thisMachine } from '../../lab/requirements.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { fragmentsOf, tcp, udp, withOptions, withRouting } from '../replay/packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_V6,
  cluster,
  eventLine,
  facts,
  LOCAL,
  LOCAL_V6,
  on,
  REMOTE,
  REMOTE_V6,
  SERVICE,
  SERVICE_V6,
  slice,
  type Frame,
} from '../replay/recording.ts';
import { complaints, damaged } from '../schema/validate.ts';

const root = join(import.meta.dirname, '../..');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-inject-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

function wordsOf(name: string): readonly string[] {
  const folder = `fixtures/${name}`;
  const streams = ['cluster', 'services', 'endpointslices', 'nodes'].map((kind) => `${folder}/${kind}.events.ndjson`);
  const there = streams.filter((file) => existsSync(join(root, file)));
  return [`${folder}/node1.pcap`, ...there, '--node', `${folder}/node1.json`];
}

type Ended = { readonly code: number | null; readonly pid: number; readonly out: string; readonly said: string };

/** `until`: ends it by this signal once it has a lab. */
async function replayed(words: readonly string[], until?: NodeJS.Signals): Promise<Ended> {
  const child = spawn(process.execPath, ['cli/main.ts', 'replay', '--inject', ...words], { cwd: root });
  let [out, said] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
  const { pid = 0 } = child;
  const poll = setInterval(() => {
    // The capture is there: packets are being sent.
    if (until === undefined || !existsSync(`/run/tandem-inject${pid}/node/state/injected.pcap`)) return;
    clearInterval(poll);
    child.kill(until);
  }, 50);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearInterval(poll);
  return { code, pid, out, said };
}

/** Namespaces, cgroups and directories of the lab of that process. */
function leftBy(pid: number): readonly string[] {
  const cgroups = findCgroupMount(thisMachine().mounts) ?? expect.unreachable('cgroup v2 is mounted');
  const places = ['/run/netns', '/run', cgroups];
  return places.flatMap((place) => readdirSync(place).filter((name) => name.includes(`inject${pid}`)));
}

type Printed = { readonly packets: readonly InjectedPacket[]; readonly summary: InjectionSummary };

test('seconds of a rolling update at their own pace come out as the model sends them, and as the oracle permits', async () => {
  const cut = ['--from', '2026-11-22T14:42:55Z', '--to', '2026-11-22T14:42:58Z'];
  const written = join(folder, 'lab.pcapng');
  const more = ['--write', written, '-o', 'json'];
  const { code, out, pid, said } = await replayed([...wordsOf('rolling-update'), ...cut, ...more]);
  expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/lab\.pcapng: \d+ frames\n$/) as unknown });
  expect(readFileSync(written).readUInt32BE(0)).toBe(0x0a0d0d0a);
  const { packets, summary } = JSON.parse(out) as Printed;
  expect(complaints('injection', { packets, summary })).toEqual([]);
  for (const line of [packets[0], summary]) {
    for (const [what, wrong] of damaged(line))
      expect(complaints('injection-line', wrong).length, what).toBeGreaterThan(0);
  }
  expect(packets.length).toBe(summary.requests + summary.answers);
  expect(packets.filter(({ equal }) => equal !== true)).toEqual([]);
  expect(summary).toMatchObject({
    pace: 'recorded',
    different: 0,
    notSeen: 0,
    replay: { differences: 0, notPermitted: 0 },
  });
  expect(summary.tookMs).toBeGreaterThan(2_500);
  expect(summary.tookMs).toBeLessThan(3_500);
  expect(summary.requests).toBeGreaterThan(100);
  expect(summary.replay.connections.answered).toBeGreaterThan(20);
  expect(packets.some(({ flow }) => flow.startsWith('['))).toBe(true);
  expect(leftBy(pid)).toEqual([]);
});

test.each(['rolling-update', 'no-endpoints', 'udp-stale', 'affinity', 'incidents/hairpin-without-snat'])(
  '%s as fast as possible comes out as the model sends it',
  async (name) => {
    const { code, out, said } = await replayed([...wordsOf(name), '--pace', 'fast', '-o', 'ndjson']);
    expect({ code, said }).toEqual({ code: 0, said: '' });
    const lines = out.trim().split('\n');
    // A schema takes longer than a packet.
    for (const line of [...lines.slice(0, 20), ...lines.slice(-20)])
      expect(complaints('injection-line', JSON.parse(line))).toEqual([]);
    const summary = JSON.parse(lines.at(-1) ?? '') as InjectionSummary;
    expect(summary).toMatchObject({ kind: 'InjectionSummary', different: 0, notCompared: 0, notSeen: 0 });
    expect(summary.equal).toBe(lines.length - 1);
  },
);

/** Into programs with this fault. */
async function injectFault(name: string, fault: string): Promise<Injected> {
  const mutant = mutants.find((one) => one.name === fault) ?? expect.unreachable(`no fault ${fault}`);
  const [capture = '', ...others] = wordsOf(name).map((word) => join(root, word));
  const inputs = value(await openInputs([capture, ...others.filter((file) => file.endsWith('.ndjson'))]));
  const [files = expect.unreachable()] = value(openNodes(inputs, { node: [others.at(-1) ?? ''] }));
  const filter = { service: undefined, flow: undefined, from: undefined, to: undefined };
  const object = value(buildMutant(mutant));
  return value(await inject(files, { filter, pace: 'fast', object }, { replayIt: replayFiles }));
}

test('programs that keep the address of a pod that hears itself are found, and no pod hears it', async () => {
  const { packets, summary } = await injectFault('incidents/hairpin-without-snat', 'hairpin-not-seen');
  expect(summary.different).toBe(packets.length);
  const [first] = packets.filter(({ equal }) => equal === false);
  expect(first).toMatchObject({ service: 'shop/web:http', model: { verdict: 'forward', reason: 'hairpin' } });
  expect(first?.difference).toMatch(/^byte 1[2-5] of the IP packet: model [0-9a-f]+, kernel [0-9a-f]+$/);
});

test('programs that keep the backend of a datagram that is gone are found, and the oracle names the event', async () => {
  const { packets, summary } = await injectFault('incidents/stale-udp', 'datagram-keeps-dead-backend');
  expect(summary.different).toBeGreaterThan(0);
  expect(summary.firstDifference).toMatch(
    /the model sends it to 10\.244\.1\.4:8053, the kernel to 10\.244\.1\.5:8053$/,
  );
  const found = packets.filter(({ equal, permitted }) => equal === false && permitted === false);
  expect(found.length).toBeGreaterThan(0);
  expect(found[0]?.verdict).toMatch(/EndpointSlice shop\/web-a MODIFIED \(line \d+\)/);
});

/** Packets that no socket would send: parts, options, checksums that are wrong or not there yet. */
function oddFrames(): readonly Frame[] {
  const payload = Uint8Array.from({ length: 2000 }, (_, index) => index);
  const [short, web, dns] = [payload.subarray(0, 99), `${SERVICE}:80`, `[${SERVICE_V6}]:53`];
  const datagrams = [
    udp({ from: `${CLIENT}:5000`, to: `${SERVICE}:53`, identification: 77, payload }),
    udp({ from: `[${CLIENT_V6}]:5001`, to: dns, identification: 78, payload }),
  ];
  const packets = [
    ...datagrams.flatMap((datagram) => fragmentsOf(datagram, 1400)),
    tcp({ from: `${CLIENT}:6000`, to: web, flags: 'S', sequence: 1, checksum: 'wrong' }),
    tcp({ from: `${CLIENT}:6001`, to: web, flags: 'S', sequence: 2, checksum: 'partial' }),
    tcp({ from: `${CLIENT}:6002`, to: `${SERVICE}:81`, flags: 'S', sequence: 3, checksum: 'partial' }),
    tcp({ from: `${CLIENT}:6003`, to: web, flags: 'P.', sequence: 4, payload: short }),
    withOptions(udp({ from: `[${CLIENT_V6}]:5002`, to: dns, payload: short })),
    withRouting(udp({ from: `[${CLIENT_V6}]:5003`, to: dns, payload: short })),
  ];
  return packets.map((packet, index) => on(100 + index, CLIENT_DEVICE, 'incoming', packet));
}

test('fragments, extension headers and checksums that are wrong or not there yet are sent as they were', async () => {
  const streams = cluster([LOCAL, REMOTE], eventLine(0, 'ADDED', slice([LOCAL_V6, REMOTE_V6], 'web-v6')));
  const config = defaultConfiguration();
  const files = { captures: [captureOf(oddFrames())], streams, facts, config, seed: 0, allowUnattributed: false };
  const filter = { service: undefined, flow: undefined, from: undefined, to: undefined };
  const { packets } = value(await inject(files, { filter, pace: 'fast' }, { replayIt: replayFiles }));
  expect(packets.map(({ equal, model }) => [model?.verdict, model?.reason, equal])).toEqual([
    ['forward', 'new-flow', true],
    ['forward', 'fragmented', true],
    ['forward', 'new-flow', true],
    ['forward', 'fragmented', true],
    ['forward', 'new-flow', true],
    ['forward', 'new-flow', true],
    ['refuse', 'unknown-port', true],
    ['forward', 'new-flow', true],
    ['forward', 'new-flow', true],
    ['pass', 'extensions', true],
  ]);
});

test('Ctrl-C while packets are sent leaves nothing behind', async () => {
  const { code, pid } = await replayed(wordsOf('rolling-update'), 'SIGINT');
  expect(code).toBe(130);
  expect(leftBy(pid)).toEqual([]);
});

test('what can not be sent is told in one line, before a lab is made', async () => {
  const nobody = await replayed([...wordsOf('udp-stale'), '--service', 'shop/nobody']);
  expect(nobody).toMatchObject({ code: 2, out: '' });
  expect(nobody.said).toMatch(
    /^tandem: .*holds no packet of a client to a Service[^\n]*; look again at the filters\n$/,
  );
  const twice = await replayed([...wordsOf('udp-stale'), '--as-node', 'node2']);
  expect(twice).toMatchObject({
    code: 2,
    said: 'tandem: --as-node: does not go with --inject; leave one of them out\n',
  });
});
