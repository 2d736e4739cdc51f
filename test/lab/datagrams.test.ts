// SPDX-License-Identifier: Apache-2.0
/** Datagrams by the socket road: pods' real clients, translated when they connect or send; a vanished pod's are ended. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLoop, type Loop } from '../../agent/loop.ts';
import { PLAIN_NODE } from '../../core/control/nodes.ts';
import { maps, REASON_SOCKET_ENDED } from '../../core/layout.gen.ts';
import type { EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { failureText } from '../../core/result.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { createSocketHooks, type SocketHooks } from '../../kernel/sockethooks.ts';
import { KernelStore } from '../../kernel/store.ts';
import { openSweeper, sweepUntilQuiet } from '../../kernel/sweep.ts';
import type { Client } from '../../lab/driver.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import { value, webs, wrongChecksums } from './nodes.ts';

const OBJECT = resolve(import.meta.dirname, '../../bpf/tandem.bpf.o');
const timeoutMs = 2_000;
const four = { address: '10.96.0.53', port: 53, timeoutMs };
const six = { address: 'fd00:96::53', port: 53, timeoutMs };

const dns: ServiceObject = {
  kind: 'Service',
  metadata: { namespace: 'shop', name: 'dns', uid: 'dns' },
  spec: {
    type: 'ClusterIP',
    clusterIP: four.address,
    clusterIPs: [four.address, six.address],
    ipFamilies: ['IPv4', 'IPv6'],
    ports: [{ name: 'dns', port: 53, targetPort: 8053, protocol: 'UDP' }],
  },
};

function dnsSlice(family: 'IPv4' | 'IPv6', pods: readonly (keyof typeof webs)[]): EndpointSliceObject {
  return {
    kind: 'EndpointSlice',
    addressType: family,
    metadata: {
      name: `dns-${family.toLowerCase()}`,
      namespace: 'shop',
      labels: { 'kubernetes.io/service-name': 'dns' },
    },
    endpoints: pods.map((pod) => ({
      addresses: [webs[pod][family]],
      conditions: { ready: true },
      targetRef: { kind: 'Pod', name: pod },
    })),
    ports: [{ name: 'dns', port: 8053, protocol: 'UDP' }],
  };
}

let lab: Lab;
let object: LoadedObject;
let loop: Loop;
let hooks: SocketHooks;
let client: Client;

/** The Service has these pods from now on, and the node the programs that it needs. */
function become(pods: readonly (keyof typeof webs)[]): void {
  for (const family of ['IPv4', 'IPv6'] as const) loop.event({ type: 'MODIFIED', object: dnsSlice(family, pods) });
  expect(loop.step().failures).toEqual([]);
  value(hooks.want(loop.socketHooks()));
}

beforeAll(async () => {
  lab = value(await startLab(twoNodes('labu', { ipv6: true })));
  const loaded = loadObject({ object: readFileSync(OBJECT), name: OBJECT, settings: { selectionKey: [5, 6] } });
  if (!loaded.ok) throw new Error(failureText(loaded.error));
  object = loaded.value;
  const node = { ...PLAIN_NODE, nodeName: 'node1' };
  loop = createLoop({ store: new KernelStore(object), node, onProblem: () => undefined });
  loop.event({ type: 'LISTED', kind: 'Service', items: [dns] });
  loop.event({ type: 'LISTED', kind: 'EndpointSlice', items: [] });
  hooks = createSocketHooks(object, lab.node('node1').cgroup);
  become(['web1', 'web3']);
  client = value(await lab.startClient('client1'));
});

afterAll(async () => {
  hooks?.[Symbol.dispose]();
  object?.[Symbol.dispose]();
  expect(await lab.stop()).toEqual({ ok: true, value: null });
});

describe('datagrams of a pod', () => {
  test.each([
    ['IPv4, connected', four, true, '10.96.0.53:53'],
    ['IPv4, unconnected', four, false, '10.96.0.53:53'],
    ['IPv6, connected', six, true, '[fd00:96::53]:53'],
    ['IPv6, unconnected', six, false, '[fd00:96::53]:53'],
  ])('%s: every socket keeps its pod, all pods get some, the Service answers', async (_, to, isConnected, shown) => {
    const first = await Promise.all(Array.from({ length: 16 }, () => client.datagram({ ...to, isConnected })));
    expect(new Set(first.map(({ result }) => result))).toEqual(new Set(['answered']));
    expect(new Set(first.map(({ by }) => by))).toEqual(new Set(['web1', 'web3']));
    expect(new Set(first.map(({ peerName }) => peerName))).toEqual(new Set([shown]));
    const again = await Promise.all(first.map(({ id }) => client.datagram({ ...to, socket: id })));
    expect(again.map(({ by, peerName }) => `${by} ${peerName}`)).toEqual(first.map(({ by }) => `${by} ${shown}`));
    expect(wrongChecksums(lab)).toEqual({});
  });

  test('when its pod vanishes a connected socket is ended, one that sends goes on elsewhere', async () => {
    const many = { length: 8 };
    const connected = await Promise.all(Array.from(many, () => client.datagram({ ...four, isConnected: true })));
    const sending = await Promise.all(Array.from(many, () => client.datagram(four)));
    become(['web1']);
    using sweeper = value(openSweeper(object));
    const swept = await sweepUntilQuiet({
      sweeper,
      namespaces: () => lab.spec.pods.map(({ name }) => lab.pod(name).namespacePath),
      pause: (durationMs) => sleep(durationMs),
      pauseMs: 50,
    });
    // Those of the test before were connected too.
    expect(swept.sockets).toBeGreaterThanOrEqual(connected.filter(({ by }) => by === 'web3').length);
    const store = new KernelStore(object);
    expect(Number(value(store.get(maps.counters, REASON_SOCKET_ENDED))?.packets)).toBe(swept.sockets);
    const after = await Promise.all(connected.map(({ id }) => client.datagram({ ...four, socket: id })));
    for (const [index, report] of after.entries()) {
      if (connected[index]?.by === 'web1') expect(report).toMatchObject({ result: 'answered', by: 'web1' });
      else {
        expect(report).toMatchObject({ result: 'error', by: null });
        expect(report.errno).toMatch(/^(ECONNABORTED|EDESTADDRREQ)$/);
      }
    }
    const moved = await Promise.all(sending.map(({ id }) => client.datagram({ ...four, socket: id })));
    expect(new Set(moved.map(({ by, peerName }) => `${by} ${peerName}`))).toEqual(new Set(['web1 10.96.0.53:53']));
  });

  test('without endpoints both are refused, and without UDP frontends nothing of datagrams is attached', async () => {
    become([]);
    const refused = [await client.datagram({ ...four, isConnected: true }), await client.datagram(six)];
    expect(refused.map(({ result, errno }) => `${result} ${errno}`)).toEqual([
      'refused ECONNREFUSED',
      'refused ECONNREFUSED',
    ]);
    loop.event({ type: 'DELETED', object: dns });
    loop.step();
    value(hooks.want(loop.socketHooks()));
    expect(hooks.attached.filter((hook) => /msg/.test(hook))).toEqual([]);
  });
});
