// SPDX-License-Identifier: Apache-2.0
/** What becomes of mechanical mutants, and the table that tells it. */
import { doubts } from './canary.ts';
import { DRAW_RULE, type MechanicalMutant } from './mechanical.ts';
import { exclusions, operatorNames } from './operators.ts';
import type { Finding } from '../steps.ts';

/** How one mutant ended. */
export type Fate =
  /** No mutant: clang refuses it, or the code it gives is that of the original. */
  | { readonly kind: 'uncompiled' | 'same' }
  /** The kernel's verifier refuses it: it could never run. */
  | { readonly kind: 'verifier'; readonly why: string }
  | {
      readonly kind: 'hunted';
      /** Of the campaign that found it, or the last one. */
      readonly seed: number;
      readonly packets: number;
      readonly finding: Finding | undefined;
      readonly steps: number | undefined;
    }
  /** The process that tried it died or fell silent. */
  | { readonly kind: 'crash'; readonly why: string }
  /** The harness could not try it. */
  | { readonly kind: 'failed'; readonly why: string };

export type Judged = { readonly mutant: MechanicalMutant; readonly fate: Fate };

/** Whether something was tried at all; else another one stands in for it. */
export function isMutant({ kind }: Fate): boolean {
  return kind !== 'uncompiled' && kind !== 'same';
}

const ANY = { shows: /./ };

/** Who found it: the verifier, a crash, or what was compared; undefined: it survives. */
export function killerOf(fate: Fate): string | undefined {
  if (fate.kind === 'verifier' || fate.kind === 'crash') return fate.kind;
  if (fate.kind !== 'hunted' || fate.finding === undefined || doubts(ANY, fate.finding).length > 0) return undefined;
  const field = /^\w+/.exec(fate.finding.field)?.[0] ?? '';
  return { trace: 'marks', length: 'bytes' }[field] ?? field;
}

/** One row: where, operator, old -> new, who found it, after how many packets or calls, steps of the shortest case. */
export function fateLine({ mutant, fate }: Judged): string {
  const place = `${mutant.header}:${mutant.line}`;
  const change = `${shorten(mutant.old)} -> ${mutant.new === '' ? 'nothing' : shorten(mutant.new)}`;
  const { packets = 0, steps } = fate.kind === 'hunted' ? fate : {};
  const rest = `${String(packets).padStart(8)}${String(steps ?? '').padStart(6)}`;
  const killer = killerOf(fate) ?? 'SURVIVES';
  return `${place.padEnd(16)} ${mutant.operator.padEnd(11)}${change.padEnd(50)} ${killer.padEnd(12)}${rest}`;
}

const SHOWN = 38;

function shorten(code: string): string {
  return code.length <= SHOWN ? code : `${code.slice(0, SHOWN - 1)}…`;
}

/** Mutants that were tried, in the order of the text, and the programs without any fault for comparison. */
export type MechanicalReport = {
  /** All that the rules can make. */
  readonly possible: number;
  readonly judged: readonly Judged[];
  /** What was drawn and was none. */
  readonly replaced: { readonly uncompiled: number; readonly same: number };
  readonly control: Fate;
};

export type Totals = {
  readonly mutants: number;
  /** By the verifier too. */
  readonly killed: number;
  /** Those that the verifier let through. */
  readonly loaded: number;
  readonly found: number;
  readonly byKiller: Readonly<Record<string, number>>;
  readonly survivors: readonly MechanicalMutant[];
};

export function totalsOf(judged: readonly Judged[]): Totals {
  const survivors = judged.filter(({ fate }) => killerOf(fate) === undefined).map(({ mutant }) => mutant);
  const byKiller: Record<string, number> = {};
  for (const { fate } of judged) {
    const killer = killerOf(fate);
    if (killer !== undefined) byKiller[killer] = (byKiller[killer] ?? 0) + 1;
  }
  const loaded = judged.length - (byKiller['verifier'] ?? 0);
  const killed = judged.length - survivors.length;
  return { mutants: judged.length, killed, loaded, found: loaded - survivors.length, byKiller, survivors };
}

/** Key of a mutant -> why nobody can find it. */
export type Argued = Readonly<Record<string, string>>;

const SHARE_MIN = 0.95;

/**
 * Nothing is found where no fault is, and enough is found where one is, or what isn't is argued. What the verifier
 * refuses says nothing of the comparison and doesn't count.
 */
export function isTrusted({ judged, control }: MechanicalReport, argued: Argued): boolean {
  if (control.kind !== 'hunted' || control.finding !== undefined) return false;
  const { found, loaded, survivors } = totalsOf(judged);
  return loaded > 0 && (found >= SHARE_MIN * loaded || survivors.every(({ key }) => key in argued));
}

/** The table: a line for each mutant, the survivors, the spread, the totals. */
export function tableText(report: MechanicalReport, argued: Argued, seed: number): string {
  const { judged } = report;
  return [
    ...judged.map(fateLine),
    '',
    survivorLines(totalsOf(judged).survivors, argued),
    '',
    `drawn: ${DRAW_RULE}`,
    spreadLines(judged),
    '',
    exclusionLines(),
    '',
    totalsText(report, argued, seed),
  ].join('\n');
}

function survivorLines(survivors: readonly MechanicalMutant[], argued: Argued): string {
  if (survivors.length === 0) return 'no survivors';
  const line = (it: MechanicalMutant): string =>
    `${it.header}:${it.line}  ${it.key}\n    ${argued[it.key] ?? 'NOT ARGUED (proof/mutants/survivors.ts)'}`;
  return ['survivors', ...survivors.map(line)].join('\n');
}

/** Killed of drawn, by header and by operator. */
function spreadLines(judged: readonly Judged[]): string {
  const row = (name: string, of: readonly Judged[]): string => {
    const { killed, mutants } = totalsOf(of);
    return `${name.padEnd(14)}${`${killed} of ${mutants}`.padStart(12)}`;
  };
  const headers = [...new Set(judged.map(({ mutant }) => mutant.header))].toSorted();
  const of = (name: string, kind: 'header' | 'operator'): string =>
    row(
      name,
      judged.filter(({ mutant }) => mutant[kind] === name),
    );
  return [...headers.map((name) => of(name, 'header')), ...operatorNames.map((name) => of(name, 'operator'))].join(
    '\n',
  );
}

/** What is never mutated, with the reason. */
function exclusionLines(): string {
  return ['left out', ...exclusions.map(({ what, reason }) => `${what.padEnd(50)} ${reason}`)].join('\n');
}

function totalsText({ judged, replaced, control, possible }: MechanicalReport, argued: Argued, seed: number): string {
  const { killed, mutants, found, loaded, byKiller, survivors } = totalsOf(judged);
  const killers = Object.entries(byKiller)
    .toSorted(([, left], [, right]) => right - left)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
  const isArgued = survivors.filter(({ key }) => key in argued).length;
  const share = (part: number, of: number): string =>
    `${part} of ${of} (${((100 * part) / Math.max(1, of)).toFixed(1)} %)`;
  return [
    `drawn from ${possible} by seed ${seed}; replaced: ${replaced.same} gave the same object, ${replaced.uncompiled} did not compile`,
    `without a fault: ${controlText(control)}`,
    `found by: ${killers}`,
    `killed ${share(killed, mutants)}, of those that load ${share(found, loaded)}; ${survivors.length} survive, ${isArgued} of them argued`,
  ].join('\n');
}

function controlText(control: Fate): string {
  if (control.kind !== 'hunted') return control.kind;
  const { packets, finding, seed } = control;
  if (finding === undefined) return `nothing found in ${packets.toLocaleString('en')} packets and calls`;
  const { field, model, kernel, packet } = finding;
  return `${field} DIFFERS in the campaign of seed ${seed}: model ${model}, kernel ${kernel}, ${packet}; no mutant was tried`;
}

/** The same for programs that read it. */
export function summaryOf({ judged, replaced, control, possible }: MechanicalReport, argued: Argued): object {
  const { survivors, ...totals } = totalsOf(judged);
  const rows = judged.map(({ mutant: { header, line, operator, old, new: next, key }, fate }) => {
    const { packets = 0, steps, finding } = fate.kind === 'hunted' ? fate : {};
    return { header, line, operator, old, new: next, key, killedBy: killerOf(fate) ?? null, packets, steps, finding };
  });
  const notKilled = survivors.map(({ key }) => ({ key, argued: argued[key] ?? null }));
  return { possible, ...totals, replaced, control, survivors: notKilled, rows };
}
