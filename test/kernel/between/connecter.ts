// SPDX-License-Identifier: Apache-2.0
/** A process that does nothing but connect(): to frontends in turn, and looks where each socket really goes. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { assert, failureText, type Result } from '../../../core/result.ts';
import { attachCgroup, cgroupRoot } from '../../../kernel/attach.ts';
import { AF_INET, connectSocket, openSocket, socketOption, SOCK_NONBLOCK, SOCK_STREAM } from '../../../kernel/libc.ts';
import type { Asked } from './churn.ts';
import type { Orders, Seen } from './reader.ts';

/** The program of connect4. */
const PROGRAM = 3;
const PORT = 80;
const EINPROGRESS = 115;
const SOL_SOCKET = 1;
/** The peer of a socket that isn't connected yet. */
const SO_PEERNAME = 28;
const CHUNK = 64;
/** In a network namespace of our own, where connect() has nothing to wait for. */
const SILENT_DEVICE = [
  'link add silent type veth peer name void',
  'link set silent arp off',
  'link set silent up',
  'link set void up',
  'addr add 192.0.2.1/32 dev silent',
  'route add default dev silent',
];

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

type Counts = { -readonly [key in keyof Seen]: Seen[key] };

/** One socket to one frontend. */
function connect({ address, networks, isSteady }: Asked, seen: Counts): void {
  const socket = must(openSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  const to = Buffer.alloc(16);
  to.writeUInt16LE(AF_INET, 0);
  to.writeUInt16BE(PORT, 2);
  to.writeUInt32BE(address, 4);
  const errno = connectSocket(socket, to);
  seen.judged += 1;
  const peer = Buffer.alloc(16);
  const isOpen = errno === EINPROGRESS && socketOption(socket, SOL_SOCKET, SO_PEERNAME, peer).ok;
  closeSync(socket);
  if (!isOpen) {
    seen.refused += 1;
    return;
  }
  const real = peer.readUInt32BE(4);
  if (networks.includes(real >>> 16)) seen.forwarded += 1;
  else if (real !== address) Object.assign(seen, { wrong: seen.wrong + 1, wrongFrontend: address, wrongBackend: real });
  else {
    seen.untouched += 1;
    if (isSteady) Object.assign(seen, { missed: seen.missed + 1, missedFrontend: address });
  }
}

function ask({ asked, packetsMin, durationMs, stops }: Orders): Seen {
  const seen: Counts = {
    judged: 0,
    forwarded: 0,
    untouched: 0,
    missed: 0,
    refused: 0,
    wrong: 0,
    wrongFrontend: 0,
    wrongBackend: 0,
    missedFrontend: 0,
  };
  console.log('ready');
  const endsAtMs = performance.now() + durationMs;
  for (;;) {
    for (let index = 0; index < CHUNK; index++) {
      const frontend = asked[seen.judged % asked.length];
      if (frontend !== undefined) connect(frontend, seen);
    }
    const isBroken = seen.wrong + seen.missed + seen.refused > 0;
    const isOver = performance.now() >= endsAtMs && (seen.judged >= packetsMin || isBroken);
    if (isOver || (isBroken && stops)) return seen;
  }
}

/** Runs in a cgroup of its own, whose sockets pass the program. */
function hooked<T>(work: () => T): T {
  const root = must(cgroupRoot());
  const home = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const path = `${root}/tandem-between-${process.pid}`;
  mkdirSync(path);
  writeFileSync(`${path}/cgroup.procs`, String(process.pid));
  try {
    using _attached = must(attachCgroup(PROGRAM, path, 'connect4'));
    return work();
  } finally {
    writeFileSync(`${root}${home}/cgroup.procs`, String(process.pid));
    rmdirSync(path);
  }
}

createInterface({ input: process.stdin }).once('line', (line) => {
  for (const command of SILENT_DEVICE) {
    const done = spawnSync('ip', command.split(' '), { encoding: 'utf8' });
    assert(done.status === 0, `ip ${command}: ${done.stderr}`);
  }
  console.log(JSON.stringify(hooked(() => ask(JSON.parse(line) as Orders))));
  process.exit(0);
});
