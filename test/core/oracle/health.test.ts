// SPDX-License-Identifier: Apache-2.0
/** The health check port of a load balancer: which Services have one, and which endpoints it counts (F1). */
import { describe, expect, test } from 'vitest';
import type { EndpointObject, ServiceObject } from '../../../core/objects.ts';
import { oracleOf } from '../../../core/oracle.ts';
import { conditions, elsewhere, endpoint, OPTIONS, slice, web } from './world.ts';

const SPEC = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 };

function counted(
  service: ServiceObject,
  endpoints: readonly EndpointObject[],
  ...rest: ReturnType<typeof slice>[]
): string {
  const checks = oracleOf(OPTIONS, [service, slice('a', endpoints), ...rest]).healthChecks();
  return checks.map(({ fewest, most, port, service: name }) => `${name} ${port} ${fewest} ${most}`).join('; ');
}

describe('F1 which Services have one', () => {
  test.each<[string, ServiceObject, string]>([
    ['a load balancer with eTP Local and a port', web(SPEC), 'shop/web 32000 1 1'],
    ['not with eTP Cluster', web({ ...SPEC, externalTrafficPolicy: 'Cluster' }), ''],
    ['not of another type', web({ ...SPEC, type: 'NodePort' }), ''],
    ['not without a port', web({ ...SPEC, healthCheckNodePort: 0 }), ''],
    [
      'A8 with its family open where its ClusterIP cannot be read',
      web({ ...SPEC, clusterIP: 'nonsense' }),
      'shop/web 32000 0 1',
    ],
    ['A2 not of another proxy', web(SPEC, { 'service.kubernetes.io/service-proxy-name': 'other' }), ''],
    ['A1 not without a ClusterIP', web({ ...SPEC, clusterIP: 'None' }), ''],
  ])('%s', (_name, service, expected) => {
    expect(counted(service, [endpoint('10.0.0.1')])).toBe(expected);
  });
});

describe('F1 which endpoints it counts', () => {
  const at = (number: number, text: string): EndpointObject =>
    endpoint(`10.0.0.${number}`, { conditions: conditions(text) });
  test.each([
    ['ready local ones', [at(1, 'TTF'), at(2, 'TTF'), elsewhere('10.0.0.3')], '2'],
    ['ready ones that are ending (2.2)', [at(1, 'TFT')], '1'],
    ['none that are ending, although nobody else is left', [at(1, 'FTT')], '0'],
    ['none that are not ready', [at(1, 'FTF')], '0'],
  ])('%s', (_name, endpoints, expected) => {
    expect(counted(web(SPEC), endpoints)).toBe(`shop/web 32000 ${expected} ${expected}`);
  });

  test('an address counts once for all ports, and only in the first family', () => {
    const ports = [80, 81].map((port) => ({ name: `p${port}`, port }));
    const dual = { clusterIPs: ['10.96.0.1', 'fd00:96::1'], ipFamilies: ['IPv4', 'IPv6'] };
    const both = ports.map(({ name }, index) => ({ name, port: 8080 + index, protocol: 'TCP' }));
    const four = slice('b', [endpoint('10.0.0.1'), endpoint('10.0.0.2')], { ports: both });
    const six = slice('c', [endpoint('fd00:1::1')], { ports: both });
    expect(counted(web({ ...SPEC, ...dual, ports }), [], four, six)).toBe('shop/web 32000 2 2');
  });

  test('H4 an address in two slices counts or not where they differ', () => {
    expect(counted(web(SPEC), [at(1, 'TTF')], slice('b', [at(1, 'FTF')]))).toBe('shop/web 32000 0 1');
  });
});
