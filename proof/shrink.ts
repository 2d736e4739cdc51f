// SPDX-License-Identifier: Apache-2.0
/** From thousands of steps to the few that still show a difference, and such a case as a file. */
import { fail, ok, type Result } from '../core/result.ts';
import { quietOutside, type Outside } from '../core/twin.ts';
import { faultKinds } from './faults.ts';
import {
  isPacketStep,
  runSteps,
  type Bench,
  type FaultStep,
  type Finding,
  type Step,
  type WorldStep,
} from './steps.ts';

/** Runs that shrinking may take; what is left then is still a counterexample. */
const RUNS_MAX = 400;

/** A counterexample: its steps and what is seen at the last one. */
export type Shrunk = { readonly steps: readonly Step[]; readonly finding: Finding };

/** Drops chunks of steps, halving their size, as long as the same field of some packet still differs. */
export function shrinkSteps(bench: Bench, steps: readonly Step[], finding: Finding): Result<Shrunk> {
  let best: Shrunk = { steps: steps.slice(0, finding.step + 1), finding };
  let runs = 0;
  for (let size = best.steps.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < best.steps.length - 1 && runs < RUNS_MAX;) {
      runs++;
      const fewer = [...best.steps.slice(0, at), ...best.steps.slice(Math.min(at + size, best.steps.length - 1))];
      const report = runSteps(bench, fewer, true);
      if (!report.ok) return report;
      const found = report.value.finding;
      if (found !== undefined && kindOf(found) === kindOf(finding)) {
        best = { steps: fewer.slice(0, found.step + 1), finding: found };
      } else at += size;
    }
  }
  return ok(best);
}

/** The field without its indices: the same fault shows at another place once other steps are gone. */
function kindOf({ field }: Finding): string {
  return field.replace(/\[[^\]]*\]/g, '[]');
}

/** A counterexample that stands alone: `seed` gives the settings. */
export type Case = { readonly seed: number; readonly steps: readonly Step[] };

type CaseFile = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly seed: number;
  readonly steps: readonly CaseStep[];
};
type CaseStep =
  | WorldStep
  | FaultStep
  | { readonly hook: 'from-pod' | 'to-pod'; readonly frame: string; readonly outside: CaseOutside };
type CaseOutside = Partial<Omit<Outside, 'socketCookie' | 'netnsCookie'>> & { readonly now: number };

const API_VERSION = 'tandem/v1alpha1';
const KIND = 'VerifyCase';

/** The case as JSON; of what was posed from outside only what isn't quiet. */
export function caseText({ seed, steps }: Case): string {
  const written = steps.map((step): CaseStep => {
    if (!isPacketStep(step)) return step;
    const { socketCookie: _cookie, netnsCookie: _netns, ...outside } = step.outside;
    const posed = Object.entries(outside).filter(([, value]) => value !== 0);
    return {
      hook: step.hook,
      frame: Buffer.from(step.frame).toString('hex'),
      outside: { now: outside.now, ...Object.fromEntries(posed) },
    };
  });
  const file: CaseFile = { apiVersion: API_VERSION, kind: KIND, seed, steps: written };
  return `${JSON.stringify(file, undefined, 1)}\n`;
}

/** Reads a case; `name` stands for it in Failures. */
export function parseCase(text: string, name: string): Result<Case> {
  const notACase = fail('input', name, 'not a VerifyCase', 'verify -o json writes one');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return fail('input', name, error instanceof Error ? error.message : String(error));
  }
  if (!isCaseFile(parsed)) return notACase;
  const steps = parsed.steps.map((step): Step => {
    if (!('frame' in step)) return step;
    const frame = Uint8Array.from(Buffer.from(step.frame, 'hex'));
    return { hook: step.hook, frame, outside: { ...quietOutside(step.outside.now), ...step.outside } };
  });
  return ok({ seed: parsed.seed, steps });
}

function isCaseFile(value: unknown): value is CaseFile {
  if (typeof value !== 'object' || value === null) return false;
  if (!('kind' in value && value.kind === KIND && 'apiVersion' in value && value.apiVersion === API_VERSION))
    return false;
  if (!('seed' in value && typeof value.seed === 'number')) return false;
  return 'steps' in value && Array.isArray(value.steps) && value.steps.every(isCaseStep);
}

function isCaseStep(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if ('world' in value) {
    const { world } = value;
    return typeof world === 'object' && world !== null && 'services' in world && Array.isArray(world.services);
  }
  if ('fault' in value) {
    const { fault } = value;
    const isKnown = (kind: unknown): boolean => faultKinds.some((known) => known === kind);
    return (
      typeof fault === 'object' &&
      fault !== null &&
      'kind' in fault &&
      isKnown(fault.kind) &&
      'pick' in fault &&
      typeof fault.pick === 'number'
    );
  }
  if (!('hook' in value && (value.hook === 'from-pod' || value.hook === 'to-pod'))) return false;
  if (!('frame' in value && typeof value.frame === 'string' && /^([0-9a-f]{2})+$/.test(value.frame))) return false;
  if (!('outside' in value) || typeof value.outside !== 'object' || value.outside === null) return false;
  return 'now' in value.outside && Object.values(value.outside).every((number) => typeof number === 'number');
}
