// SPDX-License-Identifier: Apache-2.0
/** What a proof found, as people read it: the Service, the packet, the field, and the command that repeats it. */
import type { CampaignReport } from './campaign.ts';
import type { SequencesReport } from './sequences/sequences.ts';
import type { SocketReport } from './sockets/sockets.ts';
import type { Finding } from './steps.ts';

/** How to see a finding again. */
export type Repeat = {
  readonly command: string;
  /** Runs the shortest known steps instead of all of them; undefined where there is no such file. */
  readonly shortCommand: string | undefined;
};

/** Three lines and the command; a fifth line where the case was made short. */
export function findingText(finding: Finding, repeat: Repeat, steps: number): string {
  const { service, packet, field, model, kernel, names = ['model', 'kernel'] } = finding;
  const lines = [
    `Service  ${service}`,
    `packet   ${packet}`,
    `differs  ${field}: ${names[0]} ${model}, ${names[1]} ${kernel}`,
    `repeat   ${repeat.command}`,
  ];
  if (repeat.shortCommand !== undefined) lines.push(`shortest ${repeat.shortCommand}  (${steps} steps)`);
  return lines.join('\n');
}

function counts(numbers: Readonly<Record<string, number>>): string {
  return Object.entries(numbers)
    .map(([name, count]) => `${name} ${count.toLocaleString('en')}`)
    .join(', ');
}

/** One line on a campaign that agreed, and one on what it did not reach. */
export function campaignText({ packets, worlds, verdicts, unreached }: CampaignReport): string {
  const agreed = `${packets.toLocaleString('en')} packets, ${worlds} clusters: no difference (${counts(verdicts)})`;
  return unreached.length === 0 ? agreed : `${agreed}\nbranches not reached: ${unreached.join(', ')}`;
}

/** One line on sequences that agreed. */
export function sequencesText({ commands, sequences, kinds, verdicts }: Omit<SequencesReport, 'found'>): string {
  const agreed = `${commands.toLocaleString('en')} commands in ${sequences} sequences: no difference`;
  return `${agreed} (${counts(kinds)}; ${counts(verdicts)})`;
}

export function socketText({ calls, ended, verdicts, unreached }: SocketReport): string {
  const agreed = `${calls.toLocaleString('en')} socket calls: no difference (${counts(verdicts)}; ${ended} sockets ended)`;
  return unreached.length === 0 ? agreed : `${agreed}\nbranches not reached: ${unreached.join(', ')}`;
}

/** Reports of several campaigns as one; a branch is reached where one of them reached it. */
export function sumReports(reports: readonly CampaignReport[]): CampaignReport {
  const add = (
    left: Readonly<Record<string, number>>,
    right: Readonly<Record<string, number>>,
  ): Record<string, number> => {
    const sum: Record<string, number> = { ...left };
    for (const [name, count] of Object.entries(right)) sum[name] = (sum[name] ?? 0) + count;
    return sum;
  };
  const [first, ...others] = reports;
  if (first === undefined) throw new Error('assertion failed: at least one campaign ran');
  return others.reduce(
    (sum, report) => ({
      seed: sum.seed,
      packets: sum.packets + report.packets,
      worlds: sum.worlds + report.worlds,
      verdicts: add(sum.verdicts, report.verdicts),
      reasons: add(sum.reasons, report.reasons),
      unreached: sum.unreached.filter((mark) => report.unreached.includes(mark)),
      found: sum.found ?? report.found,
    }),
    first,
  );
}
