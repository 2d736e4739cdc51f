// SPDX-License-Identifier: Apache-2.0
/** What `tandem verify` prints and with which code it ends, and how its budget is written. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { parseBudget } from '../../cli/verify.ts';
import { mutants } from '../../proof/mutants/mutants.ts';

/** An address of the random clusters and its port. */
const HOST = String.raw`(10\.\d+\.\d+\.\d+|\[fd00:[0-9a-f:]+\]):\d+`;
const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const TIMEOUT_MS = 60_000;

type Said = { readonly code: number | null; readonly out: string; readonly error: string };

function verify(words: readonly string[], before: readonly string[] = []): Said {
  const [program = process.execPath, ...rest] = [...before, process.execPath, main, 'verify', ...words];
  const done = spawnSync(program, rest, { encoding: 'utf8', timeout: TIMEOUT_MS });
  return { code: done.status, out: done.stdout, error: done.stderr };
}

describe('tandem verify', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-verify-'));
  const object = join(folder, 'mutant.o');
  beforeAll(() => {
    const mutant = mutants.find(({ name }) => name === 'reply-ports-swapped');
    const built = mutant === undefined ? undefined : buildMutant(mutant);
    if (built?.ok !== true) throw new Error('the fault can be compiled');
    writeFileSync(object, built.value);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('ends with 0 and says what it ran where the twins agree', () => {
    const said = verify(['--seed', '5', '--budget', '5000']);
    expect([said.code, said.error]).toEqual([0, 'seed 5, object bpf/tandem.bpf.o\nseed 5\n']);
    expect(said.out).toMatch(/^5,000 packets, \d+ clusters: no difference \(/);
    expect(said.out).toMatch(/\n6,000 socket calls: no difference/);
  });

  test('prints the Service, the packet, the field and the command for a faulty object, and ends with 1', () => {
    const said = verify(['--seed', '5', '--budget', '5000', '--object', object]);
    const [service, packet, differs, repeat, shortest] = said.out.split('\n');
    expect(said.code).toBe(1);
    expect(service).toMatch(/^Service {2}shop\/service-\d+(:\w+)?$/);
    expect(packet).toMatch(new RegExp(`^packet {3}(from|to)-pod ${HOST} > ${HOST} (TCP \\S+ seq |UDP )`));
    expect(differs).toMatch(/^differs {2}.+: model .+, kernel .+$/);
    expect(repeat).toMatch(new RegExp(`^repeat {3}\\./tandem verify --seed 5 --budget \\d+ --object ${object}$`));
    expect(shortest).toMatch(/^shortest \.\/tandem verify --case \S+ --object \S+ {2}\(\d+ steps\)$/);
  });

  test('the command that it prints repeats the finding, and the case shows it with the committed object gone', () => {
    const first = verify(['--seed', '5', '--budget', '5000', '--object', object]).out.split('\n');
    const words = (line: string | undefined): string[] =>
      (line ?? '')
        .replace(/ {2}\(.*/, '')
        .split(' verify ')[1]
        ?.split(' ') ?? [];
    expect(verify(words(first[3])).out.split('\n').slice(0, 3)).toEqual(first.slice(0, 3));
    const again = verify(words(first[4]));
    expect([again.code, again.out.split('\n').slice(0, 3)]).toEqual([1, first.slice(0, 3)]);
  });

  test('sequences end with 0 and say what they held where the twins agree', () => {
    const said = verify(['sequences', '--seed', '5', '--budget', '5000']);
    expect([said.code, said.error]).toEqual([0, 'seed 5, object bpf/tandem.bpf.o\nseed 5\n']);
    expect(said.out).toMatch(/^5,000 commands in 5 sequences: no difference \(world \d+, /);
  });

  test('sequences print three lines for a faulty object, and both commands repeat them', () => {
    const first = verify(['sequences', '--seed', '5', '--budget', '20000', '--object', object]);
    const [service, packet, differs, repeat = '', shortest = ''] = first.out.split('\n');
    expect([first.code, service]).toEqual([1, expect.stringMatching(/^Service {2}shop\/service-\d+(:\w+)?$/)]);
    expect([packet, differs]).toEqual([
      expect.stringMatching(/^packet {3}(from|to)-pod /),
      expect.stringMatching(/^differs {2}/),
    ]);
    expect(shortest).toMatch(/ {2}\([2-4] steps\)$/);
    for (const line of [repeat, shortest]) {
      const again = verify(
        line
          .replace(/ {2}\(.*/, '')
          .split(' verify ')[1]
          ?.split(' ') ?? [],
      );
      expect([again.code, again.out.split('\n').slice(0, 3)]).toEqual([1, [service, packet, differs]]);
    }
  });

  const unusable: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['a budget without a unit that exists', ['--budget', '3h'], /^tandem: --budget 3h: neither/],
    ['an object that is not there', ['--object', '/nonexistent.o'], /^tandem: \/nonexistent\.o: ENOENT/],
    ['an object that is none', ['--object', '/etc/hostname', '--budget', '10'], /\/etc\/hostname/],
    ['a case that is none', ['--case', '/etc/hostname'], /^tandem: \/etc\/hostname: /],
    ['mechanical mutants of which none is wanted', ['mutants', '--mechanical', '0'], /^tandem: --mechanical 0: /],
    ['mechanical mutants of a campaign', ['--mechanical', '5'], /^tandem: --mechanical 5: /],
    ['an unknown hook', ['--hook', 'xdp'], /from-pod/],
  ];
  test.each(unusable)('%s is a usage error in one line', (_, words, message) => {
    const said = verify(words);
    expect(said.code).toBe(2);
    expect(said.error.trim().split('\n').at(-1)).toMatch(message);
  });

  test('without root it says so in one line and ends with 4', () => {
    // In a user namespace of its own a process is nobody, but can still read the checkout.
    const said = verify([], ['unshare', '--user']);
    expect([said.code, said.out, said.error.split('\n').length]).toEqual([4, '', 2]);
    expect(said.error).toMatch(/^tandem: verify: the kernel twin needs root/);
  });
});

const budgets: readonly (readonly [string, number, number])[] = [
  ['1', 1, Number.POSITIVE_INFINITY],
  ['100000', 100_000, Number.POSITIVE_INFINITY],
  ['30s', Number.POSITIVE_INFINITY, 30_000],
  ['2m', Number.POSITIVE_INFINITY, 120_000],
];
test.each(budgets)('the budget %s is %d packets or %d ms', (text, packets, durationMs) => {
  expect(parseBudget(text)).toEqual({ ok: true, value: { packets, durationMs } });
});
test.each(['', '0', '-1', '1.5', 's', '10 s', '1e3'])('the budget "%s" is none', (text) => {
  expect(parseBudget(text).ok).toBe(false);
});
