// SPDX-License-Identifier: Apache-2.0
/** Real UDP and TCP of pods whose sockets nobody translates: fragments, errors, hairpin, shared ports, bulk. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { startNode, type RunningNode } from '../../cli/demo/node.ts';
import { applyEvent } from '../../cli/demo/stream.ts';
import { maps, reasonNames } from '../../core/layout.gen.ts';
import { sendFrame } from '../../lab/inject.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { connectStream, openDatagramSocket, type DatagramSocket, type Place } from '../../lab/podsocket.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import { fragmentsOf, frameOf } from '../kernel/wire.ts';
import { changed, families, listed, type Both, type Family, type SmallService } from './cluster.ts';
import { selectionKey, value, webs, wrongChecksums } from './nodes.ts';

const waitMs = 1_000;
let nextPort = 43_000;
const ports = [
  { name: 'dns', protocol: 'UDP', port: 53, targetPort: 5353 },
  { name: 'http', protocol: 'TCP', port: 80, targetPort: 8080 },
  { name: 'chat', protocol: 'TCP', port: 90, targetPort: 9090 },
  { name: 'nobody', protocol: 'UDP', port: 99, targetPort: 5999 },
] as const;
const clients = { IPv4: '10.244.1.6', IPv6: 'fd00:10:244:1::6' } as const;
const node1 = { IPv4: '10.88.0.11', IPv6: 'fd00:88::11' } as const;

function smallService(index: number, pod: keyof typeof webs): SmallService {
  const addresses: Both = { IPv4: `10.96.1.${index}`, IPv6: `fd00:10:96::1:${index}` };
  const node = pod === 'web1' || pod === 'web2' ? 'node1' : 'node2';
  return { name: `wide${index}`, addresses, ports, endpoints: [{ pod, node, addresses: webs[pod] }] };
}

const services = {
  wide: smallService(10, 'web3'),
  twin: smallService(11, 'web3'),
  self: smallService(12, 'web1'),
  moving: smallService(13, 'web3'),
  narrow: smallService(14, 'web3'),
} as const;

function bytes(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff));
}

function textOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

describe('pods whose sockets nobody translates', () => {
  let lab: Lab;
  let nodes: RunningNode[] = [];
  const open: Disposable[] = [];
  const counter = (reason: string): { readonly packets: number; readonly bytes: number } => {
    const { store } = nodes[0] ?? expect.unreachable('node1 runs');
    const found = value(store.get(maps.counters, reasonNames.indexOf(reason)));
    return { packets: Number(found?.packets ?? 0n), bytes: Number(found?.bytes ?? 0n) };
  };
  const count = (reason: string): number => counter(reason).packets;
  const at = (name: keyof typeof services, family: Family, port: number): Place => ({
    address: services[name].addresses[family],
    port,
  });
  const datagrams = (pod: string, family: Family, port = 0): DatagramSocket => {
    const socket = value(openDatagramSocket(lab.pod(pod).namespacePath, { isSix: family === 'IPv6', port }));
    open.push(socket);
    return socket;
  };
  const servers = new Map<string, DatagramSocket>();
  const server = (pod: string, family: Family): DatagramSocket =>
    servers.get(`${pod} ${family}`) ?? expect.unreachable(`${pod} ${family}`);

  beforeAll(async () => {
    lab = value(await startLab(twoNodes('labwide', { ipv6: true })));
    nodes = ['node1', 'node2'].map((name) => value(startNode(lab, name, { selectionKey })));
    for (const event of listed(Object.values(services))) for (const one of nodes) value(applyEvent(one, event));
    for (const family of families) {
      for (const pod of ['web1', 'web3', 'web4']) servers.set(`${pod} ${family}`, datagrams(pod, family, 5353));
    }
  });
  afterAll(async () => {
    for (const one of [...open, ...nodes]) one[Symbol.dispose]();
    expect(await lab.stop()).toEqual({ ok: true, value: null });
  });

  /** A question and its answer of as many bytes; who saw whom, and whether the bytes were right. */
  const exchange = async (
    client: DatagramSocket,
    [pod, family]: readonly [string, Family],
    question: Buffer,
    to?: Place,
  ): Promise<unknown> => {
    const sent = client.send(question, to);
    const asked = await server(pod, family).receive(waitMs);
    if (asked === undefined) return { sent, asked };
    const answer = Buffer.concat([Buffer.from(pod), asked.data]);
    const answered = server(pod, family).answer(asked, answer);
    const got = await client.receive(waitMs);
    const isWhole = question.equals(asked.data) && got?.data.equals(answer) === true;
    return { sent, answered, peer: asked.from, from: got?.from, isWhole };
  };

  const modes = families.flatMap((family) =>
    [
      { what: 'a small datagram', size: 5, reason: 'reply' },
      { what: 'a datagram of six fragments', size: 8_000, reason: 'fragmented' },
      { what: 'the largest datagram', size: family === 'IPv4' ? 65_500 : 65_480, reason: 'fragmented' },
    ].flatMap((row) => [true, false].map((isConnected) => ({ ...row, family, isConnected }))),
  );

  test.each(modes)('over $family $what is asked and answered, connected: $isConnected', async (row) => {
    const { family, isConnected, size, reason } = row;
    const to = at('wide', family, 53);
    const client = datagrams('client1', family);
    if (isConnected) expect(client.connect(to)).toBe('');
    const before = count(reason);
    const seen = await exchange(client, ['web3', family], bytes(size), isConnected ? undefined : to);
    expect(seen).toMatchObject({ sent: '', answered: '', from: textOf(to.address, 53), isWhole: true });
    expect((seen as { peer: string }).peer.replace(/:\d+$/, ':')).toBe(textOf(clients[family], 0).slice(0, -1));
    expect(count(reason)).toBeGreaterThan(before);
  });

  test.each(families)('a closed port of a backend is told over %s in the name of the Service', async (family) => {
    const to = at('wide', family, 99);
    const client = datagrams('client1', family);
    expect(client.connect(to)).toBe('');
    const before = count('related');
    expect(client.send(Buffer.from('anybody?'))).toBe('');
    expect(await client.told(waitMs)).toEqual({
      errno: 'ECONNREFUSED',
      kind: family === 'IPv4' ? '3/3' : '1/4',
      offender: to.address.includes(':') ? `[${to.address}]` : to.address,
      to: textOf(to.address, 99),
      data: Buffer.from('anybody?'),
    });
    expect(count('related') - before).toBe(1);
    // Whoever has no ear for the queue is told by his next call.
    await expect.poll(() => client.send(Buffer.from('again')), { timeout: waitMs }).toBe('ECONNREFUSED');
  });

  test.each(families)('a client that is gone is told to its backend over %s', async (family) => {
    const client = datagrams('client1', family);
    client.send(Buffer.from('ask'), at('wide', family, 53));
    const backend = server('web3', family);
    const asked = (await backend.receive(waitMs)) ?? expect.unreachable('nothing came');
    client[Symbol.dispose]();
    expect(backend.answer(asked, Buffer.from('too late'))).toBe('');
    expect(await backend.told(waitMs)).toMatchObject({
      errno: 'ECONNREFUSED',
      offender: family === 'IPv4' ? clients.IPv4 : `[${clients.IPv6}]`,
      to: asked.from,
      data: Buffer.from('too late'),
    });
  });

  test('IPv6 datagrams with hop-by-hop and destination options reach the backend of a Service', async () => {
    const client = datagrams('client1', 'IPv6');
    value(client.sendOptions());
    const to = at('wide', 'IPv6', 53);
    for (const size of [5, 4_000]) {
      expect(await exchange(client, ['web3', 'IPv6'], bytes(size), to)).toMatchObject({ isWhole: true });
    }
  });

  const sequences = families.flatMap((family) => [
    { family, sequence: [0, 1, 2], arrives: true, missing: 0 },
    { family, sequence: [0, 2, 1], arrives: true, missing: 0 },
    { family, sequence: [1, 0, 2], arrives: false, missing: 1 },
    { family, sequence: [2, 1, 0], arrives: false, missing: 2 },
  ]);

  test.each(sequences)('of fragments over $family in the order $sequence $missing come too early', async (row) => {
    const { family, sequence, arrives, missing } = row;
    const { namespace } = lab.node('node1');
    const shown = execFileSync('ip', ['-n', namespace, '-j', 'link', 'show', 'dev', lab.pod('client1').device]);
    const [{ address }] = JSON.parse(shown.toString()) as [{ address: string }];
    const payload = bytes(2_400);
    const frame = frameOf({
      protocol: 'UDP',
      from: { address: clients[family], port: nextPort },
      to: at('wide', family, 53),
      payload,
      destinationMac: address.split(':').map((part) => Number.parseInt(part, 16)),
      sourceMac: [2, 0, 0, 0, 0, 1],
    });
    const fragments = fragmentsOf(frame, 800, nextPort++);
    expect(fragments.length).toBeGreaterThanOrEqual(3);
    const before = count('first-missing');
    for (const index of [...sequence, ...fragments.keys()].filter((each, place, all) => all.indexOf(each) === place)) {
      value(sendFrame(lab.pod('client1').namespacePath, 'eth0', fragments[index] ?? expect.unreachable()));
    }
    const got = await server('web3', family).receive(arrives ? waitMs : 200);
    expect(got?.data.equals(payload)).toBe(arrives ? true : undefined);
    expect(count('first-missing') - before).toBe(missing);
  });

  /** Everything that comes until the other side ends, as text. */
  const read = async (socket: Socket): Promise<string> => {
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    await once(socket, 'close');
    return text;
  };

  test.each(families)('a pod that is its own backend hears itself over %s as the node', async (family) => {
    const before = count('hairpin');
    const to = at('self', family, 80);
    const stream = value(connectStream(lab.pod('web1').namespacePath, to, 41_000));
    const identity = JSON.parse(await read(stream)) as unknown;
    expect(identity).toMatchObject({ pod: 'web1', peer: textOf(node1[family], 41_000) });
    const client = datagrams('web1', family, 41_001);
    expect(client.connect({ ...to, port: 53 })).toBe('');
    for (const size of [5, 1_300]) {
      expect(await exchange(client, ['web1', family], bytes(size))).toMatchObject({
        peer: textOf(node1[family], 41_001),
        from: textOf(to.address, 53),
        isWhole: true,
      });
    }
    expect(count('hairpin') - before).toBeGreaterThan(8);
  });

  const orders = families.flatMap((family) => [
    { family, order: ['wide', 'twin', 'straight'] as const, port: 42_000 },
    { family, order: ['straight', 'twin', 'wide'] as const, port: 42_100 },
  ]);

  test.each(orders)('over $family one source port serves $order, all at once', async ({ family, order, port }) => {
    const { namespacePath } = lab.pod('client1');
    const placeOf = (name: (typeof order)[number], front: number, back: number): Place =>
      name === 'straight' ? { address: webs.web3[family], port: back } : at(name, family, front);
    const streams = order.map((name) => value(connectStream(namespacePath, placeOf(name, 90, 9090), port)));
    for (const [index, stream] of streams.entries()) {
      const question = `to ${order[index]}\n`;
      let text = '';
      stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      stream.write(question);
      await expect.poll(() => text, { timeout: waitMs }).toContain(question);
      expect(text).toContain('"pod":"web3"');
    }
    for (const stream of streams) stream.destroy();
    // A datagram straight to a backend does not stand aside: nobody could tell its sender that it has to.
    const asked = order.filter((name, index) => name !== 'straight' || index === 0);
    const sockets = asked.map((name) => {
      const client = datagrams('client1', family, port + 1);
      expect(client.connect(placeOf(name, 53, 5353))).toBe('');
      return client;
    });
    for (const [index, client] of sockets.entries()) {
      expect({ index, ...((await exchange(client, ['web3', family], bytes(40 + index))) as object) }).toMatchObject({
        index,
        isWhole: true,
      });
    }
  });

  test.each(families)('over %s datagrams go to another backend once theirs is removed', async (family) => {
    const client = datagrams('client1', family);
    const to = at('moving', family, 53);
    expect(client.connect(to)).toBe('');
    for (let round = 0; round < 3; round++) {
      expect(await exchange(client, ['web3', family], bytes(20))).toMatchObject({ isWhole: true });
    }
    const tell = (pod: 'web3' | 'web4'): void => {
      const moved = { ...services.moving, endpoints: smallService(13, pod).endpoints };
      for (const event of changed(moved)) for (const one of nodes) value(applyEvent(one, event));
    };
    tell('web4');
    try {
      expect(await exchange(client, ['web4', family], bytes(20))).toMatchObject({
        from: textOf(to.address, 53),
        isWhole: true,
      });
    } finally {
      tell('web3');
    }
  });

  /** What is sent to a server that echoes, and what comes back behind its first line. */
  const echoed = async (to: Place, sent: Buffer): Promise<Buffer> => {
    const stream = value(connectStream(lab.pod('client1').namespacePath, to));
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.end(sent);
    await once(stream, 'close');
    const all = Buffer.concat(chunks);
    return all.subarray(all.indexOf('\n') + 1);
  };

  test.each(families)('megabytes over %s come back as they were sent', async (family) => {
    const sent = bytes(6_000_000);
    const before = counter('known-flow');
    expect((await echoed(at('wide', family, 90), sent)).equals(sent)).toBe(true);
    // Several segments in one: the programs see what the sender's stack hands over, not what a wire would carry.
    const after = counter('known-flow');
    expect((after.bytes - before.bytes) / (after.packets - before.packets)).toBeGreaterThan(4_000);
  });

  test.each(families)('a narrower road behind the node is told over %s, and the transfer goes on', async (family) => {
    const [range, via] = family === 'IPv4' ? ['10.244.2.0/24', '10.88.0.12'] : ['fd00:10:244:2::/64', 'fd00:88::12'];
    const version = family === 'IPv4' ? '-4' : '-6';
    const route = (mtu: number): void =>
      void execFileSync('ip', [
        ...['-n', lab.node('node1').namespace, version],
        ...['route', 'change', range, 'via', via, 'dev', 'eth0', 'mtu', String(mtu)],
      ]);
    route(1_400);
    try {
      const before = count('related');
      const client = datagrams('client1', family);
      expect(client.connect(at('narrow', family, 53))).toBe('');
      expect(value(client.mtu())).toBe(1_500);
      expect(client.send(bytes(1_440))).toBe('');
      expect(await client.told(waitMs)).toMatchObject({
        errno: 'EMSGSIZE',
        to: textOf(services.narrow.addresses[family], 53),
      });
      expect(value(client.mtu())).toBe(1_400);
      expect(await exchange(client, ['web3', family], bytes(1_440))).toMatchObject({ isWhole: true });
      const sent = bytes(2_000_000);
      expect((await echoed(at('narrow', family, 90), sent)).equals(sent)).toBe(true);
      expect(count('related')).toBeGreaterThan(before);
    } finally {
      route(1_500);
    }
  });

  test('nobody has counted a wrong checksum in all of that', () => {
    expect(wrongChecksums(lab)).toEqual({});
  });

  test.each([
    {
      fault: 'ports added to a sum that a device completes',
      file: 'checksum.h',
      find: 'return checksum_fold((__u32)check + address_delta);',
      replace: 'return checksum_fold((__u32)check + address_delta + port_delta);',
      size: 40,
      wrong: { 'web3 udp': 1 },
    },
    {
      fault: 'later fragments left alone',
      file: 'verdict.h',
      find: '__u32 delta = write_addresses(ip, end, packet->family, &packet->key, translation);',
      replace:
        '__u32 delta = packet->kind == PACKET_LATER ? 0 : write_addresses(ip, end, packet->family, &packet->key, translation);',
      size: 4_000,
      wrong: {},
    },
  ])('a node with $fault loses the datagram', async ({ fault, size, wrong, ...mutant }) => {
    const built = value(buildMutant({ name: fault, ...mutant, meaning: fault, shows: /./, road: 'packets' }));
    nodes[0]?.[Symbol.dispose]();
    nodes[0] = value(startNode(lab, 'node1', { selectionKey, object: built }));
    for (const event of listed(Object.values(services))) value(applyEvent(nodes[0], event));
    const before = wrongChecksums(lab);
    const client = datagrams('client1', 'IPv4');
    expect(await exchange(client, ['web3', 'IPv4'], bytes(size), at('wide', 'IPv4', 53))).toMatchObject({
      asked: undefined,
    });
    expect({ ...before, ...wrong }).toEqual(wrongChecksums(lab));
  });
});
