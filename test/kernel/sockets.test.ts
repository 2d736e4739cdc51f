// SPDX-License-Identifier: Apache-2.0
/** What applications see of their sockets: real clients and pods in one network namespace, the production programs between. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addressFromIPv4, parseAddress } from '../../core/address.ts';
import {
  NETNS_SOCKETS_OFF,
  NETNS_SOCKETS_ON,
  SCOPE_HOST,
  SCOPE_OFF,
  type ConfigRecord,
} from '../../core/layout.gen.ts';
import { SOCK_RAW } from '../../kernel/libc.ts';
import { createSocketHooks } from '../../kernel/sockethooks.ts';
import type { World, WorldEndpoint, WorldService } from '../../proof/world.ts';
import { HOOKS, SocketStage, value, type Socket } from './socketstage.ts';

const ECONNREFUSED = 111;
const pods = ['10.1.0.5', '10.1.0.6', '10.1.0.7'];
const podsSix = ['fd00:1::5', 'fd00:1::6', 'fd00:1::7'];
const clients = ['10.2.0.1', '10.2.0.2', 'fd00:2::1'];
const dns = '10.96.0.1:53';
const dnsSix = '[fd00:96::1]:53';
const mapped = '[::ffff:10.96.0.1]:53';
const twin = '10.96.0.2:53';
const kept = '10.96.0.3:53';
const empty = '10.96.0.4:53';

function endpoint(address: number | string, pod: string): WorldEndpoint {
  return { address, state: 'ready', isLocal: true, pod };
}

function service(name: string, last: number, endpoints: readonly WorldEndpoint[], more = {}): WorldService {
  const ports = [{ name: 'dns', port: 53, targetPort: 8053, protocol: 'UDP' as const }];
  return { name, addresses: [0x0a600000 + last, `fd00:96::${last}`], isLocal: false, ports, endpoints, ...more };
}

/** dns and twin have the first of these pods, kept has all. */
function cluster(count = 3, first = 0): World {
  const both = [5, 6, 7].map((last) => [
    endpoint(0x0a010000 + last, `pod-${last}`),
    endpoint(`fd00:1::${last}`, `pod-${last}`),
  ]);
  const some = both.slice(first, first + count).flat();
  return {
    services: [
      service('dns', 1, some),
      service('twin', 2, some),
      service('kept', 3, both.flat(), { affinitySeconds: 60 }),
      service('empty', 4, []),
    ],
  };
}

let stage: SocketStage;
const servers = new Map<string, Socket>();

function start(settings: Partial<ConfigRecord> = {}): void {
  stage = new SocketStage({ addresses: [...pods, ...podsSix, ...clients], settings });
  stage.become(cluster());
  servers.clear();
  for (const pod of pods) servers.set(`${pod}:8053`, stage.pod(`${pod}:8053`));
  for (const pod of podsSix) servers.set(`[${pod}]:8053`, stage.pod(`[${pod}]:8053`));
}

/** Whichever pod has something answers it; its own address. */
function answered(): string {
  for (const [place, server] of servers) {
    const from = server.poll();
    if (from === undefined) continue;
    server.send(from, place);
    return place;
  }
  return 'nobody';
}

describe('a UDP socket', () => {
  beforeAll(() => start());
  afterAll(() => stage[Symbol.dispose]());
  beforeEach(() => stage.become(cluster()));

  const families = [
    ['inet', dns, '10.1.0'],
    ['inet6', dnsSix, '[fd00:1::'],
    ['inet6', mapped, '10.1.0'],
  ] as const;
  test.each(families)('that connects (%s to %s) speaks to one pod, and sees the Service', (family, place, network) => {
    using socket = stage.udp(family);
    expect(socket.connect(place)).toBe(0);
    expect(socket.peer()).toBe(place.replace('[::ffff:10.96.0.1]', '10.96.0.1'));
    for (let times = 0; times < 3; times++) {
      socket.write();
      const pod = answered();
      expect(pod.startsWith(network)).toBe(true);
      expect(socket.receive()).toBe(`${socket.peer()} ${pod}`);
    }
  });

  test.each(families)('that only sends (%s to %s) keeps its pod, and the Service answers', (family, place) => {
    using socket = stage.udp(family);
    expect(socket.send(place)).toBe(0);
    const pod = answered();
    expect(socket.receive()).toBe(`${place.replace('[::ffff:10.96.0.1]', '10.96.0.1')} ${pod}`);
    for (let times = 0; times < 5; times++) {
      expect(socket.send(place)).toBe(0);
      expect(answered()).toBe(pod);
    }
  });

  test('that sends goes on to another pod when its own is gone, and the rest stay where they are', () => {
    using socket = stage.udp();
    expect(socket.send(dns)).toBe(0);
    const pod = answered();
    const gone = pods.findIndex((address) => pod.startsWith(`${address}:`));
    stage.become(cluster(1, gone === 0 ? 1 : 0));
    const before = stage.count('reselected');
    expect(socket.send(dns)).toBe(0);
    const next = answered();
    expect(next).not.toBe(pod);
    expect(stage.count('reselected') - before).toBe(1);
    stage.become(cluster());
    expect(socket.send(dns)).toBe(0);
    expect(answered()).toBe(next);
  });

  test('with two Services on one pod sees the one it spoke to last', () => {
    stage.become(cluster(1));
    using socket = stage.udp();
    expect([socket.send(dns), socket.send(twin)]).toEqual([0, 0]);
    answered();
    expect(socket.receive()).toMatch(/^10\.96\.0\.2:53 /);
    expect(socket.send(dns)).toBe(0);
    answered();
    answered();
    expect(socket.receive()).toMatch(/^10\.96\.0\.1:53 /);
  });

  test('hears strangers, and a pod that it spoke to directly, by their own names', () => {
    stage.become(cluster(1));
    using socket = stage.udp();
    expect(socket.bind('10.2.0.1:4000')).toBe(0);
    expect(socket.send(dns)).toBe(0);
    answered();
    expect(socket.receive()).toMatch(/^10\.96\.0\.1:53 /);
    using stranger = stage.udp();
    expect(stranger.bind('10.1.0.5:9999')).toBe(0);
    expect(stranger.send('10.2.0.1:4000', 'hello')).toBe(0);
    expect(socket.receive()).toBe('10.1.0.5:9999 hello');
    expect(socket.send('10.1.0.5:8053')).toBe(0);
    answered();
    expect(socket.receive()).toMatch(/^10\.1\.0\.5:8053 /);
  });

  test('of which another sent shows nothing: two sockets of one client, one pod', () => {
    stage.become(cluster(1));
    using sender = stage.udp();
    using other = stage.udp();
    expect(other.bind('10.2.0.1:4001')).toBe(0);
    expect(sender.send(dns)).toBe(0);
    answered();
    expect(servers.get('10.1.0.5:8053')?.send('10.2.0.1:4001', 'hello')).toBe(0);
    expect(other.receive()).toBe('10.1.0.5:8053 hello');
  });

  test('that is connected sends to an explicit address there alone', () => {
    using socket = stage.udp();
    expect(socket.connect(dns)).toBe(0);
    using elsewhere = stage.udp();
    expect(elsewhere.bind('10.2.0.2:4002')).toBe(0);
    expect(socket.send('10.2.0.2:4002', 'there')).toBe(0);
    expect(elsewhere.receive()).toMatch(/ there$/);
    expect(socket.send(twin)).toBe(0);
    expect(answered()).not.toBe('nobody');
    expect(socket.peer()).toBe(dns);
    expect(socket.receive()).not.toMatch(/^10\.1\./);
  });

  test('that is dissolved and connects to a pod directly has that pod for its peer', () => {
    stage.become(cluster(1));
    using socket = stage.udp();
    expect(socket.connect(dns)).toBe(0);
    expect(socket.disconnect()).toBe(0);
    expect(socket.peer()).toBe('none');
    expect(socket.connect('10.1.0.5:8053')).toBe(0);
    expect(socket.peer()).toBe('10.1.0.5:8053');
    socket.write();
    answered();
    expect(socket.receive()).toMatch(/^10\.1\.0\.5:8053 /);
    expect(socket.connect(twin)).toBe(0);
    expect(socket.peer()).toBe(twin);
  });

  test('that is bound keeps its address and port', () => {
    using socket = stage.udp();
    expect(socket.bind('10.2.0.2:4003')).toBe(0);
    expect(socket.connect(dns)).toBe(0);
    expect(socket.name()).toBe('10.2.0.2:4003');
    socket.write();
    answered();
    expect(socket.receive()).toMatch(/^10\.96\.0\.1:53 /);
  });

  test('is refused where a Service has no endpoints, and stays what it was', () => {
    using socket = stage.udp();
    expect(socket.connect(dns)).toBe(0);
    expect([socket.connect(empty), socket.send(empty), socket.send('10.96.0.1:54')]).toEqual(
      Array.from({ length: 3 }, () => ECONNREFUSED),
    );
    expect(socket.peer()).toBe(dns);
    socket.write();
    answered();
    expect(socket.receive()).toMatch(/^10\.96\.0\.1:53 /);
  });

  test('may speak to more Services than it has rows: the oldest is chosen anew, and the same', () => {
    const many = Array.from({ length: 12 }, (_, index) =>
      service(`many-${index}`, 20 + index, [endpoint(0x0a010005, 'pod-5'), endpoint(0x0a010006, 'pod-6')]),
    );
    stage.become({ services: many });
    using socket = stage.udp();
    const places = many.map((_, index) => `10.96.0.${20 + index}:53`);
    const visit = (): string[] => places.map((place) => `${socket.send(place)} ${answered()} ${socket.receive()}`);
    const first = visit();
    for (const [index, line] of first.entries()) expect(line).toContain(` ${places[index]} `);
    const before = stage.count('row-overwritten');
    expect(visit()).toEqual(first);
    expect(stage.count('row-overwritten') - before).toBe(12);
  });
});

describe('a client that a Service keeps', () => {
  beforeAll(() => start());
  afterAll(() => stage[Symbol.dispose]());

  test('has one pod for all its bound sockets, connected or not; another may have another', () => {
    const podsOf = (client: string): Set<string> => {
      const found = new Set<string>();
      for (let times = 0; times < 6; times++) {
        using socket = stage.udp();
        expect(socket.bind(`${client}:0`)).toBe(0);
        if (times % 2 === 0) expect(socket.send(kept)).toBe(0);
        else {
          expect(socket.connect(kept)).toBe(0);
          socket.write();
        }
        found.add(answered());
      }
      return found;
    };
    expect(podsOf('10.2.0.1').size).toBe(1);
    expect(podsOf('10.2.0.2').size).toBe(1);
  });

  test('is left to the packets while its address is unknown, and known by its namespace’s', () => {
    const before = stage.count('client-unknown');
    using unknown = stage.udp();
    unknown.send(kept);
    expect(answered()).toBe('nobody');
    expect(stage.count('client-unknown') - before).toBe(1);
    stage.row(0, { ipv4: addressFromIPv4(0x0a020001), ipv6: value(parseAddress('fd00:2::1')) });
    using bound = stage.udp();
    expect([bound.bind('10.2.0.1:0'), bound.send(kept)]).toEqual([0, 0]);
    const pod = answered();
    expect(pod).not.toBe('nobody');
    for (let times = 0; times < 4; times++) {
      using socket = stage.udp();
      expect(socket.send(kept)).toBe(0);
      expect(answered()).toBe(pod);
    }
  });
});

describe('sockets that are not ours', () => {
  const cases: readonly (readonly [string, Partial<ConfigRecord>, number | undefined, boolean])[] = [
    ['everything, and none is known', {}, undefined, true],
    ['everything, of known namespaces', { netnsKnown: 1 }, undefined, false],
    ['everything, of known namespaces, with a row', { netnsKnown: 1 }, 0, true],
    ['everything, and the pod says off', {}, NETNS_SOCKETS_OFF, false],
    ['the host alone', { socketScope: SCOPE_HOST }, 0, false],
    ['the host alone, and the pod says everything', { socketScope: SCOPE_HOST }, NETNS_SOCKETS_ON, true],
    ['off', { socketScope: SCOPE_OFF }, NETNS_SOCKETS_ON, false],
  ];
  test.each(cases)('scope: %s', (_, settings, flags, isOurs) => {
    start(settings);
    try {
      if (flags !== undefined) stage.row(0, { flags });
      using socket = stage.udp();
      socket.send(dns);
      expect(answered() !== 'nobody').toBe(isOurs);
      expect(stage.count('out-of-scope')).toBe(isOurs ? 0 : 1);
    } finally {
      stage[Symbol.dispose]();
    }
  });

  test('the node’s own namespace is in scope by its cookie, whatever is known of others', () => {
    start();
    const cookie = stage.cookie(0);
    stage[Symbol.dispose]();
    // Cookies are given out in order: the next namespace's, once it is made and asked for.
    start({ socketScope: SCOPE_HOST, netnsKnown: 1, netnsCookie: [Number(cookie) + 1, 0] });
    try {
      const isNext = stage.cookie(0) === cookie + 1n;
      using socket = stage.udp();
      socket.send(dns);
      expect(answered() !== 'nobody').toBe(isNext);
    } finally {
      stage[Symbol.dispose]();
    }
  });

  test('raw and ICMP sockets pass untouched', () => {
    start();
    try {
      using raw = stage.open(SOCK_RAW, 'inet', 253);
      expect(raw.connect(dns)).toBe(0);
      expect(raw.peer()).toMatch(/^10\.96\.0\.1:/);
      using ping = stage.open(SOCK_RAW, 'inet', 1);
      expect(ping.connect('10.96.0.4:0')).toBe(0);
    } finally {
      stage[Symbol.dispose]();
    }
  });

  test('datagrams pass untouched while only the programs of connect are attached', () => {
    stage = new SocketStage({ addresses: pods, hooks: [] });
    using hooks = createSocketHooks(stage.object, stage.cgroupPath);
    try {
      stage.become(cluster());
      servers.clear();
      for (const pod of pods) servers.set(`${pod}:8053`, stage.pod(`${pod}:8053`));
      using socket = stage.udp();
      const goes = (): boolean => {
        socket.send(dns);
        return answered() !== 'nobody';
      };
      expect(goes()).toBe(false);
      value(hooks.want(HOOKS.filter((hook) => !/msg/.test(hook))));
      expect(goes()).toBe(false);
      value(hooks.want(HOOKS));
      expect(hooks.attached.toSorted()).toEqual(HOOKS.toSorted());
      expect(goes()).toBe(true);
      value(hooks.want([]));
      expect(goes()).toBe(false);
      expect(hooks.attached).toEqual([]);
    } finally {
      stage[Symbol.dispose]();
    }
  });
});
