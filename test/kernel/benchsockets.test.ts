// SPDX-License-Identifier: Apache-2.0
/** The bench of socket calls measures what it says: every row, answers from backends only, and a wrong one ends it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BATCH, buildGenerator, Generator, type CallName } from '../../bench/generator.ts';
import {
  benchSockets,
  callNames,
  loadTandem,
  targetsOf,
  variants,
  type BenchCall,
  type Variant,
} from '../../bench/sockets.ts';
import { SocketBench } from '../../bench/stage.ts';
import { socketsText } from '../../cli/benchsockets.ts';
import { failureText, type Result } from '../../core/result.ts';
import { attachCgroup, type CgroupHook } from '../../kernel/attach.ts';

const object = resolve(import.meta.dirname, '../../bpf/tandem.bpf.o');
const SERVICES = 16;
const ROUNDS = 2;
let folder = '';

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-benchtest-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Requests of one order that reach a backend, the batch that is not timed included. */
function servedOf(call: BenchCall): number {
  if (call === 'udp-reconnect') return 2; // one datagram a batch
  if (call === 'tcp-peer' || call === 'udp-peer') return 1;
  return 2 * BATCH;
}

describe('a short run', () => {
  test('has every call with every set of hooks, each served by backends as often as it was made', async () => {
    const figures = value(
      await benchSockets({ object, services: SERVICES, rounds: ROUNDS, share: 0, onRound: () => undefined }),
    );
    expect(figures).toMatchObject({ rounds: ROUNDS, services: SERVICES });
    expect(figures.calls.map(({ call }) => call)).toEqual(callNames);
    for (const { call, calls, variants: found } of figures.calls) {
      expect(calls).toBe(BATCH);
      expect(Object.keys(found)).toEqual(variants);
      for (const { ns, priceNs, ratio, served } of Object.values(found)) {
        expect(served).toBe(ROUNDS * servedOf(call));
        expect(ns.least).toBeGreaterThan(10);
        expect(ratio.median).toBeGreaterThan(0);
        expect(Number.isFinite(priceNs.median)).toBe(true);
      }
      expect(found.none).toMatchObject({ priceNs: { median: 0 }, ratio: { median: 1 } });
    }
    expect(figures.trouble).toEqual({ retransmissions: 0, listenDrops: 0, timeWaits: 0 });
    const rows = socketsText(figures)
      .split('\n')
      .filter((line) => /^\| .*\d/.test(line));
    expect(rows).toHaveLength(2 * variants.length + callNames.length);
    expect(rows.filter((row) => /\| 0\.97 \| (met|MISSED) \|$/.test(row))).toHaveLength(2);
  });
});

/** What a generator says of one order, in a namespace of its own with these hooks of tandem. */
async function saysOf(
  call: CallName,
  variant: Variant,
  hooks: readonly CgroupHook[],
  defines: readonly string[] = [],
): Promise<string> {
  const program = join(folder, `sockets-${defines.join('-')}`);
  if (!existsSync(program)) value(buildGenerator(program, defines));
  await using stage = value(SocketBench.open());
  using tandem = value(loadTandem({ object, services: SERVICES }, stage.namespacePath));
  using attached = new DisposableStack();
  for (const hook of hooks) attached.use(value(attachCgroup(tandem.programFd(`sock_${hook}`), stage.cgroup, hook)));
  await using generator = new Generator({ program, namespacePath: stage.namespacePath, cgroup: stage.cgroup });
  const timed = await generator.time({ call, ...targetsOf(variant, { services: SERVICES, round: 0, calls: BATCH }) });
  return timed.ok ? `served ${timed.value.served}` : timed.error.message;
}

describe('a run ends where', () => {
  const unreachable = 'Network is unreachable';
  const wrong = 'the answer is not the backend';
  const cases: readonly (readonly [string, CallName, Variant, readonly CgroupHook[], readonly string[], string])[] = [
    ['no hook translates a connection', 'transaction', 'service', [], [], unreachable],
    ['no hook translates a UDP connect()', 'udp-connect', 'service', [], [], unreachable],
    ['no hook translates a datagram', 'udp-send', 'service', ['connect4'], [], unreachable],
    ['the wrong byte comes back by TCP', 'transaction', 'none', [], ['ANSWER=7'], wrong],
    ['the wrong byte comes back by UDP', 'udp-receive', 'none', [], ['ANSWER=7'], wrong],
    ['an answer shows its backend', 'udp-receive', 'service', ['sendmsg4'], [], 'shows another sender'],
    ['a TCP socket shows its backend', 'tcp-peer', 'service', ['connect4'], [], 'shows another peer'],
    ['a UDP socket shows its backend', 'udp-peer', 'service', ['connect4'], [], 'shows another peer'],
  ];
  test.each(cases)('%s', async (_title, call, variant, hooks, defines, message) => {
    expect(await saysOf(call, variant, hooks, defines)).toContain(message);
  });

  test('nothing is wrong: it does not', async () => {
    expect(await saysOf('udp-receive', 'service', ['sendmsg4', 'recvmsg4'])).toBe(`served ${2 * BATCH}`);
  });
});

test('a port that a closed connection keeps is counted', async () => {
  await using stage = value(SocketBench.open());
  expect(value(stage.trouble())).toEqual({ retransmissions: 0, listenDrops: 0, timeWaits: 0 });
  const script = `
    const net = require('node:net');
    const server = net.createServer((socket) => socket.resume().on('end', () => socket.end()));
    server.listen(8080, '127.0.0.1', () => {
      net.connect(8080, '127.0.0.1').on('close', () => server.close()).resume().end('x');
    });`;
  execFileSync('nsenter', [`--net=${stage.namespacePath}`, '--', process.execPath, '-e', script], { timeout: 10_000 });
  expect(value(stage.trouble()).timeWaits).toBe(1);
});
