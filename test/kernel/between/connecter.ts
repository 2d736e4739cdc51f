// SPDX-License-Identifier: Apache-2.0
/** A process that does nothing but connect(): to frontends in turn, and looks where each socket really goes. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { assert, failureText, type Result } from '../../../core/result.ts';
import { attachCgroup, cgroupRoot } from '../../../kernel/attach.ts';
import {
  AF_INET,
  AF_INET6,
  connectSocket,
  openSocket,
  socketOption,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from '../../../kernel/libc.ts';
import { addressIn, SERVICE_PORT, targetPorts, type Asked } from './churn.ts';
import type { Orders, Seen } from './reader.ts';

/** The programs, by what they are attached as. */
const PROGRAMS = [
  ['connect4', 3],
  ['connect6', 4],
] as const;
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
  'addr add 2001:db8::1/128 dev silent nodad',
  '-6 route add default dev silent',
];

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

type Counts = { -readonly [key in keyof Seen]: Seen[key] };

type Peer = { readonly address: number; readonly port: number };

/** The word that an address in a socket's stands for, 0: it is not one of ours. */
function peerOf(bytes: Buffer): Peer {
  const port = bytes.readUInt16BE(2);
  if (bytes.readUInt16LE(0) === AF_INET) return { address: bytes.readUInt32BE(4), port };
  const word = bytes.readUInt32BE(20);
  const { a, b, c } = addressIn('IPv6', word);
  const isOurs = [a, b, c].every((it, index) => bytes.readUInt32BE(8 + index * 4) === it);
  return { address: isOurs ? word : 0, port };
}

function socketAddress({ family, address }: Asked): Buffer {
  const to = Buffer.alloc(family === 'IPv4' ? 16 : 28);
  to.writeUInt16LE(family === 'IPv4' ? AF_INET : AF_INET6, 0);
  to.writeUInt16BE(SERVICE_PORT, 2);
  const { a, b, c, d } = addressIn(family, address);
  for (const [index, word] of (family === 'IPv4' ? [d] : [a, b, c, d]).entries())
    to.writeUInt32BE(word, (family === 'IPv4' ? 4 : 8) + index * 4);
  return to;
}

/** Where a socket that was connected to a frontend really went; undefined: it was refused. */
function connected(asked: Asked): Peer | undefined {
  const kind = asked.protocol === 'TCP' ? SOCK_STREAM | SOCK_NONBLOCK : SOCK_DGRAM;
  const socket = must(openSocket(asked.family === 'IPv4' ? AF_INET : AF_INET6, kind, 0));
  const errno = connectSocket(socket, socketAddress(asked));
  const peer = Buffer.alloc(28);
  const isOpen =
    errno === (asked.protocol === 'TCP' ? EINPROGRESS : 0) &&
    socketOption(socket, SOL_SOCKET, SO_PEERNAME, asked.family === 'IPv4' ? peer.subarray(0, 16) : peer).ok;
  closeSync(socket);
  return isOpen ? peerOf(peer) : undefined;
}

/** One socket to one frontend. */
function connect(asked: Asked, seen: Counts): void {
  const { address, networks, isSteady, protocol } = asked;
  const real = connected(asked);
  seen.judged += 1;
  if (real === undefined) {
    seen.refused += 1;
    return;
  }
  const { address: wrongBackend, port } = real;
  if (networks.includes(wrongBackend >>> 16) && port === targetPorts[protocol]) seen.forwarded += 1;
  else if (wrongBackend !== address || port !== SERVICE_PORT)
    Object.assign(seen, { wrong: seen.wrong + 1, wrongFrontend: address, wrongBackend });
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

/** Runs in a cgroup of its own, whose sockets pass the programs. */
function hooked<T>(work: () => T): T {
  const root = must(cgroupRoot());
  const home = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const path = `${root}/tandem-between-${process.pid}`;
  mkdirSync(path);
  writeFileSync(`${path}/cgroup.procs`, String(process.pid));
  try {
    using attached = new DisposableStack();
    for (const [hook, program] of PROGRAMS) attached.use(must(attachCgroup(program, path, hook)));
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
