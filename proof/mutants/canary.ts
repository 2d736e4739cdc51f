// SPDX-License-Identifier: Apache-2.0
/** The canary: which fault is planted in this run, and whether what was reported is about that fault. */
import type { Mutant } from './plant.ts';
import type { Finding } from '../steps.ts';
import { createStream } from '../../core/random.ts';

/** A fault drawn by a hash in hex: each commit compiles another one, and anyone can tell which. */
export function drawCanary(hash: string, mutants: readonly Mutant[]): Mutant {
  const seed = Number.parseInt(hash.slice(0, 12), 16);
  return createStream(seed, 3).pick(mutants);
}

/**
 * What is wrong with a report on a planted fault; empty: it is believable. Judged by what it says and not by an exit
 * code: a harness that fails for another reason must not pass for one that found the fault.
 */
export function doubts({ shows }: Pick<Mutant, 'shows'>, finding: Finding | undefined): readonly string[] {
  if (finding === undefined) return ['the fault was not found'];
  const said: string[] = [];
  if (!shows.test(finding.field)) said.push(`the field ${finding.field} is not one that this fault changes`);
  if (finding.model === finding.kernel) said.push(`both twins have ${finding.model}`);
  if (!/^(shop\/service-\d+(:\w+)?|service port \d+|none)$/.test(finding.service))
    said.push(`no Service: ${finding.service}`);
  if (!/^(from-pod|to-pod|connect|send|receive|getpeername|sweep) \S+/.test(finding.packet))
    said.push(`no packet: ${finding.packet}`);
  if (finding.step < 0) said.push(`no step: ${finding.step}`);
  return said;
}
