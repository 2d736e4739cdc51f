// SPDX-License-Identifier: Apache-2.0
/** The JSON Schemas in docs/schema: made of their shapes, true of what commands print, and strict. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { described, schemaOf, type SchemaName } from './schemas.ts';
import { complaints, damaged, schemaPath } from './validate.ts';

const root = join(import.meta.dirname, '../..');
const incidents = join(root, 'fixtures/incidents');

function isSchemaName(name: string): name is SchemaName {
  return Object.hasOwn(described, name);
}

/** The whole of what a command prints, whatever it ends with. */
function printed(...words: readonly string[]): string {
  const { stdout } = spawnSync(process.execPath, ['cli/main.ts', ...words], { cwd: root, encoding: 'utf8' });
  return stdout;
}

function recording(name: string): readonly string[] {
  const folder = join(incidents, name);
  return [`${folder}/node1.pcap`, `${folder}/cluster.events.ndjson`, '--node', `${folder}/node1.json`];
}

function linesOf(text: string): readonly unknown[] {
  return text
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line));
}

/** Every damage to a document that holds must be found, but for fields that may be absent. */
function expectStrict(name: SchemaName, document: unknown, optional: readonly string[] = []): void {
  expect(complaints(name, document)).toEqual([]);
  for (const [what, wrong] of damaged(document)) {
    if (optional.some((field) => what === `without ${field}`)) continue;
    expect(complaints(name, wrong).length, `${name} ${what}`).toBeGreaterThan(0);
  }
}

test.each(Object.keys(described).filter(isSchemaName))('%s.schema.json is what its shape says', (name) => {
  const committed: unknown = JSON.parse(readFileSync(schemaPath(name), 'utf8'));
  expect(committed, 'node test/schema/write.ts writes it anew').toEqual(schemaOf(name));
});

describe('what is printed is what the schema says, and a field more or less is found', () => {
  test('replay -o json', () => {
    const document: unknown = JSON.parse(printed('replay', ...recording('stale-udp'), '-o', 'json'));
    expectStrict('replay', document);
  });

  test.each(['stale-udp', 'refused-without-endpoints', 'dead-pod'])('replay -o ndjson of %s', (name) => {
    const lines = linesOf(printed('replay', ...recording(name), '-o', 'ndjson'));
    expect(lines.length).toBeGreaterThan(50);
    for (const line of lines) expect(complaints('replay-line', line)).toEqual([]);
    expectStrict('replay-line', lines[0], ['verdict']);
    expectStrict('replay-line', lines.at(-1));
  });

  test('trace, what if, and a case made of a recording', () => {
    expectStrict('trace', JSON.parse(printed('trace', 'shop/web:dns', ...recording('stale-udp'), '-o', 'json')));
    const altered = printed('replay', ...recording('late-slice'), '--without-event', '4', '-o', 'json');
    expectStrict('what-if', JSON.parse(altered));
    const folder = mkdtempSync(join(tmpdir(), 'tandem-schema-'));
    const file = join(folder, 'case.json');
    printed('replay', ...recording('wrong-node-name'), '--emit-case', file);
    const written: unknown = JSON.parse(readFileSync(file, 'utf8'));
    rmSync(folder, { recursive: true });
    expectStrict('verify-case', written);
  });

  test('sim -o json', () => {
    const small = ['--nodes', '2', '--services', '4', '--seconds', '5', '-o', 'json'];
    expectStrict('sim-report', JSON.parse(printed('sim', '7', ...small)));
    const planted: unknown = JSON.parse(printed('sim', '7', ...small, '--plant', 'a flow that moves'));
    expectStrict('sim-report', planted, ['violation']);
  });

  test('node facts of the lab and of clusters', () => {
    const facts = ['incidents/dead-pod/node1', 'affinity/node1', 'rolling-update/node2', 'udp-stale/node1'];
    for (const name of facts) {
      const document: unknown = JSON.parse(readFileSync(join(root, `fixtures/${name}.json`), 'utf8'));
      expect(complaints('node-facts', document)).toEqual([]);
      expect(complaints('node-facts', { ...(document as object), nodeIPs: undefined })).not.toEqual([]);
      expect(complaints('node-facts', { ...(document as object), nodeIPs: [] })).not.toEqual([]);
    }
  });

  test('event streams of the lab and of clusters', () => {
    const folders = readdirSync(incidents).map((name) => join(incidents, name));
    const all = [...folders, join(root, 'fixtures/rolling-update'), join(root, 'fixtures/demo')];
    for (const folder of all) {
      for (const file of readdirSync(folder).filter((name) => name.endsWith('.events.ndjson'))) {
        for (const line of linesOf(readFileSync(join(folder, file), 'utf8'))) {
          expect(complaints('event-line', line), file).toEqual([]);
        }
      }
    }
    const at = '2026-01-01T10:00:00Z';
    expectStrict('event-line', { at, type: 'DISCONNECTED', kind: 'Pod', reason: '' });
    expectStrict('event-line', { at, type: 'LISTED', kind: 'Pod', items: [] });
    expectStrict('event-line', { at, type: 'DELETED', object: { kind: 'Pod', metadata: { name: 'p' } } });
    const clock = { offsetNs: -5, errorNs: 9 };
    expect(complaints('event-line', { type: 'STREAM', cluster: 'a', recorder: 'b', clock })).toEqual([]);
    expect(complaints('event-line', { type: 'STREAM', clock: { offsetNs: 1.5, errorNs: 0 } })).not.toEqual([]);
  });

  test('the configuration', () => {
    const head = { apiVersion: 'tandem/v1alpha1', kind: 'TandemConfiguration' };
    const full = {
      ...head,
      nodeName: 'node-a',
      nodeIPs: ['192.0.2.1'],
      nodePortAddresses: ['primary'],
      serviceCIDRs: ['10.96.0.0/16'],
      nodePortRange: '30000-32767',
      algorithm: 'maglev',
      selectionKey: '00112233aabbccdd',
      serviceProxyName: null,
    };
    expectStrict('configuration', head);
    expect(complaints('configuration', full)).toEqual([]);
    expect(complaints('configuration', { ...full, algorithm: 'dice' })).not.toEqual([]);
    expect(complaints('configuration', { ...full, selectionKey: 'short' })).not.toEqual([]);
  });
});
