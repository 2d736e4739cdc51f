// SPDX-License-Identifier: Apache-2.0
/** The rules of the Service contract by number, as far as ClusterIP and what all kinds share, asked of the oracle. */
import { describe, expect, test } from 'vitest';
import type { ClusterObject, EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { createOracle } from '../../core/oracle.ts';
import { answerText } from '../../core/oracle/answer.ts';
import { ask, conditions, elsewhere, endpoint, NODE, OPTIONS, question, slice, web, WEB } from './oracle/world.ts';

const ONE = slice('a', [endpoint('10.0.0.1')]);
const PERMITTED = 'permitted shop/web:http 10.0.0.1:8080';
const UNKNOWN_PORT = 'refuse-unknown-port shop/web';

describe('which Services and frontends', () => {
  test.each<[string, ServiceObject, string]>([
    ['a ClusterIP', web(), PERMITTED],
    ['an unknown type', web({ type: 'Strange' }), PERMITTED],
    ['type NodePort', web({ type: 'NodePort' }), PERMITTED],
    ['type LoadBalancer', web({ type: 'LoadBalancer' }), PERMITTED],
    ['an empty ClusterIP', web({ clusterIP: '', clusterIPs: ['10.96.0.1'] }), 'drop-unallocated'],
    ['ClusterIP None', web({ clusterIP: 'None', clusterIPs: ['10.96.0.1'] }), 'drop-unallocated'],
    ['type ExternalName', web({ type: 'ExternalName' }), 'drop-unallocated'],
  ])('A1 %s', (_name, object, expected) => {
    expect(ask([object, ONE], WEB)).toBe(expected);
  });

  test('A2 a Service with any service-proxy-name is not ours, and the label may come and go', () => {
    const oracle = createOracle(OPTIONS);
    const labelled = (value: string): ServiceObject => web({}, { 'service.kubernetes.io/service-proxy-name': value });
    const after = (object: ServiceObject): string => {
      oracle.apply({ type: 'MODIFIED', object });
      return answerText(oracle.answer(question(WEB)));
    };
    oracle.apply({ type: 'ADDED', object: ONE });
    expect([web(), labelled('other'), web(), labelled(''), web()].map(after)).toEqual([
      PERMITTED,
      'not-a-service',
      PERMITTED,
      'not-a-service',
      PERMITTED,
    ]);
  });

  test('A2 a proxy with a name of its own serves the Services that carry it, and no others', () => {
    const options = { ...OPTIONS, serviceProxyName: 'mine' };
    expect(ask([web({}, { 'service.kubernetes.io/service-proxy-name': 'mine' }), ONE], WEB, options)).toBe(PERMITTED);
    expect(ask([web(), ONE], WEB, options)).toBe('not-a-service');
  });

  test('A3 a headless slice brings no endpoints, its Service refuses; the label may come and go', () => {
    const oracle = createOracle(OPTIONS);
    const headless = slice('a', [endpoint('10.0.0.1')], { labels: { 'service.kubernetes.io/headless': '' } });
    oracle.apply({ type: 'ADDED', object: web() });
    const after = (object: EndpointSliceObject): string => {
      oracle.apply({ type: 'MODIFIED', object });
      return answerText(oracle.answer(question(WEB)));
    };
    expect([headless, ONE, headless].map(after)).toEqual([
      'refuse shop/web:http no-endpoints',
      PERMITTED,
      'refuse shop/web:http no-endpoints',
    ]);
  });

  test('A4 one number on TCP, UDP and SCTP is three frontends, and removing one leaves the others', () => {
    const protocols = ['TCP', 'UDP', 'SCTP'];
    const ports = (names: string[]): ServiceObject =>
      web({ ports: names.map((name) => ({ name, port: 80, protocol: name })) });
    const slices = protocols.map((name, index) =>
      slice(name, [endpoint(`10.0.0.${index + 1}`)], { ports: [{ name, port: 8080, protocol: name }] }),
    );
    const answers = (service: ServiceObject): string[] =>
      protocols.map((name) => ask([service, ...slices], `10.96.0.1:80/${name}`));
    expect(answers(ports(protocols))).toEqual([
      'permitted shop/web:TCP 10.0.0.1:8080',
      'permitted shop/web:UDP 10.0.0.2:8080',
      'permitted shop/web:SCTP 10.0.0.3:8080',
    ]);
    expect(answers(ports(['TCP', 'SCTP']))).toEqual([
      'permitted shop/web:TCP 10.0.0.1:8080',
      UNKNOWN_PORT,
      'permitted shop/web:SCTP 10.0.0.3:8080',
    ]);
  });

  test("A4 of two ports of one name and protocol the first is the Service's", () => {
    const twice = web({ ports: [80, 81].map((port) => ({ name: 'http', port, protocol: 'TCP' })) });
    expect([WEB, '10.96.0.1:81/TCP'].map((text) => ask([twice, ONE], text))).toEqual([PERMITTED, UNKNOWN_PORT]);
  });

  test('A4 a port of the same name but another protocol has endpoints of its own', () => {
    const dns = web({
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns', port: 53, protocol: 'TCP' },
      ],
    });
    const udp = slice('a', [endpoint('10.0.0.1')], { ports: [{ name: 'dns', port: 5353, protocol: 'UDP' }] });
    expect(ask([dns, udp], '10.96.0.1:53/UDP')).toBe('permitted shop/web:dns 10.0.0.1:5353');
    expect(ask([dns, udp], '10.96.0.1:53/TCP')).toBe('refuse shop/web:dns no-endpoints');
  });

  test('A8 leading zeros are decimal, and what cannot be parsed is skipped without harm to the rest', () => {
    expect(ask([web({ clusterIP: '010.096.000.001' }), slice('a', [endpoint('010.000.000.001')])], WEB)).toBe(
      PERMITTED,
    );
    const broken = web({
      clusterIPs: ['10.96.0.1', 'nonsense'],
      ipFamilies: ['IPv4', 'IPv6'],
      externalIPs: ['nonsense', '198.51.100.7'],
      ports: [
        { name: 'bad', port: 70000 },
        { name: 'worse', port: 80, protocol: 'XTP' },
        { name: 'http', port: 80 },
      ],
    });
    expect(ask([broken, slice('a', [endpoint('nonsense'), endpoint('10.0.0.1')])], WEB)).toBe(PERMITTED);
    expect(ask([broken, ONE], '198.51.100.7:80/TCP')).toBe(PERMITTED);
  });

  test('A8 objects with fields missing or of a wrong kind are read as far as they go', () => {
    const mess = JSON.parse(`[
      {"kind":"Service"}, {"kind":"Service","metadata":{"name":"x","namespace":"shop"}},
      {"kind":"Service","metadata":{"name":"y","namespace":"shop"},"spec":{"clusterIP":7,"ports":"none"}},
      {"kind":"EndpointSlice"}, {"kind":"EndpointSlice","metadata":{"name":"x","namespace":"shop"},"endpoints":null},
      {"kind":"EndpointSlice","metadata":{"name":"b","namespace":"shop","labels":{"kubernetes.io/service-name":"web"}},
       "addressType":"IPv4","ports":[null,{"name":"http","port":"8080"}],"endpoints":[null,{"addresses":[5]},{"addresses":"10.0.0.9"}]},
      {"kind":"Node"}, {"kind":"Pod","spec":{"containers":[{"ports":[null]}]}}
    ]`) as ClusterObject[];
    expect(ask([...mess, web(), ONE], WEB)).toBe(PERMITTED);
  });
});

describe('ClusterIP frontends', () => {
  test('B1 a pod and a process of the node get one usable endpoint at its target port', () => {
    const oracle = createOracle(OPTIONS);
    for (const object of [web(), slice('a', [endpoint('10.0.0.1'), elsewhere('10.0.0.2')])])
      oracle.apply({ type: 'ADDED', object });
    for (const client of ['pod', 'process'] as const) {
      expect(answerText(oracle.answer(question(WEB, client)))).toBe(`${PERMITTED} 10.0.0.2:8080`);
    }
  });

  test('B1 eTP never applies to a ClusterIP, iTP does', () => {
    const far = slice('a', [elsewhere('10.0.0.1')]);
    const external = { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30080 }] };
    expect(ask([web({ ...external, externalTrafficPolicy: 'Local' }), far], WEB)).toBe(PERMITTED);
    expect(ask([web({ ...external, internalTrafficPolicy: 'Local' }), far], WEB)).toBe(
      'drop shop/web:http no-local-endpoints',
    );
  });

  test.each([
    ['an unknown port of a live ClusterIP', '10.96.0.1:81/TCP', UNKNOWN_PORT],
    ['a known port with another protocol', '10.96.0.1:80/UDP', UNKNOWN_PORT],
    ['a free address of a service range', '10.96.7.7:80/TCP', 'drop-unallocated'],
    ['a free address of the IPv6 range', '[fd00:96::7]:80/TCP', 'drop-unallocated'],
    ['an address outside of every range', '10.97.0.1:80/TCP', 'not-a-service'],
    ['a backend asked for directly', '10.0.0.1:8080/TCP', 'not-a-service'],
    ['ICMP to a live ClusterIP (B5)', '10.96.0.1:0/1', 'unsupported protocol shop/web protocol 1'],
    ['ICMP to a free address', '10.96.7.7:0/1', 'drop-unallocated'],
  ])('B4 %s', (_name, text, expected) => {
    expect(ask([web(), ONE], text)).toBe(expected);
  });

  test('B4 without a service range no address is unallocated, live ClusterIPs refuse all the same', () => {
    const options = { nodeName: NODE };
    expect(ask([web(), ONE], '10.96.7.7:80/TCP', options)).toBe('not-a-service');
    expect(ask([web(), ONE], '10.96.0.1:81/TCP', options)).toBe(UNKNOWN_PORT);
  });

  test('B4 a Service without ports still owns its address', () => {
    expect(ask([web({ ports: [] })], WEB)).toBe(UNKNOWN_PORT);
  });

  test('B14 the target port is the slice port of that name, never spec.targetPort', () => {
    const named = web({
      ports: [
        { name: 'http', port: 80, targetPort: 'www' },
        { name: 'admin', port: 81, targetPort: 7 },
      ],
    });
    const first = slice('a', [endpoint('10.0.0.1')], {
      ports: [
        { name: 'http', port: 8080 },
        { name: 'admin', port: 9090 },
      ],
    });
    const second = slice('b', [endpoint('10.0.0.2')], { ports: [{ name: 'http', port: 8888 }] });
    expect(ask([named, first, second], WEB)).toBe(`${PERMITTED} 10.0.0.2:8888`);
    expect(ask([named, first, second], '10.96.0.1:81/TCP')).toBe('permitted shop/web:admin 10.0.0.1:9090');
  });

  test('B14 an empty name is a name, a nil name is ignored', () => {
    const unnamed = web({ ports: [{ port: 80 }] });
    const withName = (name: string | null): EndpointSliceObject =>
      slice('a', [endpoint('10.0.0.1')], { ports: [{ name, port: 8080, protocol: 'TCP' }] });
    expect(ask([unnamed, withName('')], WEB)).toBe('permitted shop/web 10.0.0.1:8080');
    expect(ask([unnamed, withName(null)], WEB)).toBe('refuse shop/web no-endpoints');
  });

  test('B15 with publishNotReadyAddresses ready wins, even terminating and beside others', () => {
    const published = endpoint('10.0.0.1', { conditions: conditions('TFT') });
    expect(ask([web(), slice('a', [published, endpoint('10.0.0.2')])], WEB)).toBe(`${PERMITTED} 10.0.0.2:8080`);
  });

  const named = [{ name: 'http', port: 81, protocol: 'TCP' }];
  test.each<[string, ServiceObject, string[]]>([
    [
      'to ExternalName and its address withdrawn',
      web({ type: 'ExternalName', clusterIP: '' }),
      ['drop-unallocated', 'drop-unallocated'],
    ],
    ['to NodePort', web({ type: 'NodePort' }), [PERMITTED, 'drop-unallocated']],
    ['to another ClusterIP', web({ clusterIP: '10.96.0.2' }), ['drop-unallocated', PERMITTED]],
    ['to another port', web({ ports: named }), [UNKNOWN_PORT, 'drop-unallocated']],
  ])('B16 a Service that changes %s, and back', (_name, changed, expected) => {
    const oracle = createOracle(OPTIONS);
    const answers = (): string[] => [WEB, '10.96.0.2:80/TCP'].map((text) => answerText(oracle.answer(question(text))));
    for (const object of [ONE, web()]) oracle.apply({ type: 'ADDED', object });
    const before = answers();
    oracle.apply({ type: 'MODIFIED', object: changed });
    expect(answers()).toEqual(expected);
    oracle.apply({ type: 'MODIFIED', object: web() });
    expect(answers()).toEqual(before);
    oracle.apply({ type: 'DELETED', object: web() });
    expect(answers()).toEqual(['drop-unallocated', 'drop-unallocated']);
  });

  test('B16 an external address that comes or goes on a live Service, its ClusterIP untouched', () => {
    const oracle = createOracle(OPTIONS);
    const answers = (): string[] =>
      [WEB, '198.51.100.7:80/TCP'].map((text) => answerText(oracle.answer(question(text))));
    for (const object of [ONE, web()]) oracle.apply({ type: 'ADDED', object });
    oracle.apply({ type: 'MODIFIED', object: web({ externalIPs: ['198.51.100.7'] }) });
    expect(answers()).toEqual([PERMITTED, PERMITTED]);
    oracle.apply({ type: 'MODIFIED', object: web() });
    expect(answers()).toEqual([PERMITTED, 'not-a-service']);
  });

  test('B16 what a new list no longer names is gone, other kinds stay', () => {
    const oracle = createOracle(OPTIONS);
    for (const object of [ONE, web()]) oracle.apply({ type: 'ADDED', object });
    oracle.apply({ type: 'LISTED', kind: 'EndpointSlice', items: [] });
    expect(answerText(oracle.answer(question(WEB)))).toBe('refuse shop/web:http no-endpoints');
    oracle.apply({ type: 'LISTED', kind: 'EndpointSlice', items: [ONE] });
    expect(answerText(oracle.answer(question(WEB)))).toBe(PERMITTED);
    oracle.apply({ type: 'LISTED', kind: 'Service', items: [] });
    expect(answerText(oracle.answer(question(WEB)))).toBe('drop-unallocated');
    expect(oracle.frontends()).toEqual([]);
  });

  test('E affinity does not change the permitted set', () => {
    const sticky = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } } };
    expect(ask([web(sticky), slice('a', [endpoint('10.0.0.1'), endpoint('10.0.0.2')])], WEB)).toBe(
      `${PERMITTED} 10.0.0.2:8080`,
    );
  });
});

describe('no endpoints', () => {
  const far = (text: string): ClusterObject => slice('a', [elsewhere('10.0.0.1', { conditions: conditions(text) })]);
  const refused = 'refuse shop/web:http no-endpoints';
  const dropped = 'drop shop/web:http no-local-endpoints';
  test.each<[string, string, ClusterObject[], string]>([
    ['C1 no slice at all', 'Cluster', [], refused],
    ['C1 only unusable endpoints', 'Cluster', [far('FTF')], refused],
    ['C1 iTP=Local and nothing usable anywhere', 'Local', [far('FFT')], refused],
    ['C2 iTP=Local and a ready one elsewhere', 'Local', [far('TTF')], dropped],
    ['C2 iTP=Local and only a terminating, serving one elsewhere', 'Local', [far('FTT')], dropped],
    [
      'C2 iTP=Local and a local one',
      'Local',
      [far('TTF'), slice('b', [endpoint('10.0.0.2')])],
      'permitted shop/web:http 10.0.0.2:8080',
    ],
    ['C2 iTP=Cluster takes the one elsewhere', 'Cluster', [far('TTF')], PERMITTED],
  ])('%s', (_name, internalTrafficPolicy, slices, expected) => {
    expect(ask([web({ internalTrafficPolicy }), ...slices], WEB)).toBe(expected);
  });

  test('C2 other frontends of the Service are not dropped with it', () => {
    const object = web({ internalTrafficPolicy: 'Local', externalIPs: ['198.51.100.7'] });
    expect(ask([object, far('TTF')], WEB)).toBe(dropped);
    expect(ask([object, far('TTF')], '198.51.100.7:80/TCP')).toBe(PERMITTED);
  });
});
