// SPDX-License-Identifier: Apache-2.0
/** Sockets that travel: the socket's network namespace and cgroup decide, and never those of the process that calls. */
import { setTimeout } from 'node:timers/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../kernel/attach.ts';
import { addressFromIPv4 } from '../../core/address.ts';
import { duplicate } from '../../kernel/libc.ts';
import { messageTo, openRing, OP_CONNECT, OP_SENDMSG } from './iouring.ts';
import { SocketStage, value, type Socket } from './socketstage.ts';

const CHILD = resolve(import.meta.dirname, 'passing.child.ts');
const dns = '10.96.0.1:53';
const pod = '10.1.0.5:8053';

let stage: SocketStage;
let server: Socket;

beforeEach(() => {
  // Only sockets of the first namespace are ours: a decision by the caller's would leave them.
  stage = new SocketStage({ addresses: ['10.1.0.5', '10.2.0.1'], settings: { netnsKnown: 1 } });
  stage.row(0, { ipv4: addressFromIPv4(0x0a020001) });
  stage.become({
    services: [
      {
        name: 'dns',
        addresses: [0x0a600001],
        isLocal: false,
        ports: [{ name: 'dns', port: 53, targetPort: 8053, protocol: 'UDP' }],
        endpoints: [{ address: 0x0a010005, state: 'ready', isLocal: true, pod: 'pod' }],
      },
    ],
  });
  server = stage.pod(pod);
});

afterEach(() => stage[Symbol.dispose]());

/** A process outside of the cgroup and of the namespace. */
async function outsider(stdio: readonly (number | 'ignore' | 'inherit' | 'ipc')[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [CHILD], { stdio: [...stdio] });
  const [ready] = (await once(child, 'message')) as [unknown];
  expect(ready).toBe('ready');
  writeFileSync(`${value(cgroupRoot())}/cgroup.procs`, String(child.pid));
  expect(readFileSync(`/proc/${child.pid}/cgroup`, 'utf8')).toContain('0::/\n');
  return child;
}

async function ask(
  child: ChildProcess,
  ...message: readonly [string, ReturnType<typeof createSocket>?]
): Promise<unknown> {
  const answer = once(child, 'message') as Promise<[unknown]>;
  if (message[1] === undefined) child.send(message[0]);
  else child.send(message[0], message[1]);
  return (await answer)[0];
}

describe('a socket', () => {
  test('that a child inherited is translated for the child, and its answer for the parent', async () => {
    using socket = stage.udp();
    const child = await outsider(['ignore', 'ignore', 'inherit', socket.fd, 'ipc']);
    try {
      expect(await ask(child, 'send')).toBe(0);
      expect(server.answer()).not.toBe('nothing');
      expect(socket.receive()).toBe(`${dns} ${pod}`);
      expect(await ask(child, 'connect')).toBe(0);
      expect(socket.peer()).toBe(dns);
    } finally {
      child.send('end');
      await once(child, 'exit');
    }
  });

  test('that was passed to another process shows it the Service', async () => {
    using socket = stage.udp();
    const handle = createSocket('udp4');
    await new Promise<void>((done) => handle.bind({ fd: value(duplicate(socket.fd)), exclusive: true }, done));
    const child = await outsider(['ignore', 'ignore', 'inherit', 'ignore', 'ipc']);
    try {
      // Both hold the socket, and the kernel gives the answer to one of them.
      const here = new Promise<string>((done) => {
        handle.once('message', (data, { address, port }) => {
          done(`${address}:${port} ${data.toString()}`);
        });
      });
      const shown = Promise.race([ask(child, 'take', handle), here]);
      // The handle travels by this process's own event loop.
      for (let times = 0; times < 500 && server.answer() === 'nothing'; times++) await setTimeout(10);
      expect(await shown).toBe(`${dns} ${pod}`);
    } finally {
      handle.close();
      child.send('end');
      await once(child, 'exit');
    }
  });

  test('has one memory however many descriptors it has', () => {
    using socket = stage.udp();
    const copy = value(duplicate(socket.fd));
    expect(socket.send(dns)).toBe(0);
    server.answer();
    socket[Symbol.dispose]();
    const other = stage.adopt(copy);
    expect(other.receive()).toBe(`${dns} ${pod}`);
    expect(other.connect(dns)).toBe(0);
    expect(other.peer()).toBe(dns);
  });
});

describe('io_uring', () => {
  test.each([
    ['submitted by the caller', false],
    ['taken by the kernel’s own thread', true],
  ])('requests %s are translated', (_, usesKernelThread) => {
    const ring = openRing(usesKernelThread);
    if (ring === undefined) return expect.unreachable('io_uring is switched off on this machine');
    using sender = stage.udp();
    const { header, kept } = messageTo(sender.bytes(dns), Buffer.from('ping'));
    expect(ring.run({ op: OP_SENDMSG, fd: sender.fd, address: header })).toBe(4);
    expect(kept).toBeDefined();
    expect(server.answer()).not.toBe('nothing');
    expect(sender.receive()).toBe(`${dns} ${pod}`);
    using connected = stage.udp();
    const to = connected.bytes(dns);
    expect(ring.run({ op: OP_CONNECT, fd: connected.fd, address: to, offset: to.length })).toBe(0);
    expect(connected.peer()).toBe(dns);
    connected.write();
    expect(server.answer()).not.toBe('nothing');
  });
});
