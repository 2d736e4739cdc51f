// SPDX-License-Identifier: Apache-2.0
/** Volume: random clusters and packets through both twins, with nothing masked. */
import { describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { runCampaign, type CampaignReport } from '../../proof/campaign.ts';
import { findingText, sumReports } from '../../proof/report.ts';
import { settingsOf } from '../../proof/settings.ts';
import { caseText, parseCase } from '../../proof/shrink.ts';
import { commitHash, rigOf } from './rigs.ts';
import { isFull } from '../full.ts';

const packetsMax = isFull ? 1_000_000 : 80_000;

function campaign(seed: number, packets: number): CampaignReport {
  using rig = rigOf(seed);
  const report = runCampaign({ seed, sides: rig, settings: settingsOf(seed), packetsMax: packets });
  if (!report.ok) throw new Error(`seed ${seed}: ${failureText(report.error)}`);
  return report.value;
}

/** What a reader of a failing test needs; empty where nothing was found. */
function foundText({ seed, found }: CampaignReport): string {
  if (found === undefined) return '';
  const command = `./tandem verify --seed ${seed} --budget ${found.packets}`;
  const steps = caseText({ seed, steps: found.steps });
  return `${findingText(found.finding, { command, shortCommand: undefined }, 0)}\n${steps}`;
}

describe('a campaign', () => {
  // The last one is another one for every commit; multiples of three run with sums that a device computed.
  const seeds = [1, 2, 3, 4, 5, Number.parseInt(commitHash().slice(0, 8), 16)];
  const reports: CampaignReport[] = [];

  test.each(seeds)('of seed %i finds no difference', (seed) => {
    const report = campaign(seed, packetsMax);
    reports.push(report);
    expect(foundText(report)).toBe('');
    expect(report.packets).toBe(packetsMax);
  });

  test('reaches every branch of the packet road, every verdict and every reason of it', () => {
    const sum = sumReports(reports);
    expect(sum.unreached).toEqual([]);
    expect(Object.keys(sum.verdicts).toSorted()).toEqual(['drop', 'forward', 'pass', 'refuse', 'reply']);
    const socketReasons = ['peer', 'translated', 'unsupported'];
    expect(Object.keys(sum.reasons).filter((reason) => socketReasons.includes(reason))).toEqual([]);
    expect(Object.keys(sum.reasons)).toHaveLength(29);
  });

  test('is repeated by its seed', () => {
    expect(campaign(11, 10_000)).toEqual(campaign(11, 10_000));
  });
});

describe('a case file', () => {
  test('holds worlds, faults and packets with what they were posed', () => {
    const outside = {
      socketCookie: 0n,
      now: 7,
      checksumMode: 3,
      gsoSize: 0,
      pullResult: 0,
      roomResult: -22,
      tailResult: 0,
      peerResult: 0,
      netnsCookie: 0n,
      affinityResult: 0,
      storageResult: 0,
    };
    const steps = [
      { world: { services: [] } },
      { fault: { kind: 'row', pick: 3 } as const },
      { hook: 'from-pod', frame: new Uint8Array([1, 2, 254]), outside } as const,
    ];
    const read = parseCase(caseText({ seed: 9, steps }), 'memory');
    expect(read).toEqual({ ok: true, value: { seed: 9, steps } });
  });

  const broken: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['something else', '{"kind":"List"}'],
    ['no seed', '{"apiVersion":"tandem/v1alpha1","kind":"VerifyCase","steps":[]}'],
    [
      'half a byte',
      '{"apiVersion":"tandem/v1alpha1","kind":"VerifyCase","seed":1,"steps":[{"hook":"to-pod","frame":"0","outside":{"now":1}}]}',
    ],
    [
      'an unknown hook',
      '{"apiVersion":"tandem/v1alpha1","kind":"VerifyCase","seed":1,"steps":[{"hook":"xdp","frame":"00","outside":{"now":1}}]}',
    ],
  ];
  test.each(broken)('that holds %s is refused by name', (_, text) => {
    const read = parseCase(text, 'case.json');
    expect(read.ok ? 'read' : [read.error.kind, read.error.object]).toEqual(['input', 'case.json']);
  });
});
