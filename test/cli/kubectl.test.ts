// SPDX-License-Identifier: Apache-2.0
/** `tandem replay` with what kubectl printed in place of a recorded event stream. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { beginsWithObject } from '../../formats/documents.ts';
import type { ReplaySummary } from '../../replay/summary.ts';

const root = join(import.meta.dirname, '../..');
const incident = join(root, 'fixtures/incidents/wrong-node-name');

type Json = Readonly<Record<string, unknown>>;
type Listed = { readonly at: string; readonly kind: string; readonly items: readonly Json[] };

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-kubectl-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const lists = readFileSync(join(incident, 'cluster.events.ndjson'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Listed);

/** A file as `kubectl get KIND -A --watch --output-watch-events -o json` writes it. */
function watch(kind: string, indent: number): string {
  const items = lists.find((list) => list.kind === kind)?.items ?? [];
  return items.map((object) => `${JSON.stringify({ type: 'ADDED', object }, undefined, indent)}\n`).join('');
}

type Ran = { readonly code: number | null; readonly notes: string; readonly output: string };

function replay(files: Readonly<Record<string, string>>): Omit<Ran, 'output'> & { readonly summary: ReplaySummary } {
  const { code, notes, output } = run(files, 'ndjson');
  return { code, notes, summary: JSON.parse(output.trim().split('\n').at(-1) ?? '') as ReplaySummary };
}

function run(files: Readonly<Record<string, string>>, format: string): Ran {
  const paths = Object.entries(files).map(([name, text]) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  });
  const words = [join(incident, 'node1.pcap'), ...paths, '--node', join(incident, 'node1.json'), '-o', format];
  const done = spawnSync(process.execPath, ['cli/main.ts', 'replay', ...words], { cwd: root, encoding: 'utf8' });
  return { code: done.status, notes: done.stderr, output: done.stdout };
}

test.each([0, 4])(
  'three watches of kubectl, indented by %i, name the culprit as the recorded stream does',
  (indent) => {
    const { code, summary } = replay({
      'nodes.ndjson': watch('Node', indent),
      'services.ndjson': watch('Service', indent),
      'slices.ndjson': watch('EndpointSlice', indent),
    });
    expect([code, summary.blame, summary.connections.never]).toEqual([3, 'datapath-wrong', 16]);
  },
);

test('a watch that was cut ends with 2 and names file and line; what came before it is still used', () => {
  const slices = watch('EndpointSlice', 4);
  const cut = slices + slices.slice(0, 200);
  const { code, notes, summary } = replay({
    'services.ndjson': watch('Service', 4),
    'slices.ndjson': cut,
  });
  const line = cut.split('\n').length;
  expect(code).toBe(2);
  expect(notes).toMatch(new RegExp(`^tandem: .*/slices.ndjson line ${line}: not JSON: .* at column \\d+$`, 'm'));
  expect(summary.connections.total).toBe(16);
  expect(summary.failures.length).toBe(1);
});

test('changes without any time are told, and nobody is blamed for what came after them', () => {
  const { items = [] } = lists.find((list) => list.kind === 'EndpointSlice') ?? {};
  const gone = items.map((object) => `${JSON.stringify({ type: 'DELETED', object })}\n`).join('');
  const { code, notes, summary } = replay({
    'services.ndjson': watch('Service', 4),
    'slices.ndjson': watch('EndpointSlice', 4) + gone,
  });
  expect([code, summary.blame, summary.connections.notJudged]).toEqual([0, 'not-judged', 16]);
  expect(summary.from.slice(0, 10), 'not the beginning of all time').toBe(summary.to.slice(0, 10));
  expect(notes).toContain('nothing says when this change happened');
});

test('what kubectl printed may have any name, and how its times are known stands below the grade', () => {
  const names = { nodes: 'Node', 'services.json': 'Service', 'slices.txt': 'EndpointSlice' };
  const { output } = run(
    Object.fromEntries(Object.entries(names).map(([name, kind]) => [name, watch(kind, 4)])),
    'text',
  );
  expect(output.split('\n').slice(0, 3)).toEqual([
    'grade: reconstructed from packets and events; the node was served by tandem',
    '  0 events with the time of their arrival',
    expect.stringMatching(/^ {2}\d+ (with the time of the change behind them|without a time)/),
  ]);
});

test('what kubectl printed is told from a capture by its first bytes, whatever its name', () => {
  const objects = ['{"type":"ADDED"}\n', '\n\n  {\n', '{'];
  for (const text of objects) expect(beginsWithObject({ name: 'a', bytes: Buffer.from(text) }), text).toBe(true);
  expect(beginsWithObject(join(incident, 'cluster.events.ndjson'))).toBe(true);
  for (const bytes of [Buffer.of(), Buffer.from('x{'), Buffer.of(0x1f, 0x8b, 0x7b)]) {
    expect(beginsWithObject({ name: 'a', bytes })).toBe(false);
  }
  expect(beginsWithObject(join(incident, 'node1.pcap'))).toBe(false);
  expect(beginsWithObject('/nowhere')).toBe(false);
});
