// SPDX-License-Identifier: Apache-2.0
/** The native program that makes and times socket calls, bench/sockets.c: built, started, asked. */
import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fail, ok, type Result } from '../core/result.ts';
import { PINNED_CLANG } from '../tools/build.ts';

const SOURCES = ['sockets.c', 'backends.c'].map((name) => join(import.meta.dirname, name));
const BUILD_TIMEOUT_MS = 60_000;
const COMPLAINT_BYTES_MAX = 4096;

/** As the table of calls in bench/sockets.c. */
export type CallName =
  | 'transaction'
  | 'tcp-connect'
  | 'udp-connect'
  | 'udp-reconnect'
  | 'udp-send-first'
  | 'udp-send'
  | 'udp-receive'
  | 'tcp-peer'
  | 'udp-peer';

/** Address number n is `first` + n * `apart`, 0 <= n < `addresses`; calls begin with number `start`. */
export type Order = {
  readonly call: CallName;
  readonly first: number;
  readonly port: number;
  readonly apart: number;
  readonly addresses: number;
  readonly start: number;
  /** Made in batches: rounded up to a multiple of 64. */
  readonly calls: number;
};

/** `served`: requests, connections or datagrams that reached the backends, warming up included. */
export type Timing = { readonly nsPerCall: number; readonly served: number };

/** Calls between two looks at the clock; a first batch of each order is not timed. */
export const BATCH = 64;

/** Compiles the program to `output`; `defines` as clang's -D takes them. */
export function buildGenerator(output: string, defines: readonly string[] = []): Result<void> {
  const parameters = [
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    ...defines.map((one) => `-D${one}`),
    '-o',
    output,
    ...SOURCES,
  ];
  const done = spawnSync(PINNED_CLANG, parameters, { encoding: 'utf8', timeout: BUILD_TIMEOUT_MS });
  if (done.error !== undefined)
    return fail('environment', PINNED_CLANG, done.error.message, `apt-get install ${PINNED_CLANG} libc6-dev`);
  return done.status === 0 ? ok(undefined) : fail('input', PINNED_CLANG, `\n${done.stderr.trim()}`);
}

export type GeneratorOptions = {
  readonly program: string;
  readonly namespacePath: string;
  /** What its client's sockets belong to; its backends' stay where we are. */
  readonly cgroup: string;
};

/** The running program. It ends with us, with its input, or by its own alarm. */
export class Generator implements AsyncDisposable {
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly lines: AsyncIterator<string>;
  private readonly gone: Promise<string>;
  private complaints = '';

  constructor({ program, namespacePath, cgroup }: GeneratorOptions) {
    this.child = spawn('nsenter', [`--net=${namespacePath}`, '--', program, cgroup], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.complaints = (this.complaints + chunk.toString()).slice(0, COMPLAINT_BYTES_MAX);
    });
    // Writing to one that has just ended: its end is what is reported.
    this.child.stdin.on('error', () => undefined);
    this.gone = new Promise((resolve) => {
      this.child.once('error', (error) => resolve(error.message));
      this.child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
  }

  /** Makes the calls and waits for their times. */
  async time(order: Order): Promise<Result<Timing>> {
    const calls = Math.ceil(order.calls / BATCH) * BATCH;
    const { call, first, port, apart, addresses, start } = order;
    this.child.stdin.write(`${[call, first, port, apart, addresses, start, calls].join(' ')}\n`);
    const line = await this.lines.next();
    if (line.done === true) {
      const how = await this.gone;
      return fail('environment', `bench/sockets.c, ${call}`, this.complaints.trim() || `ended by ${how}`);
    }
    const [ns, served] = line.value.split(' ').map(Number);
    return ok({ nsPerCall: (ns ?? Number.NaN) / calls, served: served ?? 0 });
  }

  /** Ends the program and waits until it is gone: its cgroup can be removed then. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.child.stdin.end();
    await this.gone;
  }
}
