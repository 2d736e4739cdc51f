// SPDX-License-Identifier: Apache-2.0
/** A cluster of a given size, put into the maps of a twin by the control plane itself. */
import { createLoop } from '../agent/loop.ts';
import { PLAIN_NODE } from '../core/control/nodes.ts';
import { addressText, addressFromIPv4 } from '../core/address.ts';
import type { ClusterEvent, EndpointSliceObject, ServiceObject } from '../core/objects.ts';
import { failureText } from '../core/result.ts';
import type { MapStore } from '../core/store.ts';

/** Word of the first Service's address, 10.96.0.1; the next ones follow. */
export const FIRST_SERVICE = 0x0a600001;
export const FIRST_BACKEND = 0x0ac80001; // 10.200.0.1
export const SERVICE_PORT = 80;
export const BACKEND_PORT = 8080;

export type BenchProtocol = 'TCP' | 'UDP';
const PORT_NAMES: { readonly [protocol in BenchProtocol]: string } = { TCP: 'http', UDP: 'dns' };

function serviceOf(index: number, protocols: readonly BenchProtocol[]): ServiceObject {
  const ip = addressText(addressFromIPv4(FIRST_SERVICE + index));
  return {
    kind: 'Service',
    metadata: { name: `s${index}`, namespace: 'bench' },
    spec: {
      type: 'ClusterIP',
      clusterIP: ip,
      clusterIPs: [ip],
      ipFamilies: ['IPv4'],
      ports: protocols.map((protocol) => ({ name: PORT_NAMES[protocol], port: SERVICE_PORT, protocol })),
    },
  };
}

function sliceOf(index: number, backends: number, protocols: readonly BenchProtocol[]): EndpointSliceObject {
  return {
    kind: 'EndpointSlice',
    metadata: { name: `s${index}-x`, namespace: 'bench', labels: { 'kubernetes.io/service-name': `s${index}` } },
    addressType: 'IPv4',
    endpoints: Array.from({ length: backends }, (_, one) => ({
      addresses: [addressText(addressFromIPv4(FIRST_BACKEND + index * backends + one))],
      conditions: { ready: true },
      nodeName: 'node-b',
      targetRef: { kind: 'Pod', uid: `${index}-${one}` },
    })),
    ports: protocols.map((protocol) => ({ name: PORT_NAMES[protocol], port: BACKEND_PORT, protocol })),
  };
}

/** The lists that such a cluster begins with. */
export function clusterEvents(
  services: number,
  backends: number,
  protocols: readonly BenchProtocol[] = ['TCP'],
): readonly ClusterEvent[] {
  const indexes = Array.from({ length: services }, (_, index) => index);
  return [
    { type: 'LISTED', kind: 'Service', items: indexes.map((index) => serviceOf(index, protocols)) },
    { type: 'LISTED', kind: 'EndpointSlice', items: indexes.map((index) => sliceOf(index, backends, protocols)) },
  ];
}

/** Programs `services` Services with `backends` backends each, and a port for each protocol, into the store. */
export function programCluster(
  store: MapStore,
  services: number,
  backends: number,
  protocols: readonly BenchProtocol[] = ['TCP'],
): void {
  const node = { ...PLAIN_NODE, nodeName: 'node-a' };
  const loop = createLoop({
    store,
    node,
    onProblem: (failure) => {
      throw new Error(failureText(failure));
    },
  });
  for (const event of clusterEvents(services, backends, protocols)) loop.event(event);
  if (!loop.step().isSettled) throw new Error('the cluster could not be programmed');
}
