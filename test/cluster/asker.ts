// SPDX-License-Identifier: Apache-2.0
/** A program: opens the connections it is told of on standard input, and writes a line about what came of each. */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** Asked `times` times, one after the other; without a source the kernel chooses. */
export type Call = {
  readonly id: number;
  readonly source: string | null;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly times: number;
  /** Calls of one group follow each other: what one leaves behind in the rules, the next one meets. */
  readonly group: string;
};

/** `words`: what the backend said; else how it ended: `refused`, `silent`, or the error of the kernel by name. */
export type Called = { readonly id: number; readonly results: readonly CallResult[] };
export type CallResult = { readonly words: string } | { readonly ended: string };

/** For what is dropped; a refusal of TCP over IPv6 is noticed when the first packet is sent again, a second later. */
const SILENT_MS = 2_500;
const AT_ONCE = 100;

function callTcp({ source, address, port }: Call): Promise<CallResult> {
  return new Promise((resolve) => {
    const local = source === null ? {} : { localAddress: source };
    const socket = connect({ host: address, port, ...local });
    const pieces: Buffer[] = [];
    const finish = (result: CallResult): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(SILENT_MS, () => finish({ ended: 'silent' }));
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('end', () => finish({ words: Buffer.concat(pieces).toString() }));
    socket.on('error', (error) => finish({ ended: endOf(error) }));
  });
}

function callUdp({ source, address, port }: Call): Promise<CallResult> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const timer = setTimeout(() => finish({ ended: 'silent' }), SILENT_MS);
    const finish = (result: CallResult): void => {
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    socket.once('message', (piece) => finish({ words: piece.toString() }));
    socket.once('error', (error) => finish({ ended: endOf(error) }));
    const ask = (): void => socket.connect(port, address, () => socket.send('who are you?'));
    if (source === null) ask();
    else socket.bind(0, source, ask);
  });
}

function endOf(error: Error): string {
  const code = 'code' in error ? String(error.code) : error.message;
  return code === 'ECONNREFUSED' ? 'refused' : code;
}

async function call(one: Call): Promise<Called> {
  const results: CallResult[] = [];
  for (let time = 0; time < one.times; time += 1) {
    const result = await (one.protocol === 'tcp' ? callTcp(one) : callUdp(one));
    results.push(result);
    // What is dropped once is dropped again: the rules have no memory of that.
    if ('ended' in result) break;
  }
  return { id: one.id, results };
}

const calls = JSON.parse(await text(process.stdin)) as readonly Call[];
const groups = Map.groupBy(calls, ({ group }) => group).values();
const workers = Array.from({ length: AT_ONCE }, async () => {
  for (const list of groups) {
    for (const one of list) process.stdout.write(`${JSON.stringify(await call(one))}\n`);
  }
});
await Promise.all(workers);
