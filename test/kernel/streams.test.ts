// SPDX-License-Identifier: Apache-2.0
/** Streams that begin otherwise than by a plain connect(): TCP fast open, MPTCP, after a dissolved connection. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { acceptFrom, listenOn, SOCK_STREAM } from '../../kernel/libc.ts';
import { SocketStage, value, type Socket } from './socketstage.ts';

const web = '10.96.0.1:80';
const webSix = '[fd00:96::1]:80';
const mapped = '[::ffff:10.96.0.1]:80';
const empty = '10.96.0.2:80';
const MSG_FASTOPEN = 0x20000000;
const IPPROTO_MPTCP = 262;
const ECONNREFUSED = 111;

let stage: SocketStage;
let server: Socket;
let serverSix: Socket;

beforeAll(() => {
  stage = new SocketStage({ addresses: ['10.1.0.5', '10.2.0.1', 'fd00:1::5'] });
  stage.become({
    services: [
      {
        name: 'web',
        addresses: [0x0a600001, 'fd00:96::1'],
        isLocal: false,
        ports: [{ name: 'http', port: 80, targetPort: 8080 }],
        endpoints: [
          { address: 0x0a010005, state: 'ready', isLocal: true, pod: 'web-1' },
          { address: 'fd00:1::5', state: 'ready', isLocal: true, pod: 'web-1' },
        ],
      },
      {
        name: 'empty',
        addresses: [0x0a600002],
        isLocal: false,
        ports: [{ name: 'http', port: 80, targetPort: 8080 }],
        endpoints: [],
      },
    ],
  });
  // An MPTCP listener takes plain TCP as well.
  server = stage.open(SOCK_STREAM, 'inet', IPPROTO_MPTCP);
  serverSix = stage.tcp('inet6');
  expect([server.bind('10.1.0.5:8080'), serverSix.bind('[fd00:1::5]:8080')]).toEqual([0, 0]);
  for (const { fd } of [server, serverSix]) value(listenOn(fd, 16));
});

afterAll(() => stage[Symbol.dispose]());

/** What the pod reads of its next connection, and its answer. */
function serve(from: Socket = server): string {
  const accepted = stage.adopt(value(acceptFrom(from.fd)));
  const [, read = ''] = accepted.receive().split(' ');
  accepted.write('pong');
  return read;
}

test.each([
  ['inet', web, web],
  ['inet6', webSix, webSix],
  ['inet6', mapped, web],
] as const)('a TCP connect (%s to %s) reaches the pod and shows the Service', (family, to, shown) => {
  using client = stage.tcp(family);
  expect(client.connect(to)).toBe(0);
  client.write('hello');
  expect(serve(to === webSix ? serverSix : server)).toBe('hello');
  expect(client.peer()).toBe(shown);
  expect(client.receive()).toMatch(/ pong$/);
});

test.each([
  ['inet', web, web],
  ['inet6', mapped, web],
] as const)('fast open (%s to %s) is a connect()', (family, to, shown) => {
  using client = stage.tcp(family);
  expect(client.send(to, 'early', MSG_FASTOPEN)).toBe(0);
  expect(serve()).toBe('early');
  expect(client.peer()).toBe(shown);
});

test('fast open to a Service without endpoints is refused', () => {
  using client = stage.tcp();
  expect(client.send(empty, 'early', MSG_FASTOPEN)).toBe(ECONNREFUSED);
});

test('MPTCP is TCP: translated and refused; getpeername() shows the backend', () => {
  const before = stage.count('translated');
  using client = stage.open(SOCK_STREAM, 'inet', IPPROTO_MPTCP);
  expect(client.connect(web)).toBe(0);
  client.write('many');
  expect(serve()).toBe('many');
  expect(stage.count('translated') - before).toBe(1);
  // The kernel connects by a subflow, whose cookie is not that of the socket which is asked.
  expect(client.peer()).toBe('10.1.0.5:8080');
  using refused = stage.open(SOCK_STREAM, 'inet', IPPROTO_MPTCP);
  expect(refused.connect(empty)).toBe(ECONNREFUSED);
});

test('a connection that was dissolved leaves no Service behind for the next one', () => {
  using client = stage.tcp();
  expect(client.connect(web)).toBe(0);
  client.write('one');
  expect(serve()).toBe('one');
  expect(client.disconnect()).toBe(0);
  expect(client.connect('10.1.0.5:8080')).toBe(0);
  client.write('two');
  expect(serve()).toBe('two');
  expect(client.peer()).toBe('10.1.0.5:8080');
});

test('bind() before connect() keeps address and port', () => {
  using client = stage.tcp();
  expect(client.bind('10.2.0.1:41000')).toBe(0);
  expect(client.connect(web)).toBe(0);
  expect(client.name()).toBe('10.2.0.1:41000');
  expect(client.peer()).toBe(web);
  client.write('bound');
  expect(serve()).toBe('bound');
});

test('an accepted socket inherits nothing: its peer is the client', () => {
  using client = stage.tcp();
  expect(client.bind('10.2.0.1:41001')).toBe(0);
  expect(client.connect(web)).toBe(0);
  const accepted = stage.adopt(value(acceptFrom(server.fd)));
  expect(accepted.peer()).toBe('10.2.0.1:41001');
});
