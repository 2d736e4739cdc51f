// SPDX-License-Identifier: Apache-2.0
/** `tandem compile` as a person runs it: what it prints, what it accepts, and its exit codes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';

const root = join(import.meta.dirname, '../..');
const recording = ['services', 'endpointslices', 'nodes'].map(
  (kind) => `fixtures/rolling-update/${kind}.events.ndjson`,
);

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tandem-compile-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function compile(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['cli/main.ts', 'compile', ...args], { cwd: root, encoding: 'utf8' });
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
