// SPDX-License-Identifier: Apache-2.0
/** Datagram programs are attached only while a frontend of UDP exists, for its family and the sockets that can reach it. */
import { expect, test } from 'vitest';
import { createLoop } from '../../../agent/loop.ts';
import { UDP } from '../../../core/address.ts';
import { socketHooks } from '../../../core/control/hooks.ts';
import { createDatapath, configOf } from '../../../core/datapath/datapath.ts';
import { added, deleted, NODE, service } from './objects.ts';

const connects = ['getpeername4', 'getpeername6', 'connect4', 'connect6'];

function loop(options: Pick<Parameters<typeof createLoop>[0], 'whyNot'> = {}): ReturnType<typeof createLoop> {
  const { store } = createDatapath(configOf());
  const made = createLoop({ store, node: NODE, onProblem: () => undefined, ...options });
  made.event({ type: 'LISTED', kind: 'Service', items: [] });
  made.event({ type: 'LISTED', kind: 'EndpointSlice', items: [] });
  return made;
}

const udp = (name: string, clusterIP: string) =>
  added(
    service(name, clusterIP, {
      ports: [{ name: 'dns', port: 53, protocol: 'UDP' }],
      clusterIPs: [clusterIP],
      ipFamilies: [clusterIP.includes(':') ? 'IPv6' : 'IPv4'],
    }),
  );

test('a node without UDP frontends attaches connect and getpeername only', () => {
  const node = loop();
  node.event(added(service('web', '10.96.0.1')));
  node.step();
  expect(node.socketHooks()).toEqual(connects);
});

test('IPv4 takes the answers of AF_INET6 sockets too, IPv6 needs none of IPv4, and the last one to go takes all along', () => {
  const node = loop();
  node.event(udp('four', '10.96.0.2'));
  node.step();
  expect(node.socketHooks()).toEqual(socketHooks.filter((hook) => hook !== 'sendmsg6'));
  node.event(udp('six', 'fd00::2'));
  node.step();
  expect(node.socketHooks()).toEqual(socketHooks);
  node.event(deleted(service('four', '10.96.0.2')));
  node.step();
  expect(node.socketHooks()).toEqual(socketHooks.filter((hook) => !/^(send|recv)msg4$/.test(hook)));
  node.event(deleted(service('six', 'fd00::2')));
  node.step();
  expect(node.socketHooks()).toEqual(connects);
});

test('what the programs of another build would not serve attaches nothing', () => {
  const node = loop({ whyNot: ({ protocol }) => (protocol === UDP ? 'no datagrams here' : undefined) });
  node.event(udp('four', '10.96.0.2'));
  node.step();
  expect(node.socketHooks()).toEqual(connects);
});
