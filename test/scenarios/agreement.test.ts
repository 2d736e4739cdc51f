// SPDX-License-Identifier: Apache-2.0
/** A dump, and an oracle, that say something else than the document are told from those that say the same. */
import { describe, expect, test } from 'vitest';
import { readScenario } from '../../formats/scenario.ts';
import { documentLines, dumpLines } from './agreement.ts';
import { playScenario } from './expand.ts';
import { oracleDifferences } from './oracle.ts';

const TEXT = `What a dump says.
rules: B9
-- config --
nodeName: node-a
nodeIPs: [192.0.2.10]
-- objects --
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.1
  ports: [{name: http, port: 80}]
  sessionAffinity: ClientIP
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [203.0.113.0/24]
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}
---
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1], nodeName: node-a}, {addresses: [10.0.0.2], nodeName: node-b}]
`;

describe('a dump', () => {
  const read = readScenario('agreement', TEXT);
  const [played] = read.ok ? playScenario(read.value) : [];
  if (played === undefined) throw new Error('the scenario was not played');
  const { document, dump } = played;

  test('says what the document says', () => {
    expect(dumpLines(dump)).toEqual(documentLines(document));
    expect(dumpLines(dump)).toMatchInlineSnapshot(`
      [
        "10.96.0.1:80/TCP cluster-ip default/web:http/TCP affinity=10800 internal [10.0.0.1:8080 active, 10.0.0.2:8080 active] external []",
        "198.51.100.1:80/TCP load-balancer default/web:http/TCP outside drop-external affinity=10800 ranges=[203.0.113.0/24] internal [10.0.0.1:8080 active, 10.0.0.2:8080 active] external [10.0.0.1:8080 active]",
      ]
    `);
  });

  const changes: readonly (readonly [what: string, from: string | RegExp, to: string])[] = [
    ['a backend less', ', 10.0.0.2:8080 active i', ''],
    ['another backend', '10.0.0.2:8080', '10.0.0.3:8080'],
    ['another state', '10.0.0.2:8080 active', '10.0.0.2:8080 terminating'],
    ['no view', /\n {2}external .*/, ''],
    ['one view for both', / {2}internal (.*\n) {2}external .*\n/, '  both $1'],
    ['another kind', 'load-balancer', 'external-ip'],
    ['another owner', 'default/web:http', 'default/api:http'],
    ['another port', ':80/TCP', ':81/TCP'],
    ['no silence', ' drop-external', ''],
    ['nobody from outside', ' outside', ''],
    ['no affinity', ' affinity=10800', ''],
    ['other ranges', '203.0.113.0/24', '203.0.113.0/25'],
    ['a frontend less', /198\.51\.100\.1:80.*\n( {2}.*\n)*/, ''],
  ];
  test.each(changes)('with %s says something else', (_, from, to) => {
    const changed = dump.replace(from, to);
    expect(changed).not.toBe(dump);
    expect(dumpLines(changed)).not.toEqual(documentLines(document));
  });
});

test('the oracle says the same of a document, and something else of another one', () => {
  const read = readScenario('agreement', TEXT);
  if (!read.ok) throw new Error(read.error.message);
  const played = playScenario(read.value);
  expect(oracleDifferences(read.value, played)).toEqual([[]]);
  const wrong = played.map((each) => ({
    ...each,
    document: {
      ...each.document,
      frontends: each.document.frontends.map((frontend) => ({ ...frontend, external: frontend.internal })),
    },
  }));
  expect(oracleDifferences(read.value, wrong)).not.toEqual([[]]);
});
