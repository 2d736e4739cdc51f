// SPDX-License-Identifier: Apache-2.0
/** What becomes of mutants of the control plane, and the table that tells it. */
import { exclusions, operatorNames } from './changes.ts';
import { DRAW_RULE, type DrawnMutant } from './draw.ts';
import type { ControlFault } from './fault.ts';

type Found = { readonly test: string; readonly why: string; readonly durationMs: number };

/** How one mutant ended. */
export type ControlFate =
  /** A test expected something else. */
  | ({ readonly kind: 'unmet' } & Found)
  /** A test, or what it called, threw something. */
  | ({ readonly kind: 'thrown' } & Found)
  /** A test did not end; the process died. */
  | ({ readonly kind: 'endless' | 'crash' } & Found)
  /** It could not be tried. */
  | ({ readonly kind: 'failed' } & Found)
  | { readonly kind: 'survives'; readonly tests: number; readonly durationMs: number };

export function isKilled({ kind }: ControlFate): boolean {
  return kind !== 'survives' && kind !== 'failed';
}

/** Who found it, shortly: a scenario and the way it was played, or a file of tests and the sentence that no longer holds. */
export function killerText(fate: ControlFate): string {
  if (fate.kind === 'survives') return 'SURVIVES';
  if (fate.kind === 'failed') return `NOT TRIED: ${fate.why}`;
  const [file = '', ...names] = fate.test.split(' › ');
  const place = file.replace(/^test\//, '').replace(/(\.property)?\.test\.ts$/, '');
  const who = place === 'scenarios/scenarios' ? `scenario ${names.join(', ')}` : `${place}: ${names.join(', ')}`;
  const how = { unmet: '', thrown: ' (thrown)', endless: ' (no end)', crash: ' (crash)' }[fate.kind];
  return `${who}${how}`;
}

/** The scenario that found it; undefined: another test did. */
export function scenarioOf(fate: ControlFate): string | undefined {
  if (fate.kind === 'survives') return undefined;
  return /^test\/scenarios\/scenarios\.test\.ts › ([\w-]+)/.exec(fate.test)?.[1];
}

/** Whether a written fault was found by the scenario or test that is said to find it. */
export function isByKiller({ fault, fate }: JudgedFault): boolean {
  if (fate.kind === 'survives' || fate.kind === 'failed') return false;
  return fate.test.startsWith(fault.killer) || scenarioOf(fate) === fault.killer;
}

export type JudgedFault = { readonly fault: ControlFault; readonly fate: ControlFate };
export type JudgedDrawn = { readonly mutant: DrawnMutant; readonly fate: ControlFate };

/** Mutants that were tried; `control`: nothing was changed, and all tests must pass. */
export type ControlReport = {
  readonly faults: readonly JudgedFault[];
  readonly drawn: readonly JudgedDrawn[];
  /** All that the rules can make. */
  readonly possible: number;
  readonly seed: number;
  readonly control: ControlFate;
};

/** Key or name of a mutant -> why nobody can find it. */
export type Argued = Readonly<Record<string, string>>;

const SHARE_MIN = 0.95;

/** Every written fault is found by whom it names; of the drawn ones enough are, or those that aren't are argued. */
export function isTrusted({ control, faults, drawn }: ControlReport, argued: Argued): boolean {
  if (control.kind !== 'survives' || faults.length + drawn.length === 0) return false;
  const survivors = drawn.filter(({ fate }) => !isKilled(fate));
  const isEnough = drawn.length - survivors.length >= SHARE_MIN * drawn.length;
  return (
    faults.every(isByKiller) &&
    (isEnough || survivors.every(({ mutant, fate }) => fate.kind === 'survives' && mutant.key in argued))
  );
}

const SHOWN = 34;

function shorten(code: string): string {
  return code.length <= SHOWN ? code : `${code.slice(0, SHOWN - 1)}…`;
}

function timeText({ durationMs }: ControlFate): string {
  return `${(durationMs / 1_000).toFixed(1)} s`.padStart(8);
}

/** name, rule, time, who found it. */
export function faultLine({ fault, fate }: JudgedFault): string {
  const other = isKilled(fate) && !isByKiller({ fault, fate }) ? `, NOT BY ${fault.killer}` : '';
  return `${fault.name.padEnd(44)} ${fault.rule.padEnd(10)}${timeText(fate)}  ${killerText(fate)}${other}`;
}

/** place, operator, old -> new, time, who found it. */
export function drawnLine({ mutant, fate }: JudgedDrawn): string {
  const place = `${mutant.file}:${mutant.line}`;
  const change = `${shorten(mutant.old)} -> ${shorten(mutant.new)}`;
  return `${place.padEnd(18)} ${mutant.operator.padEnd(11)}${change.padEnd(72)}${timeText(fate)}  ${killerText(fate)}`;
}

/** The table: a line for each mutant, the survivors with their argument, the spread, the totals. */
export function controlText(report: ControlReport, argued: Argued): string {
  const { faults, drawn } = report;
  const parts = [
    faults.map(faultLine),
    drawn.toSorted((left, right) => byPlace(left.mutant, right.mutant)).map(drawnLine),
    drawn.length === 0 ? [] : survivorLines(drawn, argued),
    drawn.length === 0 ? [] : [`drawn: ${DRAW_RULE}`, ...spreadLines(drawn)],
    drawn.length === 0 ? [] : ['left out', ...exclusions.map(({ what, reason }) => `${what.padEnd(34)} ${reason}`)],
    totalLines(report, argued),
  ];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

function byPlace(left: DrawnMutant, right: DrawnMutant): number {
  if (left.file !== right.file) return left.file < right.file ? -1 : 1;
  return left.at - right.at || (left.key < right.key ? -1 : 1);
}

function survivorLines(drawn: readonly JudgedDrawn[], argued: Argued): string[] {
  const survivors = drawn.filter(({ fate }) => !isKilled(fate));
  if (survivors.length === 0) return ['no survivors'];
  const lines = survivors.map(
    ({ mutant: { file, line, key } }) =>
      `${file}:${line}  ${key}\n    ${argued[key] ?? 'NOT ARGUED (proof/control/survivors.ts)'}`,
  );
  return ['survivors', ...lines];
}

function spreadLines(drawn: readonly JudgedDrawn[]): string[] {
  const row = (name: string, of: readonly JudgedDrawn[]): string => {
    const killed = of.filter(({ fate }) => isKilled(fate)).length;
    return `${name.padEnd(14)}${`${killed} of ${of.length}`.padStart(12)}`;
  };
  const files = [...new Set(drawn.map(({ mutant }) => mutant.file))].toSorted();
  const ofFiles = files.map((name) =>
    row(
      name,
      drawn.filter(({ mutant }) => mutant.file === name),
    ),
  );
  const ofOperators = operatorNames.map((name) =>
    row(
      name,
      drawn.filter(({ mutant }) => mutant.operator === name),
    ),
  );
  return [...ofFiles, ...ofOperators];
}

function share(part: number, of: number): string {
  return `${part} of ${of} (${((100 * part) / Math.max(1, of)).toFixed(1)} %)`;
}

function totalLines({ faults, drawn, control, possible, seed }: ControlReport, argued: Argued): string[] {
  const all = [...faults, ...drawn].map(({ fate }) => fate);
  const killed = all.filter(isKilled);
  const count = (kind: ControlFate['kind']): number => killed.filter((fate) => fate.kind === kind).length;
  const scenarios = killed.filter((fate) => scenarioOf(fate) !== undefined).length;
  const survivors = drawn.filter(({ fate }) => !isKilled(fate));
  const isArgued = survivors.filter(({ mutant }) => mutant.key in argued).length;
  const found = (of: readonly { readonly fate: ControlFate }[]): string =>
    share(of.filter(({ fate }) => isKilled(fate)).length, of.length);
  const lines = [
    `without a fault: ${control.kind === 'survives' ? `${control.tests} tests pass` : killerText(control)}`,
    `killed by scenarios ${scenarios}, by other tests ${killed.length - scenarios}; of them expectations ${count('unmet')}, exceptions ${count('thrown')}, without end ${count('endless')}, crashes ${count('crash')}`,
  ];
  if (faults.length > 0) lines.push(`written: killed ${found(faults)}`);
  if (drawn.length > 0)
    lines.push(
      `drawn from ${possible} by seed ${seed}: killed ${found(drawn)}; ${survivors.length} survive, ${isArgued} of them argued`,
    );
  return lines;
}
