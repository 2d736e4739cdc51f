// SPDX-License-Identifier: Apache-2.0
/** Real connect() and getpeername() calls through the cgroup programs, against what the model says of each. */
import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { cgroupRoot } from '../../kernel/attach.ts';
import { openSockets } from '../../kernel/sockets.ts';
import { findingText } from '../../proof/report.ts';
import { runSockets, type SocketReport } from '../../proof/sockets/sockets.ts';
import { rigOf } from './rigs.ts';
import { isFull } from '../full.ts';

const callsMax = isFull ? 200_000 : 12_000;

function connectMany(seed: number): SocketReport {
  using rig = rigOf(seed);
  const opened = openSockets(rig.object);
  if (!opened.ok) throw new Error(failureText(opened.error));
  using sockets = opened.value;
  const report = runSockets({ seed, sides: rig, datapath: rig.datapath, sockets, callsMax });
  if (!report.ok) throw new Error(`seed ${seed}: ${failureText(report.error)}`);
  return report.value;
}

const reports: SocketReport[] = [];

test.each([0, 1, 2])('thousands of real sockets of seed %i go where the model says', (seed) => {
  const report = connectMany(seed);
  const { finding, calls } = report;
  reports.push(report);
  const command = `./tandem verify --hook connect --seed ${seed} --budget ${calls}`;
  expect(finding === undefined ? '' : findingText(finding, { command, shortCommand: undefined }, 0)).toBe('');
  expect(calls).toBe(callsMax);
});

test('every branch of the socket road is reached, and every verdict that it has', () => {
  const [first, ...others] = reports;
  expect(first?.unreached.filter((mark) => others.every(({ unreached }) => unreached.includes(mark)))).toEqual([]);
  expect(Object.keys(first?.verdicts ?? {}).toSorted()).toEqual(['forward', 'pass', 'refuse']);
});

test('the process is back in its cgroup afterwards, and the cgroup is gone', () => {
  const root = cgroupRoot();
  const before = readFileSync('/proc/self/cgroup', 'utf8');
  connectMany(3);
  expect(readFileSync('/proc/self/cgroup', 'utf8')).toBe(before);
  expect(root.ok && readdirSync(root.value).filter((name) => name === `tandem-verify-${process.pid}`)).toEqual([]);
});
