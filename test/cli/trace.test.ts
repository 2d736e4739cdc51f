// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assert } from '../../core/result.ts';
import { openCapture } from '../../formats/open.ts';
import { progressText } from '../../cli/capturesprogress.ts';
import { copyCheckout, recording, type Answer, type Checkout } from './checkout.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let checkout: Checkout;

beforeAll(() => {
  checkout = copyCheckout();
});

afterAll(() => {
  checkout.remove();
});

function replay(...words: readonly string[]): Answer {
  return checkout.run('replay', ...recording('rolling-update', 'node1'), ...words);
}

describe('a trace', () => {
  // Regenerate with `tandem trace SERVICE` and the files as its last line has them, as a normal user.
  test.each([
    ['rolling-update', 'node1', 'shop/web', 3],
    ['no-endpoints', 'node1', 'shop/web:http', 3],
    ['udp-stale', 'node1', 'shop/web:echo', 0],
    ['affinity', 'node1', 'shop/web-sticky', 0],
    ['outside', 'node1', 'shop/web-np', 0],
    ['outside-iptables', 'node1', 'shop/web-lb', 0],
  ])('of %s on %s reads as written down', (name, host, service, code) => {
    const answer = checkout.run('trace', service, ...recording(name, host));
    expect(answer.notes).toBe('');
    expect(answer.output).toBe(readFileSync(join(root, `test/replay/trace-${name}-${host}.expected.txt`), 'utf8'));
    expect(answer.code).toBe(code);
  });

  test('of a flow is that one, in a document as well', () => {
    const flow = '10.244.1.4:33450>10.96.219.219:80/TCP';
    const { code, output } = checkout.run('trace', flow, ...recording('rolling-update', 'node1'), '-o', 'json');
    expect(JSON.parse(output)).toMatchObject({ kind: 'Trace', flow, verdict: { blame: 'control-plane-late' } });
    expect(code).toBe(3);
  });

  test.each([
    ['shop/wbe', 'did you mean shop/web?'],
    ['10.244.1.4:1-10.96.219.219:80', 'no connection to a Service is this flow; there are 10.244.1.4:'],
    ['web', 'neither a Service nor a flow; write namespace/name'],
    ['10.244.1.4-10.96.219.219:80', 'not two ends and a protocol'],
  ])('of %s is refused in one line with what there is', (what, message) => {
    const { code, notes, output } = checkout.run('trace', what, ...recording('rolling-update', 'node1'));
    expect({ code, output, lines: notes.split('\n').length }).toEqual({ code: 2, output: '', lines: 2 });
    expect(notes).toContain(message);
  });
});

describe('a filter', () => {
  test('leaves the twins what they are fed, and judges what it names', () => {
    const { code, output } = replay('--flow', '10.244.1.4:33450-10.96.219.219:80', '-o', 'ndjson');
    const lines = output.trimEnd().split('\n');
    const summary = JSON.parse(lines.at(-1) ?? '') as unknown;
    expect(lines).toHaveLength(11);
    expect(summary).toMatchObject({
      packets: 5359,
      notPermitted: 1,
      connections: { total: 1, stale: 1 },
      replies: { reproduced: 960 },
    });
    expect(code).toBe(3);
  });

  test('says in the text that it is not all', () => {
    const { code, output } = replay('--to', '2026-11-22T14:42:50Z');
    expect(output).toMatch(/^told: \d+ of 240 connections, as asked for/m);
    expect(output).toContain('verdict: neither datapath nor control plane');
    expect(code).toBe(0);
  });

  test('that nothing matches ends with what there is', () => {
    const { code, notes, output } = replay('--service', 'shop/wep');
    expect({ code, output }).toEqual({ code: 2, output: '' });
    expect(notes).toContain('did you mean shop/web?); there are shop/web:http');
  });
});

describe('what if', () => {
  test('an event had not been heard', () => {
    const { code, output } = replay('--without-event', 'endpointslices:15', '-o', 'json');
    const found = JSON.parse(output) as { readonly otherwise: readonly unknown[] };
    expect(found).toMatchObject({
      kind: 'WhatIf',
      changes: ['EndpointSlice shop/web-7jbxk MODIFIED (line 15) had not been heard'],
      connections: 240,
    });
    expect(found.otherwise.length).toBeGreaterThan(0);
    expect(code).toBe(0);
  });

  test('the delay that was observed had been that of the event: nothing is late because of it', () => {
    const { output } = replay('--delay', 'endpointslices:16=1100');
    expect(output).toContain('what if EndpointSlice shop/web-qf2f8 MODIFIED (line 16) had been heard 1100 ms later');
    expect(output).not.toContain('then: stale: 0');
    expect(output).toMatch(
      /stale: 1083\.7 ms after EndpointSlice shop\/web-qf2f8 MODIFIED \(line 16\); then: permitted/,
    );
  });

  test('the node had been another', () => {
    expect(replay('--as-node', 'node2').output).toContain('what if the node had been node2');
    const { code, notes } = replay('--as-node', 'node3');
    expect({ code, notes }).toEqual({
      code: 2,
      notes: 'tandem: --as-node node3: the events tell of no such node; there are node1, node2\n',
    });
  });

  test('backends had been chosen otherwise', () => {
    const { output } = replay('--algorithm', 'maglev');
    expect(output).toContain('what if backends had been chosen by maglev');
    expect(output).toMatch(/otherwise chosen +[1-9]\d* +by the model/);
    expect(output).toMatch(/otherwise judged +0 /);
    expect(replay('--algorithm', 'hash').output).toMatch(/otherwise chosen +0 /);
  });

  test('an event that is not there is named with its neighbours', () => {
    const { code, notes } = replay('--without-event', '4711');
    expect(code).toBe(2);
    expect(notes).toContain('no event stands in that line; there are ');
  });
});

test('a case is written where the user may write, without a kernel', () => {
  const folder = join(checkout.folder, 'cases');
  mkdirSync(folder);
  chmodSync(folder, 0o777);
  const flow = ['--flow', '10.244.1.4:33450-10.96.219.219:80'];
  const { code, notes } = replay(...flow, '--emit-case', 'cases/one.json');
  expect(notes).toBe(
    'tandem: cases/one.json: 10 packets and 1 rounds of events; run it: ./tandem verify --case cases/one.json\n',
  );
  expect(code).toBe(3);
  const refused = replay(...flow, '--emit-case', 'package.json');
  expect(refused.code).toBe(2);
  expect(refused.notes).toContain('--emit-case package.json: cannot be written: EACCES');
});

test('a capture with comments holds every frame, what was found of it, and what the model sends', () => {
  const folder = join(checkout.folder, 'written');
  mkdirSync(folder);
  chmodSync(folder, 0o777);
  const { code, notes } = replay('--write', 'written/out.pcapng');
  expect(notes).toMatch(/^tandem: written\/out\.pcapng: \d+ frames\n$/);
  expect(code).toBe(3);
  const opened = openCapture(join(folder, 'out.pcapng'));
  assert(opened.ok, 'what was written can be read');
  const counts = { 'node1.pcap': 0, model: 0 };
  const found: string[] = [];
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) {
    counts[record.interfaceName === 'model' ? 'model' : 'node1.pcap'] += 1;
    found.push(...record.comments.filter((comment) => comment.includes('stale: ')));
  }
  expect(opened.value.failure()).toBe(undefined);
  // Each of the 240 connections has six packets to a backend and four back.
  expect(counts).toEqual({ 'node1.pcap': 5359, model: 240 * (6 + 4) });
  expect(found).toHaveLength(13);
  expect(found[0]).toBe('tandem: stale: 100.9 ms after EndpointSlice shop/web-qf2f8 MODIFIED (line 16)');
  expect(staleOfTshark(join(folder, 'out.pcapng')) ?? found).toEqual(found);
});

/** Comments on stale choices as Wireshark shows them; undefined where it is not installed. */
function staleOfTshark(path: string): readonly string[] | undefined {
  const words = ['-r', path, '-Y', 'frame.comment contains "stale: "', '-T', 'fields', '-e', 'frame.comment'];
  const options = ['-E', 'aggregator=|'];
  const answer = spawnSync('tshark', [...words, ...options], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (answer.error !== undefined) return undefined;
  expect(answer.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Running as user'))).toEqual([]);
  expect(answer.status).toBe(0);
  const comments = answer.stdout
    .trimEnd()
    .split('\n')
    .flatMap((line) => line.split('|'));
  return comments.filter((comment) => comment.includes('stale: '));
}

test('a bundle is replayed as the files that it holds', () => {
  const [capture = '', ...rest] = recording('udp-stale', 'node1');
  const bundle = join(checkout.folder, 'one.tandem');
  mkdirSync(bundle);
  const copy = (from: string, to: string): void => copyFileSync(join(checkout.folder, from), join(bundle, to));
  copy(capture, 'packets.pcap');
  copy(rest.at(-1) ?? '', 'node.json');
  for (const events of rest.slice(0, 3)) copy(events, basename(events));
  const own = checkout.run('replay', ...recording('udp-stale', 'node1'), '-o', 'ndjson');
  const bundled = checkout.run('replay', 'one.tandem', '-o', 'ndjson');
  expect(own.output.split('\n').at(-2)).toBe(bundled.output.split('\n').at(-2));
  expect(checkout.run('trace', 'shop/web', 'one.tandem').code).toBe(0);
  const two = join(checkout.folder, 'two.tandem');
  mkdirSync(two);
  for (const from of recording('udp-stale', 'node2').filter((word) => word !== '--node'))
    copyFileSync(join(checkout.folder, from), join(two, from.endsWith('.json') ? 'node.json' : basename(from)));
  const both = checkout.run('replay', 'one.tandem', 'two.tandem').output;
  expect(both.match(/^node\d: \d+ packets/gm)).toEqual(['node1: 490 packets', 'node2: 286 packets']);
  expect(checkout.run('replay', 'none.tandem').notes).toContain('none.tandem: cannot be opened: ENOENT');
});

test('a capture that is read is not written', () => {
  const { code, notes } = replay('--write', 'fixtures/../fixtures/rolling-update/node1.pcap');
  expect(code).toBe(2);
  expect(notes).toContain('it is read as well; give another name');
});

test('progress has a bar, the rate and the time that is left', () => {
  expect(progressText({ frames: 4096, bytes: 500_000 }, 1_000_000, 2000)).toBe(
    '[==========>         ]  50 %  4,096 packets, 2,048/s, 2 s left',
  );
  expect(progressText({ frames: 4096, bytes: 500_000 }, 100_000_000, 2000)).toContain('7 min left');
  expect(progressText({ frames: 4096, bytes: 900 }, 100, 2000)).toContain(' 99 %');
  expect(progressText({ frames: 4096, bytes: 900 }, 0, 2000)).toBe('4,096 packets, 2,048/s');
});
