// SPDX-License-Identifier: Apache-2.0
/** The configuration file: defaults, values, and errors that name line, key and remedy. */
import { expect, test } from 'vitest';

import { addressText } from '../../core/address.ts';
import { failureText } from '../../core/result.ts';
import {
  CONFIGURATION_KEYS,
  defaultConfiguration,
  readConfiguration,
  type TandemConfiguration,
} from '../../formats/config.ts';

const HEADER = 'kind: TandemConfiguration\napiVersion: tandem/v1alpha1\n';

function readOrThrow(text: string): TandemConfiguration {
  const read = readConfiguration({ name: 'tandem.yaml', bytes: Buffer.from(text) });
  if (!read.ok) throw new Error(failureText(read.error));
  return read.value;
}

function failureOf(text: string): string {
  const read = readConfiguration({ name: 'tandem.yaml', bytes: Buffer.from(text) });
  return read.ok ? 'read' : failureText(read.error);
}

test('a file with nothing in it but its kind holds the defaults', () => {
  expect(readOrThrow(HEADER)).toEqual(defaultConfiguration());
  expect(defaultConfiguration()).toEqual({
    apiVersion: 'tandem/v1alpha1',
    kind: 'TandemConfiguration',
    nodeName: '',
    zone: '',
    nodeIPs: [],
    nodePortAddresses: 'primary',
    clusterCIDRs: [],
    serviceCIDRs: [],
    masqueradeAll: false,
    topology: true,
    serviceProxyName: null,
    nodePortRange: { first: 30_000, last: 32_767 },
    hostPort: false,
    externalClusterIP: false,
    algorithm: 'hash',
    selectionKey: null,
    compatibility: 'kube-proxy',
  });
});

test('the default configuration has every key that a file may have', () => {
  expect(Object.keys(defaultConfiguration())).toEqual(CONFIGURATION_KEYS);
});

test('every key is read, from YAML and from JSON', () => {
  const values = {
    kind: 'TandemConfiguration',
    apiVersion: 'tandem/v1alpha1',
    nodeName: 'node-a',
    zone: 'z1',
    nodeIPs: ['192.0.2.10', '2001:db8::10'],
    nodePortAddresses: ['192.0.2.0/24'],
    clusterCIDRs: ['10.0.0.0/16'],
    serviceCIDRs: ['10.96.0.0/16', 'fd00:96::/112'],
    masqueradeAll: true,
    topology: false,
    serviceProxyName: 'tandem',
    nodePortRange: '20000-20100',
    hostPort: true,
    algorithm: 'maglev',
    selectionKey: '0123456789abcdef',
    compatibility: 'kube-proxy',
  };
  const read = readOrThrow(JSON.stringify(values));
  expect(read.nodeIPs.map(addressText)).toEqual(values.nodeIPs);
  expect(read.nodePortAddresses).toMatchObject([{ length: 120 }]);
  expect(read.serviceCIDRs.map(({ length }) => length)).toEqual([112, 112]);
  expect(read.nodePortRange).toEqual({ first: 20_000, last: 20_100 });
  expect(read.selectionKey).toEqual([0x01234567, 0x89abcdef]);
  const { nodeName, zone, masqueradeAll, topology, serviceProxyName, hostPort, algorithm } = read;
  expect(values).toMatchObject({ nodeName, zone, masqueradeAll, topology, serviceProxyName, hostPort, algorithm });
  const yaml = Object.entries(values).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`);
  expect(readOrThrow(yaml.join(''))).toEqual(read);
});

test.each([
  ['null', 'primary'],
  ['["primary"]', 'primary'],
  ['[]', 'primary'],
])('nodePortAddresses %s', (text, expected) => {
  expect(readOrThrow(`${HEADER}nodePortAddresses: ${text}\n`).nodePortAddresses).toEqual(expected);
});

test.each([
  ['a key in wrong case', 'masqueradeall: true', 'line 3: unknown key masqueradeall; did you mean masqueradeAll?'],
  ['a misspelt key', 'serviceCIRDs: []', 'line 3: unknown key serviceCIRDs; did you mean serviceCIDRs?'],
  ['a key of kube-proxy', 'zone: a\nclusterCIDR: ""', 'line 4: unknown key clusterCIDR; did you mean clusterCIDRs?'],
  ['text for yes or no', 'topology: "yes"', 'line 3: topology: Invalid input: expected boolean, received string'],
  ['a bad address', 'nodeIPs:\n- 192.0.2.1\n- 192.0.2', 'line 5: nodeIPs[1]: address "192.0.2": not an IP address'],
  [
    'a bad range',
    'clusterCIDRs: [10.0.0.0/33]',
    'line 3: clusterCIDRs[0]: range "10.0.0.0/33": not an IP address range',
  ],
  [
    'primary among ranges',
    'nodePortAddresses: [primary, 10.0.0.0/8]',
    'line 3: nodePortAddresses: not null, ["primary"] or a list of address ranges',
  ],
  [
    'a range of ports that goes down',
    'nodePortRange: 32767-30000',
    'line 3: nodePortRange: not a range of ports such as 30000-32767: "32767-30000"',
  ],
  ['a short key', 'selectionKey: "0123"', 'line 3: selectionKey: not 16 hexadecimal digits'],
  ['another algorithm', 'algorithm: random', 'line 3: algorithm: Invalid option: expected one of "hash"|"maglev"'],
  ['a second document', '---\nzone: b', 'line 4: a second document'],
  ['a key twice', 'zone: a\nzone: b', 'line 4: Map keys must be unique'],
])('%s is refused by line and key', (_, text, expected) => {
  expect(failureOf(`${HEADER}${text}\n`)).toBe(`tandem.yaml ${expected}`);
});

test.each([
  ['', 'tandem.yaml: the file is empty; begin with kind: TandemConfiguration'],
  ['- 1\n', 'tandem.yaml line 1: Invalid input: expected object, received array'],
  [
    'apiVersion: tandem/v1alpha1\nkind: Configuration\n',
    'tandem.yaml line 2: kind: Invalid input: expected "TandemConfiguration"',
  ],
  [
    'apiVersion: tandem/v2\nkind: TandemConfiguration\n',
    'tandem.yaml line 1: apiVersion: Invalid input: expected "tandem/v1alpha1"',
  ],
])('%j is not a configuration', (text, expected) => {
  expect(failureOf(text)).toBe(expected);
});

test('a file that is missing is a failure', () => {
  const read = readConfiguration('/nowhere/tandem.yaml');
  expect(read.ok ? 'read' : failureText(read.error)).toBe('/nowhere/tandem.yaml: cannot be opened: ENOENT');
});
