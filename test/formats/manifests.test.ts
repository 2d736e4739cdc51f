// SPDX-License-Identifier: Apache-2.0
/** Manifests: YAML and JSON, one document or many, Lists, and errors with their lines. */
import { expect, test } from 'vitest';

import { failureText } from '../../core/result.ts';
import type { InputSource } from '../../formats/input.ts';
import { readManifests, type Manifests } from '../../formats/manifests.ts';

function file(text: string, name = 'web.yaml'): InputSource {
  return { name, bytes: Buffer.from(text) };
}

/** One line for each object: `web.yaml:3 Service shop/web`. */
function told({ objects }: Manifests): string[] {
  return objects.map(({ object, file: name, line }) => {
    const { namespace = '-', name: objectName } = object.metadata ?? {};
    return `${name}:${line} ${object.kind} ${namespace}/${objectName}`;
  });
}

test('several documents, kinds of others among them', () => {
  const manifests = readManifests([
    file(`# the shop
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10}
---
---
kind: Node
metadata: {name: node-a}
`),
    file(JSON.stringify({ kind: 'Service', metadata: { name: 'api' } }), 'api.json'),
  ]);
  expect(told(manifests)).toEqual([
    'web.yaml:6 Service shop/web',
    'web.yaml:12 Node -/node-a',
    'api.json:1 Service default/api',
  ]);
  expect([...manifests.skipped]).toEqual([['Namespace', 1]]);
  expect(manifests.failures).toEqual([]);
});

test('the items of lists, with and without their kind', () => {
  const manifests = readManifests([
    file(`kind: List
apiVersion: v1
items:
- kind: Service
  metadata: {name: web, namespace: shop}
- kind: Secret
  metadata: {name: s}
- kind: EndpointSlice
  apiVersion: discovery.k8s.io/v1
  metadata:
    name: web-1
    namespace: shop
---
kind: ServiceList
apiVersion: v1
items:
- metadata: {name: one}
- metadata: {name: two}
`),
  ]);
  expect(told(manifests)).toEqual([
    'web.yaml:4 Service shop/web',
    'web.yaml:8 EndpointSlice shop/web-1',
    'web.yaml:17 Service default/one',
    'web.yaml:18 Service default/two',
  ]);
  expect([...manifests.skipped]).toEqual([['Secret', 1]]);
});

test('JSON of usual size has lines', () => {
  const items = [{ kind: 'Pod', metadata: { name: 'p' } }, { kind: 'Pod' }];
  const manifests = readManifests([file(JSON.stringify({ kind: 'List', items }, undefined, 2), 'list.json')]);
  expect(told(manifests)).toEqual(['list.json:4 Pod default/p']);
  expect(manifests.failures.map(failureText)).toEqual(['list.json line 10 (items[1]): a Pod without metadata.name']);
});

test('large JSON is read without lines, the item is named', () => {
  const items = Array.from({ length: 20_000 }, (_, index) => ({
    metadata: { name: index === 7 ? '' : `s${index}`, namespace: 'shop' },
  }));
  const manifests = readManifests([file(JSON.stringify({ kind: 'ServiceList', items }), 'large.json')]);
  expect(manifests.objects.length).toBe(19_999);
  expect(manifests.failures.map(failureText)).toEqual([
    'large.json line 1 (items[7]): a Service without metadata.name',
  ]);
});

test.each([
  ['broken YAML', 'kind: Service\nmetadata: {name: web\n---\nkind: Pod\nmetadata: {name: p}\n', 'web.yaml line 3: '],
  [
    'a key that stands twice',
    'kind: Pod\nmetadata: {name: p}\nkind: Pod\n',
    'web.yaml line 3: Map keys must be unique',
  ],
  ['text', '---\nhello\n', 'web.yaml line 2: not an object'],
  ['no kind', '\nmetadata: {name: web}\n', 'web.yaml line 2: an object without a kind'],
  ['no name', '\nkind: Service\n', 'web.yaml line 2: a Service without metadata.name'],
  ['items that are no list', 'kind: List\nitems: 5\n', 'web.yaml line 2: "items" is not a list'],
  ['an alias of nothing', 'kind: Service\nmetadata: *missing\n', 'web.yaml line 1: Unresolved alias'],
  ['no end of brackets', '['.repeat(100_000), 'web.yaml line 1: '],
])('%s is a failure with its line, and the other file is read', (_, text, message) => {
  const manifests = readManifests([file(text), file('kind: Service\nmetadata: {name: api}\n', 'api.yaml')]);
  expect(manifests.failures.map(failureText)[0]).toContain(message);
  expect(told(manifests)).toContain('api.yaml:1 Service default/api');
});

test('aliases that would grow without end are refused', () => {
  const levels = Array.from({ length: 12 }, (_, index) =>
    index === 0 ? 'l0: &l0 [x, x, x, x, x]' : `l${index}: &l${index} [${`*l${index - 1}, `.repeat(10)}]`,
  );
  const manifests = readManifests([file(`kind: Service\n${levels.join('\n')}\n`)]);
  expect(manifests.failures.map(failureText)).toEqual([
    expect.stringContaining('web.yaml line 1: Excessive alias count'),
  ]);
});

test('a file that is missing or not text is a failure', () => {
  const manifests = readManifests(['/nowhere/web.yaml', { name: 'binary', bytes: Uint8Array.of(0xff, 0xfe) }]);
  expect(manifests.failures.map(failureText)).toEqual([
    '/nowhere/web.yaml: cannot be opened: ENOENT',
    'binary offset 0: not text in UTF-8',
  ]);
});
