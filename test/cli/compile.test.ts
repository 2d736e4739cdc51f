// SPDX-License-Identifier: Apache-2.0
/** `tandem compile` as a person runs it: what it prints, what it accepts, and its exit codes. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';

import { complaints } from '../schema/validate.ts';

const root = join(import.meta.dirname, '../..');
const recording = ['services', 'endpointslices', 'nodes'].map(
  (kind) => `fixtures/rolling-update/${kind}.events.ndjson`,
);

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tandem-compile-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

type Printed = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

function compile(...args: readonly string[]): Printed {
  return compileOf('', ...args);
}

/** With something on standard input. */
function compileOf(input: string, ...args: readonly string[]): Printed {
  return spawnSync(process.execPath, ['cli/main.ts', 'compile', ...args], { cwd: root, encoding: 'utf8', input });
}

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const MANIFESTS = `
kind: Service
apiVersion: v1
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: Local, ports: [{name: http, port: 80}], externalIPs: [nope]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.1.5], nodeName: node-a, zone: z1}
- {addresses: [10.0.2.6], nodeName: node-b, zone: z2}
- {addresses: [10.0.2.7], nodeName: node-b, conditions: {ready: false}}
`;

const CONFIG = `
kind: TandemConfiguration
apiVersion: tandem/v1alpha1
nodeName: node-a
zone: z1
serviceCIDRs: [10.96.0.0/16]
clusterCIDRs: [10.0.0.0/8]
`;

describe('tandem compile', () => {
  test('manifests and a configuration become the document, to the letter', () => {
    const { status, stdout } = compile(file('web.yaml', MANIFESTS), '--config', file('config.yaml', CONFIG));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      apiVersion: 'tandem/v1alpha1',
      kind: 'CompiledServices',
      node: { name: 'node-a', zone: 'z1' },
      defaults: { serviceCIDRs: ['10.96.0.0/16'], unknownPort: 'reject', unallocatedAddress: 'drop' },
      frontends: [
        {
          kind: 'ClusterIP',
          service: 'shop/web',
          portName: 'http',
          address: '10.96.0.1',
          port: 80,
          protocol: 'TCP',
          affinitySeconds: null,
          sourceRanges: null,
          internal: {
            backends: [{ address: '10.0.1.5', port: 8080, state: 'active', node: 'node-a', zone: 'z1' }],
            whenEmpty: 'drop',
            topology: 'none',
            masquerade: 'off-cluster',
          },
          external: null,
          excluded: [
            { address: '10.0.2.6', port: 8080, view: 'internal', reason: 'not-local' },
            { address: '10.0.2.7', port: 8080, view: 'internal', reason: 'not-ready' },
          ],
        },
      ],
      healthChecks: [],
      topology: [],
      problems: [{ object: 'Service shop/web', field: 'spec.externalIPs[0]', message: 'not an IP address: "nope"' }],
    });
  });

  test('what it prints of a real recording is what the schema says', () => {
    const text = readFileSync(join(root, 'docs/schema/compiled-services.schema.json'), 'utf8');
    const schema = z.fromJSONSchema(JSON.parse(text) as Parameters<typeof z.fromJSONSchema>[0]);
    const { status, stdout } = compile(...recording);
    expect(status).toBe(0);
    const document: unknown = JSON.parse(stdout);
    expect(schema.safeParse(document).error).toBeUndefined();
    expect(schema.safeParse({ ...(document as object), extra: 1 }).success).toBe(false);
    const { frontends } = document as { frontends: readonly object[] };
    expect(frontends).toHaveLength(12);
    expect(schema.safeParse({ ...(document as object), frontends: [{ ...frontends[0], kind: 'Other' }] }).success).toBe(
      false,
    );
  });

  test('the table of a real recording shows both families and all protocols', () => {
    const { status, stdout } = compile(...recording, '-o', 'table');
    expect(status).toBe(0);
    expect(stdout).toContain('[fd00:10:96::1557]:53/UDP');
    expect(stdout).toMatch(/shop\/web:http +ClusterIP +10\.96\.219\.219:80\/TCP +internal +10\.244\.1\.5:8080, /);
  });

  test('what can be read is compiled although something cannot, and the exit code says so', () => {
    const broken = file('broken.yaml', 'kind: Service\n  bad: [');
    const { status, stdout, stderr } = compile(file('web.yaml', MANIFESTS), broken);
    expect(status).toBe(2);
    expect(stderr).toContain(broken);
    expect((JSON.parse(stdout) as { frontends: unknown[] }).frontends).toHaveLength(1);
  });

  test.each([
    ['a file that is not there', () => [join(directory, 'absent.yaml')], 'absent.yaml'],
    ['an event line that is not JSON', () => [file('bad.events.ndjson', '{"type":"ADDED"\n')], 'bad.events.ndjson'],
    [
      'an unknown configuration key',
      () => [file('web.yaml', MANIFESTS), '--config', file('odd.yaml', `${CONFIG}nodeNam: x\n`)],
      'nodeName',
    ],
  ])('%s ends with exit code 2 and a line that names it', (_what, args, named) => {
    const { status, stderr } = compile(...args());
    expect(status).toBe(2);
    expect(stderr).toContain(named);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});

const incident = ['late-slice', 'lost-delete'].map((name) => `fixtures/incidents/${name}/cluster.events.ndjson`);

describe('tandem compile --watch-stream', () => {
  test('tells each event that changed something, and how many did not', () => {
    const { status, stdout } = compile(...recording, '--watch-stream', '--node-name', 'Node1 ');
    expect(status).toBe(0);
    const blocks = stdout.split(/\n(?=\S)/);
    const late = blocks.find((block) => block.startsWith('2026-11-22T14:42:56.017200471Z'));
    expect(late?.split('\n')).toEqual([
      '2026-11-22T14:42:56.017200471Z  MODIFIED EndpointSlice shop/web-7jbxk  [fixtures/rolling-update/endpointslices.events.ndjson line 15]',
      '  shop/web:echo  ClusterIP 10.96.219.219:53/UDP',
      '    - 10.244.1.2:8081 on node1: terminating while others are ready',
      '    + 10.244.1.5:8081 on node1 (was left out: not ready)',
      '  shop/web:http  ClusterIP 10.96.219.219:80/TCP',
      '    - 10.244.1.2:8080 on node1: terminating while others are ready',
      '    + 10.244.1.5:8080 on node1 (was left out: not ready)',
    ]);
    const counts = /^(\d+) events: (\d+) changed something, (\d+) nothing/.exec(blocks.at(-1) ?? '');
    const [events, changed, unchanged] = (counts ?? []).slice(1).map(Number);
    expect(Number(changed) + Number(unchanged)).toBe(events);
    // All but the lines of the summary.
    expect(blocks).toHaveLength(Number(changed) + 2);
  });

  test('as lines of JSON, by the schema, and the same from standard input', () => {
    const { stdout } = compile(...recording, '--watch-stream', '-o', 'ndjson');
    const lines = stdout.trim().split('\n');
    for (const line of lines) expect(complaints('changes-line', JSON.parse(line))).toEqual([]);
    const first = JSON.parse(lines[0] ?? '') as { readonly changes: object };
    expect(complaints('changes-line', { ...first, extra: 1 })).not.toEqual([]);
    expect(complaints('changes-line', { ...first, changes: { ...first.changes, owners: 1 } })).not.toEqual([]);
    const [file = ''] = incident;
    const piped = compileOf(readFileSync(join(root, file), 'utf8'), '-', '--watch-stream');
    expect(piped.stdout.replaceAll('standard input', file)).toBe(compile(file, '--watch-stream').stdout);
  });

  test('manifests are the state before the first event', () => {
    const deleted = { type: 'DELETED', object: { kind: 'Service', metadata: { name: 'web', namespace: 'shop' } } };
    const stream = file('deleted.events.ndjson', `${JSON.stringify(deleted)}\n`);
    const { stdout } = compile(file('web.yaml', MANIFESTS), stream, '--watch-stream');
    expect(stdout).toContain('(no time)  DELETED Service shop/web');
    expect(stdout).toContain('  gone: shop/web:http  ClusterIP 10.96.0.1:80/TCP');
    expect(stdout).toContain('1 events: 1 changed something, 0 nothing; at the end 0 Services with 0 frontends');
  });
});

describe('tandem compile --diff', () => {
  const other = MANIFESTS.replace('internalTrafficPolicy: Local', 'internalTrafficPolicy: Cluster');

  test('two files: what would change, and exit code 0', () => {
    const files = [file('web.yaml', MANIFESTS), file('other.yaml', other)];
    const { status, stdout } = compile('--diff', ...files, '--node-name', 'node-a');
    expect(status).toBe(0);
    expect(stdout.split('\n').slice(1)).toEqual([
      '  shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '    + 10.0.2.6:8080 on node-b (was left out: not on this node)',
      '    when empty: dropped without an answer -> refused at once',
      '    1 -> 2 backends',
      '',
    ]);
    const json = compile('--diff', ...files, '-o', 'json');
    const document = JSON.parse(json.stdout) as { readonly equal: boolean };
    expect(complaints('compiled-difference', document)).toEqual([]);
    expect(complaints('compiled-difference', { ...document, equal: 1 })).not.toEqual([]);
    expect(document.equal).toBe(false);
    const same = compile('--diff', files[0] ?? '', files[0] ?? '', '-o', 'json');
    expect(JSON.parse(same.stdout)).toMatchObject({ equal: true, changes: { frontends: [], node: [] } });
  });

  test('folders, whose other files are not manifests', () => {
    for (const [name, text] of [
      ['before', MANIFESTS],
      ['after', other],
    ] as const) {
      mkdirSync(join(directory, name, 'deep/.git'), { recursive: true });
      writeFileSync(join(directory, name, 'deep/web.yml'), text);
      writeFileSync(join(directory, name, 'package.json'), '{"name": "web"}');
      writeFileSync(join(directory, name, 'deep/.git/hidden.yaml'), 'kind: [');
      writeFileSync(join(directory, name, 'notes.txt'), 'not read');
    }
    const { status, stdout, stderr } = compile(
      '--diff',
      join(directory, 'before'),
      join(directory, 'after'),
      '--node-name',
      'node-a',
    );
    expect({ status, lines: stdout.split('\n').length }).toEqual({ status: 0, lines: 6 });
    expect(stderr).toContain('1 documents without a kind not read');
    mkdirSync(join(directory, 'empty'));
    const none = compile(join(directory, 'empty'));
    expect(none.status).toBe(2);
    expect(none.stderr).toContain('empty: no *.yaml, *.yml, *.json or *.ndjson in this folder');
  });

  test('another configuration, given either way', () => {
    const [first, second] = [file('one.yaml', CONFIG), file('two.yaml', `${CONFIG}masqueradeAll: true\n`)];
    const web = file('web.yaml', MANIFESTS);
    const changed = "    the backend sees: a pod's own address, for other clients this node's -> this node's address\n";
    for (const words of [
      [web, '--config', first, '--diff-config', second],
      ['--diff', web, web, '--config', first, '--config', second],
    ]) {
      const { status, stdout } = compile(...words);
      expect(status).toBe(0);
      expect(stdout).toMatch(/^from \S+ to \S+:\n {2}shop\/web:http {2}ClusterIP 10\.96\.0\.1:80\/TCP\n/);
      expect(stdout.endsWith(changed)).toBe(true);
    }
  });

  test.each([
    ['one file', ['--diff', 'a.yaml'], 'compile: --diff of 1 files; give two'],
    ['a form it has not', ['--diff', 'a', 'b', '-o', 'table'], '--diff has no -o table; there are text, json'],
    ['a stream at once', ['a', '--watch-stream', '--diff-config', 'b'], '--watch-stream and a difference'],
    ['three configurations', ['a', '--config', 'b', '--config', 'c'], '2 times --config'],
  ])('%s is refused', (_what, words, message) => {
    const { status, stdout, stderr } = compile(...words);
    expect({ status, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 2, stdout: '', lines: 1 });
    expect(stderr).toContain(message);
  });
});

test('objects that stand twice are named, and the last one counts', () => {
  const { stdout, stderr } = compile(
    file('web.yaml', MANIFESTS),
    file('again.yaml', MANIFESTS.replace('10.96.0.1', '10.96.0.9')),
  );
  expect(stderr).toMatch(
    /Service shop\/web stands twice, \S+web\.yaml line 2 and \S+again\.yaml line 2: the last one counts/,
  );
  expect((JSON.parse(stdout) as { frontends: { address: string }[] }).frontends[0]?.address).toBe('10.96.0.9');
});
