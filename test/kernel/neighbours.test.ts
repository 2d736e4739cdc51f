// SPDX-License-Identifier: Apache-2.0
/** Two nodes on one machine, one cgroup inside the other, the same ClusterIP: each translates its own sockets only. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { createLoop } from '../../agent/loop.ts';
import { maps } from '../../core/layout.gen.ts';
import { failureText } from '../../core/result.ts';
import { setOperation } from '../../core/store.ts';
import { addressFromIPv4, parseAddress } from '../../core/address.ts';
import { insideNamespace } from '../../kernel/netns.ts';
import { loadObject } from '../../kernel/object.ts';
import { createSocketHooks } from '../../kernel/sockethooks.ts';
import { KernelStore } from '../../kernel/store.ts';
import { worldEvents, worldNode, type World } from '../../proof/world.ts';
import { HOOKS, SocketStage, value, type Socket } from './socketstage.ts';

const OBJECT = resolve(import.meta.dirname, '../../bpf/tandem.bpf.o');
const ENOBUFS = 105;
const dns = '10.96.0.1:53';
const addresses = ['10.1.0.5', '10.1.0.6', '10.2.0.1'];

/** dns on one pod. */
function cluster(last: number): World {
  return {
    services: [
      {
        name: 'dns',
        addresses: [0x0a600001],
        isLocal: false,
        ports: [{ name: 'dns', port: 53, targetPort: 8053, protocol: 'UDP' }],
        endpoints: [{ address: 0x0a010000 + last, state: 'ready', isLocal: true, pod: `pod-${last}` }],
      },
    ],
  };
}

test('an outer and an inner node with overlapping ClusterIPs leave each other’s sockets alone', () => {
  using stage = new SocketStage({ addresses, namespaces: 2, settings: { netnsKnown: 1 } });
  const ipv4 = addressFromIPv4(0x0a020001);
  stage.row(0, { ipv4 });
  stage.become(cluster(5));
  const settings = { netnsKnown: 1, selectionKey: [3, 4] as const };
  const loaded = loadObject({ object: readFileSync(OBJECT), name: OBJECT, settings });
  if (!loaded.ok) throw new Error(failureText(loaded.error));
  using inner = loaded.value;
  const store = new KernelStore(inner);
  const loop = createLoop({ store, node: worldNode, onProblem: () => undefined });
  for (const event of worldEvents(cluster(6))) loop.event(event);
  expect(loop.step().failures).toEqual([]);
  const cookie = stage.cookie(1);
  const row = { cookie, flags: 0, ipv4, ipv6: value(parseAddress('::')) };
  value(store.batch([setOperation(maps.netnsRows, 0, row), setOperation(maps.netns, cookie, 0)]).result);
  using hooks = createSocketHooks(inner, stage.cgroupPath);
  value(hooks.want(HOOKS));
  for (const [index, last] of [5, 6].entries()) {
    const pods = [5, 6].map((pod) => [pod, stage.pod(`10.1.0.${pod}:8053`, index)] as const);
    const who = (): readonly number[] => pods.filter(([, pod]) => pod.poll() !== undefined).map(([pod]) => pod);
    const socket: Socket = stage.udp('inet', index);
    expect(socket.send(dns)).toBe(0);
    expect(who()).toEqual([last]);
    expect(socket.connect(dns)).toBe(0);
    socket.write();
    expect(who()).toEqual([last]);
    expect(socket.peer()).toBe(dns);
  }
});

test('a socket that has no room for its rows is refused by name: ENOBUFS, counted', () => {
  using stage = new SocketStage({ addresses });
  stage.become(cluster(5));
  value(insideNamespace(stage.paths[0] ?? '', () => writeFileSync('/proc/sys/net/core/optmem_max', '64')));
  const socket = stage.udp();
  expect([socket.connect(dns), socket.send(dns)]).toEqual([ENOBUFS, ENOBUFS]);
  expect(stage.count('no-storage')).toBe(2);
  value(insideNamespace(stage.paths[0] ?? '', () => writeFileSync('/proc/sys/net/core/optmem_max', '20480')));
  expect(socket.connect(dns)).toBe(0);
});
