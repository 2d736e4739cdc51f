// SPDX-License-Identifier: Apache-2.0
/** What a crowd may do to the flow table, on the model: nobody established is lost, and newcomers come in. */
import { expect, test } from 'vitest';
import { openModel } from '../../../cli/rig.ts';
import { defaultTimeouts, flowLifetimes } from '../../../core/datapath/datapath.ts';
import { churn, crowdSettings, greedyClient, synFlood } from './crowd.ts';

const BUCKETS = 256;
const ENTRIES = BUCKETS * 16;
const LONGEST_TICKS = Math.ceil(8_000_000 / 1.048576);

test.each(['open', 'closed'] as const)('a flood of SYNs to an %s port breaks nobody and keeps nobody out', (port) => {
  const report = synFlood(openModel(crowdSettings(BUCKETS)).side, 60_000, port);
  expect(report).toMatchObject({ established: 400, broken: 0, full: 0 });
  expect(report.honestOpened / report.honest).toBeGreaterThanOrEqual(0.99);
});

test('a client that holds twice the table leaves room for others', () => {
  const report = greedyClient(openModel(crowdSettings(BUCKETS)).side, ENTRIES);
  expect(report).toMatchObject({ othersOpened: report.others, othersWork: report.others, full: 0 });
});

test('connections come and go without an agent, and none is refused', () => {
  const report = churn(openModel(crowdSettings(BUCKETS)).side, ENTRIES, LONGEST_TICKS);
  expect(report).toMatchObject({ refused: 0, full: 0 });
});

test('a client without a share shuts others out: the check can fail', () => {
  const report = greedyClient(openModel(crowdSettings(BUCKETS, { shareClient: 99, shareService: 99 })).side, ENTRIES);
  expect(report.full).toBeGreaterThan(0);
  expect(report.othersOpened).toBeLessThan(report.others);
});

test('half-open connections that nobody may recycle shut others out: the check can fail', () => {
  const kept = flowLifetimes(defaultTimeouts).map((lifetime) => lifetime & ~1);
  const report = synFlood(openModel(crowdSettings(BUCKETS, { flowLifetimes: kept })).side, 20_000, 'open');
  expect(report.honestOpened / report.honest).toBeLessThan(0.99);
});
