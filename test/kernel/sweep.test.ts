// SPDX-License-Identifier: Apache-2.0
/** Connected UDP sockets whose backend is gone are ended, in every network namespace, and no others. */
import { describe, expect, test } from 'vitest';
import type { EndpointState, World, WorldEndpoint } from '../../proof/world.ts';
import { openSweeper, sweepUntilQuiet } from '../../kernel/sweep.ts';
import { SocketStage, value, type Socket } from './socketstage.ts';

const ECONNABORTED = 103;
const dns = '10.96.0.1:53';
const dnsSix = '[fd00:96::1]:53';
const chat = '10.96.0.2:9';
const old = '10.1.0.5';
const other = '10.1.0.6';
const oldSix = 'fd00:1::5';
const addresses = [old, other, oldSix, 'fd00:1::6'];

function endpoint(address: number | string, pod: string, state: EndpointState = 'ready'): WorldEndpoint {
  return { address, state, isLocal: true, pod };
}

const first = endpoint(0x0a010005, 'dns-1');
const firstSix = endpoint('fd00:1::5', 'dns-1');

/** `dns` has these endpoints; `chat` has the other pod, always. */
function cluster(endpoints: readonly WorldEndpoint[]): World {
  const ports = (port: number) => [{ name: 'u', port, targetPort: 8080, protocol: 'UDP' as const }];
  return {
    services: [
      { name: 'dns', addresses: [0x0a600001, 'fd00:96::1'], isLocal: false, ports: ports(53), endpoints },
      {
        name: 'chat',
        addresses: [0x0a600002],
        isLocal: false,
        ports: ports(9),
        endpoints: [endpoint(0x0a010006, 'chat-1')],
      },
    ],
  };
}

/** In one namespace: who must be ended when the first pod goes, and who must live. */
function sockets(stage: SocketStage, index: number): { readonly ended: Socket[]; readonly alive: Socket[] } {
  stage.pod(`${old}:8080`, index);
  const connected = (family: 'inet' | 'inet6', to: string): Socket => {
    const socket = stage.udp(family, index);
    expect(socket.connect(to)).toBe(0);
    return socket;
  };
  const dissolved = connected('inet', dns);
  expect(dissolved.disconnect()).toBe(0);
  const elsewhere = connected('inet', dns);
  expect(elsewhere.connect(`${old}:8080`)).toBe(0);
  const unconnected = stage.udp('inet', index);
  expect(unconnected.send(dns)).toBe(0);
  const both = connected('inet', chat);
  expect(both.send(dns)).toBe(0);
  return {
    ended: [connected('inet', dns), connected('inet6', '[::ffff:10.96.0.1]:53'), connected('inet6', dnsSix)],
    alive: [connected('inet', `${old}:8080`), connected('inet', chat), dissolved, elsewhere, unconnected, both],
  };
}

function errors(list: readonly Socket[]): readonly number[] {
  return list.map((socket) => socket.error());
}

describe('the sweep', () => {
  test('ends the connected sockets of a backend that is gone in every namespace, by storage and not by address', async () => {
    using stage = new SocketStage({ addresses, namespaces: 3 });
    stage.become(cluster([first, firstSix]));
    using sweeper = value(openSweeper(stage.object));
    const all = stage.paths.map((_, index) => sockets(stage, index));
    expect(sweeper.sweep(stage.paths)).toMatchObject({ sockets: 0, namespaces: 3, failures: [] });
    stage.become(cluster([]));
    const asked: number[] = [];
    const swept = await sweepUntilQuiet({
      sweeper,
      namespaces: () => [...stage.paths, '/run/netns/tandem-gone'],
      pause: (durationMs) => Promise.resolve(void asked.push(durationMs)),
    });
    expect(swept).toMatchObject({ sockets: 9, sweeps: 3, failures: [] });
    expect([...swept.ended.values()].reduce((sum, count) => sum + count, 0)).toBe(9);
    expect(asked).toEqual([1_000, 1_000]);
    for (const { ended, alive } of all) {
      expect(errors(ended)).toEqual(ended.map(() => ECONNABORTED));
      expect(errors(alive).filter((errno) => errno === ECONNABORTED)).toEqual([]);
    }
    expect(stage.count('socket-ended')).toBe(9);
  });

  test('visits only the namespaces that it is told of', () => {
    using stage = new SocketStage({ addresses, namespaces: 2 });
    stage.become(cluster([first]));
    using sweeper = value(openSweeper(stage.object));
    const [near, far] = [stage.udp('inet', 0), stage.udp('inet', 1)];
    expect([near.connect(dns), far.connect(dns)]).toEqual([0, 0]);
    stage.become(cluster([]));
    expect(sweeper.sweep(stage.paths.slice(1)).sockets).toBe(1);
    expect([near.error(), far.error()]).toEqual([0, ECONNABORTED]);
  });

  test('spares a backend that terminates and serves, ends one whose address passed to another pod', () => {
    using stage = new SocketStage({ addresses });
    stage.become(cluster([first]));
    using sweeper = value(openSweeper(stage.object));
    const socket = stage.udp();
    expect(socket.connect(dns)).toBe(0);
    stage.become(cluster([endpoint(0x0a010005, 'dns-1', 'terminating')]));
    expect(sweeper.sweep(stage.paths).sockets).toBe(0);
    stage.become(cluster([endpoint(0x0a010005, 'dns-2')]));
    expect(sweeper.sweep(stage.paths).sockets).toBe(1);
    expect(socket.error()).toBe(ECONNABORTED);
  });

  test('ends thousands at once and counts each', () => {
    using stage = new SocketStage({ addresses });
    stage.become(cluster([first]));
    using sweeper = value(openSweeper(stage.object));
    const many = Array.from({ length: 3_000 }, () => stage.udp());
    for (const socket of many) expect(socket.connect(dns)).toBe(0);
    stage.become(cluster([]));
    expect(sweeper.sweep(stage.paths).sockets).toBe(3_000);
    expect(new Set(errors(many))).toEqual(new Set([ECONNABORTED]));
    expect(stage.count('socket-ended')).toBe(3_000);
    expect(sweeper.sweep(stage.paths).sockets).toBe(0);
  });
});
