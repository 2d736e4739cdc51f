// SPDX-License-Identifier: Apache-2.0
/** The other side of race.test.ts: a process of its own with its own wrapper; the common program is descriptor 3. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { clientFrame, SYN } from '../../bench/frames.ts';
import { BenchRun } from '../../bench/run.ts';

const PROGRAM = 3;
const [floors = '', flows = ''] = process.argv.slice(2);
const bench = BenchRun.open(readFileSync(floors), floors);
const ready = (): void => {
  bench.set({ frame: clientFrame(SYN), answers: false }, Number(flows));
  bench.aim(PROGRAM);
  console.log('ready');
};
ready();
createInterface({ input: process.stdin }).on('line', () => {
  bench.go(Number(flows));
  ready();
});
