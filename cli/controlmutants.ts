// SPDX-License-Identifier: Apache-2.0
/** `tandem verify mutants --control`: faults planted into the control plane, each judged by the scenarios and laws of it. */
import { availableParallelism } from 'node:os';
import { failureText } from '../core/result.ts';
import { CONTROL_FILES, drawMutants, mutantsOf, plantDrawn, type DrawnMutant } from '../proof/control/draw.ts';
import type { ControlFate, ControlReport } from '../proof/control/fates.ts';
import { plantFault, type ControlFault } from '../proof/control/fault.ts';
import { Judge, type JudgeRound } from './judges.ts';

const JUDGES_MAX = 2;

const SCENARIOS = 'test/scenarios/scenarios.test.ts';
/** What examples show, in the order of the time that they take. */
const EXAMPLES = [
  SCENARIOS,
  ...[
    'desired',
    'decisions',
    'hostports',
    'nodes',
    'ranges',
    'space',
    'entries',
    'memory',
    'rangesets',
    'maglev',
    'classifier',
    'adopt',
    'cluster',
    'slices',
    'endpoints',
    'affected',
    'badobjects',
  ].map((name) => `test/core/control/${name}.test.ts`),
  'test/core/control/tell/document.test.ts',
  'test/agent/loop.test.ts',
  'test/agent/audit.test.ts',
  'test/agent/damage.test.ts',
];
const PROPERTIES = [
  'test/agent/orders.test.ts',
  'test/core/control/tell/follow.property.test.ts',
  'test/core/control/views.property.test.ts',
  'test/agent/incremental.property.test.ts',
  'test/agent/loop.property.test.ts',
  'test/agent/tight.property.test.ts',
  'test/core/agreement.property.test.ts',
];
/** For a sample in every run of the tests. */
export const FIRST_ROUND: readonly JudgeRound[] = [{ seed: 1, files: EXAMPLES }];
/** The same cases for every mutant; what one seed of the laws does not find the next one may. */
export const ROUNDS: readonly JudgeRound[] = [
  { seed: 1, files: [...EXAMPLES, ...PROPERTIES] },
  { seed: 2, files: PROPERTIES },
];

export type ControlOptions = {
  readonly faults: readonly ControlFault[];
  /** Mechanical ones. */
  readonly count: number;
  readonly seed: number;
  /** What a mutant must survive; a written one first the test that is to find it. */
  readonly rounds?: readonly JudgeRound[];
  readonly onProgress?: (done: number, of: number) => void;
};

/** The test, or the scenario, that is to find a fault. */
export function killerRound({ killer }: ControlFault): JudgeRound {
  const [file = '', ...names] = killer.split(' › ');
  if (names.length === 0) return { seed: 1, files: [SCENARIOS], only: killer };
  return { seed: 1, files: [file], only: names.join(' › ') };
}

/** Tries each; nothing is tried where the tests fail without any fault. */
export async function runControl({
  faults,
  count,
  seed,
  rounds = ROUNDS,
  onProgress,
}: ControlOptions): Promise<ControlReport> {
  const judges = Array.from({ length: Math.min(JUDGES_MAX, availableParallelism()) }, () => new Judge());
  try {
    const [first] = judges;
    if (first === undefined) throw new Error('a machine has a processor');
    const files = CONTROL_FILES.map((name) => ({ name, text: first.textOf(name) }));
    const texts = new Map(files.map(({ name, text }) => [name, text]));
    const control = await first.ask(undefined, rounds);
    const isSound = control.kind === 'survives';
    const drawn = drawMutants(files, seed, isSound ? count : 0);
    const tried = isSound ? faults : [];
    const jobs = [
      ...tried.map((fault) => jobOfFault(fault, first.textOf(fault.file), rounds)),
      ...drawn.map((mutant) => jobOfDrawn(mutant, texts, rounds)),
    ];
    const fates = await tryAll(judges, jobs, (done) => onProgress?.(done, jobs.length));
    return {
      faults: tried.map((fault, index) => ({ fault, fate: fates[index]! })),
      drawn: drawn.map((mutant, index) => ({ mutant, fate: fates[tried.length + index]! })),
      possible: files.reduce((sum, file) => sum + mutantsOf(file).length, 0),
      seed,
      control,
    };
  } finally {
    for (const judge of judges) judge.end();
  }
}

type Job = (judge: Judge) => Promise<ControlFate>;

function jobOfFault(fault: ControlFault, text: string, rounds: readonly JudgeRound[]): Job {
  const planted = plantFault(fault, text);
  if (!planted.ok)
    return () => Promise.resolve({ kind: 'failed', test: '', why: failureText(planted.error), durationMs: 0 });
  return (judge) => judge.ask({ file: fault.file, text: planted.value }, [killerRound(fault), ...rounds]);
}

function jobOfDrawn(mutant: DrawnMutant, texts: ReadonlyMap<string, string>, rounds: readonly JudgeRound[]): Job {
  const text = plantDrawn(mutant, texts.get(mutant.file) ?? '') ?? '';
  return (judge) => judge.ask({ file: mutant.file, text }, rounds);
}

/** Each job to the next judge that is free; the fates in the order of the jobs. */
async function tryAll(
  judges: readonly Judge[],
  jobs: readonly Job[],
  onDone: (done: number) => void,
): Promise<readonly ControlFate[]> {
  const fates: ControlFate[] = [];
  let next = 0;
  let done = 0;
  const work = async (judge: Judge): Promise<void> => {
    for (let at = next++; at < jobs.length; at = next++) {
      fates[at] = await jobs[at]!(judge);
      onDone(++done);
    }
  };
  await Promise.all(judges.map(work));
  return fates;
}
