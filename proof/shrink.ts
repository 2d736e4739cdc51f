// SPDX-License-Identifier: Apache-2.0
/** From thousands of steps to the few that still show a difference, and such a case as a file. */
import { fail, ok, type Result } from '../core/result.ts';
import { quietOutside, type Outside, type PacketHook } from '../core/twin.ts';
import { faultKinds } from './faults.ts';
import type { PacketStep } from './traffic/packets.ts';
import {
  isPacketStep,
  runSteps,
  type Bench,
  type EventsStep,
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
  const shrunk = shrinkList(steps, finding, (fewer) => {
    const report = runSteps(bench, fewer, true);
    return report.ok ? ok(report.value.finding) : report;
  });
  return shrunk.ok ? ok({ steps: shrunk.value.items, finding: shrunk.value.finding }) : shrunk;
}

/** The same for whatever can be run as a list; `attempt` gives the finding of the items it is handed. */
export function shrinkList<T>(
  items: readonly T[],
  finding: Finding,
  attempt: (fewer: readonly T[]) => Result<Finding | undefined>,
): Result<{ readonly items: readonly T[]; readonly finding: Finding }> {
  let best = { items: items.slice(0, finding.step + 1), finding };
  let runs = 0;
  for (let size = best.items.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < best.items.length - 1 && runs < RUNS_MAX;) {
      runs++;
      const fewer = [...best.items.slice(0, at), ...best.items.slice(Math.min(at + size, best.items.length - 1))];
      const attempted = attempt(fewer);
      if (!attempted.ok) return attempted;
      const found = attempted.value;
      if (found !== undefined && isSameKind(found, finding)) {
        best = { items: fewer.slice(0, found.step + 1), finding: found };
      } else at += size;
    }
  }
  return ok(best);
}

/** Whether two findings are of the same fault, as far as one can tell. */
export function isSameKind(left: Finding, right: Finding): boolean {
  return kindOf(left) === kindOf(right);
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
type CaseStep = WorldStep | FaultStep | EventsStep | CasePacket;
/** A packet as a file has it: in hex, with what isn't quiet of what was posed. */
export type CasePacket = { readonly hook: PacketHook; readonly frame: string; readonly outside: CaseOutside };
type CaseOutside = Partial<Omit<Outside, 'socketCookie' | 'netnsCookie'>> & { readonly now: number };

const API_VERSION = 'tandem/v1alpha1';
const KIND = 'VerifyCase';

/** The case as JSON; of what was posed from outside only what isn't quiet. */
export function caseText({ seed, steps }: Case): string {
  const written = steps.map((step): CaseStep => (isPacketStep(step) ? writtenPacket(step) : step));
  const file: CaseFile = { apiVersion: API_VERSION, kind: KIND, seed, steps: written };
  return `${JSON.stringify(file, undefined, 1)}\n`;
}

export function writtenPacket({
  hook,
  frame,
  outside: { socketCookie: _cookie, netnsCookie: _netns, ...outside },
}: PacketStep): CasePacket {
  const posed = Object.entries(outside).filter(([, value]) => value !== 0);
  const hex = Buffer.from(frame).toString('hex');
  return { hook, frame: hex, outside: { now: outside.now, ...Object.fromEntries(posed) } };
}

export function readPacket({ hook, frame, outside }: CasePacket): PacketStep {
  const bytes = Uint8Array.from(Buffer.from(frame, 'hex'));
  return { hook, frame: bytes, outside: { ...quietOutside(outside.now), ...outside } };
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
  const steps = parsed.steps.map((step): Step => ('frame' in step ? readPacket(step) : step));
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
  if ('world' in value) return isWorld(value.world);
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
  return isCasePacket(value);
}

export function isWorld(world: unknown): boolean {
  return typeof world === 'object' && world !== null && 'services' in world && Array.isArray(world.services);
}

export function isCasePacket(value: object): value is CasePacket {
  if (!('hook' in value && (value.hook === 'from-pod' || value.hook === 'to-pod'))) return false;
  if (!('frame' in value && typeof value.frame === 'string' && /^([0-9a-f]{2})+$/.test(value.frame))) return false;
  if (!('outside' in value) || typeof value.outside !== 'object' || value.outside === null) return false;
  return 'now' in value.outside && Object.values(value.outside).every((number) => typeof number === 'number');
}
