// SPDX-License-Identifier: Apache-2.0
/** `tandem verify`: random clusters, packets and socket calls through both twins, until the budget ends or they differ. */
import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fail, failureText, ok, type Failure, type Result } from '../core/result.ts';
import { runCampaign, type CampaignReport, type Found } from '../proof/campaign.ts';
import { doubts } from '../proof/mutants/canary.ts';
import { parseCommands } from '../proof/sequences/commandcase.ts';
import { isTrusted, summaryOf, tableText } from '../proof/mutants/fates.ts';
import { mutants } from '../proof/mutants/mutants.ts';
import type { Mutant } from '../proof/mutants/plant.ts';
import { campaignText, findingText, socketText, sumReports, type Repeat } from '../proof/report.ts';
import { settingsOf } from '../proof/settings.ts';
import { caseText, parseCase } from '../proof/shrink.ts';
import { argued } from '../proof/mutants/survivors.ts';
import { runSockets, type SocketReport } from '../proof/sockets/sockets.ts';
import { Bench, runSteps, type Finding } from '../proof/steps.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import type { MutantResult } from './hunt.ts';
import { exitCode, printJson, printNote, printText, reportFailure, startProgress } from './output.ts';
import type { Rig } from './rig.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OBJECT = 'bpf/tandem.bpf.o';
/** Packets of one seed; then the next seed, with other settings and fresh maps. */
export const ROUND_PACKETS = 61_440;
const SOCKET_CALLS = 6_000;
const SEED_MAX = 2 ** 31;
const UNASKED_LENGTH = 120;

type Budget = { readonly packets: number; readonly durationMs: number };
/** What a run was asked for. */
export type Wanted = {
  readonly seed: number;
  readonly budget: Budget;
  readonly hook: 'from-pod' | 'to-pod' | 'connect' | undefined;
  readonly object: string;
  readonly bytes: Uint8Array;
  readonly isJson: boolean;
};

export const run: CommandRun = async ([what], options) => {
  if (options['control'] === true) return (await import('./verifycontrol.ts')).verifyControl(what, options);
  const wanted = wantedOf(options);
  if (!wanted.ok) return reportFailure(wanted.error);
  if (process.getuid?.() !== 0) {
    const remedy = 'run as root; tandem replay needs neither';
    return reportFailure(fail('environment', 'verify', 'the kernel twin needs root', remedy).error);
  }
  const mechanical = mechanicalOf(what, options);
  if (!mechanical.ok) return reportFailure(mechanical.error);
  if (mechanical.value !== undefined) return verifyMechanical(wanted.value, mechanical.value);
  if (what === 'mutants') return verifyMutants(wanted.value);
  if (what === 'sequences') return (await import('./verifysequences.ts')).verifySequences(wanted.value);
  const path = options['case'];
  if (typeof path === 'string') return verifyCase(wanted.value, path);
  return verify(wanted.value);
};

/** `100000` packets, or `30s`, or `2m`. */
export function parseBudget(text: string): Result<Budget> {
  const match = /^(\d{1,12})(s|m)?$/.exec(text);
  const number = Number(match?.[1] ?? 0);
  if (match === null || number === 0) {
    return fail('usage', `--budget ${text}`, 'neither a number of packets nor a time', 'write 100000, 30s or 2m');
  }
  const unit = match[2];
  if (unit === undefined) return ok({ packets: number, durationMs: Number.POSITIVE_INFINITY });
  return ok({ packets: Number.POSITIVE_INFINITY, durationMs: number * (unit === 's' ? 1_000 : 60_000) });
}

function wantedOf(options: CommandOptions): Result<Wanted> {
  const budget = parseBudget(String(options['budget'] ?? '20s'));
  if (!budget.ok) return budget;
  const hook = options['hook'];
  if (hook !== undefined && hook !== 'from-pod' && hook !== 'to-pod' && hook !== 'connect') {
    return fail('usage', `--hook ${String(hook)}`, 'no such hook', 'from-pod, to-pod or connect');
  }
  const object = typeof options['object'] === 'string' ? options['object'] : OBJECT;
  const bytes = readBytes(object === OBJECT ? join(ROOT, OBJECT) : object);
  if (!bytes.ok) return bytes;
  const given = options['seed'];
  const seed = typeof given === 'number' ? given : randomInt(SEED_MAX);
  return ok({ seed, budget: budget.value, hook, object, bytes: bytes.value, isJson: options['output'] === 'json' });
}

/** How many mechanical mutants are asked for, if any. */
function mechanicalOf(what: string | undefined, options: CommandOptions): Result<number | undefined> {
  const count = options['mechanical'];
  if (typeof count !== 'number') return ok(undefined);
  if (what === 'mutants' && count > 0) return ok(count);
  return fail('usage', `--mechanical ${count}`, 'mutants are counted from 1', 'verify mutants --mechanical 200');
}

function readBytes(path: string): Result<Uint8Array> {
  try {
    return ok(readFileSync(path));
  } catch (error) {
    return fail('input', path, error instanceof Error ? error.message : String(error));
  }
}

async function open({ bytes, object }: Pick<Wanted, 'bytes' | 'object'>, seed: number): Promise<Result<Rig>> {
  const { openRig } = await import('./rig.ts');
  return openRig({ object: bytes, name: object, settings: settingsOf(seed) });
}

async function verify(wanted: Wanted): Promise<number> {
  if (!wanted.isJson) printNote(`seed ${wanted.seed}, object ${wanted.object}`);
  const packets = wanted.hook === 'connect' ? ok([]) : await verifyPackets(wanted);
  if (!packets.ok) return reportFailure(packets.error);
  const found = packets.value.find((report) => report.found !== undefined);
  const hasSockets = found === undefined && (wanted.hook === undefined || wanted.hook === 'connect');
  const sockets = hasSockets ? await verifySockets(wanted) : ok(undefined);
  if (!sockets.ok) return reportFailure(sockets.error);
  if (found?.found !== undefined) return reportFound(wanted, found.seed, found.found);
  const finding = sockets.value?.finding;
  if (finding !== undefined) return reportSocketFinding(wanted, finding);
  printAgreement(wanted, packets.value, sockets.value);
  return exitCode.agreed;
}

/** Campaign after campaign, a seed each, until one finds something or the budget ends. */
async function verifyPackets(wanted: Wanted): Promise<Result<readonly CampaignReport[]>> {
  const { budget, hook } = wanted;
  const progress = startProgress();
  const endsAtMs = performance.now() + budget.durationMs;
  const reports: CampaignReport[] = [];
  let done = 0;
  for (let seed = wanted.seed; done < budget.packets && performance.now() < endsAtMs; seed++) {
    const rig = await open(wanted, seed);
    if (!rig.ok) return rig;
    using sides = rig.value;
    const report = runCampaign({
      seed,
      sides,
      settings: settingsOf(seed),
      packetsMax: Math.min(ROUND_PACKETS, budget.packets - done),
      hook: hook === 'connect' ? undefined : hook,
      goesOn: (packets) => {
        progress.update(`${(done + packets).toLocaleString('en')} packets, seed ${seed}`);
        return performance.now() < endsAtMs;
      },
    });
    if (!report.ok) return report;
    reports.push(report.value);
    done += report.value.packets;
    if (report.value.found !== undefined) break;
  }
  progress.done();
  return ok(reports);
}

async function verifySockets(wanted: Wanted): Promise<Result<SocketReport>> {
  const { seed, budget, hook } = wanted;
  const rig = await open(wanted, seed);
  if (!rig.ok) return rig;
  using sides = rig.value;
  const { openSockets } = await import('../kernel/sockets.ts');
  const opened = openSockets(sides.object);
  if (!opened.ok) return opened;
  using sockets = opened.value;
  const isOnly = hook === 'connect';
  const callsMax = isOnly && Number.isFinite(budget.packets) ? budget.packets : SOCKET_CALLS;
  return runSockets({ seed, sides, datapath: sides.datapath, sockets, callsMax });
}

/** What repeats this run, as it must be typed. */
export function commandOf({ object, hook }: Wanted, words: string): string {
  const rest = [hook === undefined ? '' : ` --hook ${hook}`, object === OBJECT ? '' : ` --object ${object}`];
  return `./tandem verify ${words}${rest.join('')}`;
}

function reportFound(wanted: Wanted, seed: number, found: Found): number {
  const text = caseText({ seed, steps: found.steps });
  const file = keepCase(seed, text);
  const repeat: Repeat = {
    command: commandOf(wanted, `--seed ${seed} --budget ${found.packets}`),
    shortCommand: file === undefined ? undefined : commandOf(wanted, `--case ${file}`),
  };
  if (wanted.isJson)
    printJson({ kind: 'VerifyFinding', finding: found.finding, repeat, case: JSON.parse(text) as unknown });
  else printText(findingText(found.finding, repeat, found.steps.length));
  return exitCode.twinsDiffer;
}

/** The case goes beside the modules, where nothing is committed; a checkout that can't be written to keeps none. */
export function keepCase(seed: number, text: string): string | undefined {
  const folder = join(ROOT, '.tandem/cases');
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${seed}.json`), text);
    return `.tandem/cases/${seed}.json`;
  } catch (error) {
    printNote(`tandem: case not kept: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function reportSocketFinding(wanted: Wanted, finding: Finding): number {
  const words = `--hook connect --seed ${wanted.seed} --budget ${finding.step}`;
  const repeat = { command: commandOf({ ...wanted, hook: undefined }, words), shortCommand: undefined };
  if (wanted.isJson) printJson({ kind: 'VerifyFinding', finding, repeat });
  else printText(findingText(finding, repeat, 0));
  return exitCode.twinsDiffer;
}

function printAgreement(wanted: Wanted, reports: readonly CampaignReport[], sockets: SocketReport | undefined): void {
  const packets = reports.length === 0 ? undefined : sumReports(reports);
  if (wanted.isJson)
    return printJson({ kind: 'VerifySummary', seed: wanted.seed, rounds: reports.length, packets, sockets });
  if (packets !== undefined) printText(campaignText(packets));
  if (sockets !== undefined) printText(socketText(sockets));
  printNote(`seed ${wanted.seed}`);
}

/** Runs the steps of a file. */
async function verifyCase(wanted: Wanted, path: string): Promise<number> {
  const bytes = readBytes(path);
  if (!bytes.ok) return reportFailure(bytes.error);
  const text = Buffer.from(bytes.value).toString('utf8');
  const commands = parseCommands(text, path);
  if (!commands.ok) return reportFailure(commands.error);
  if (commands.value !== undefined)
    return (await import('./verifysequences.ts')).verifyCommands(wanted, path, commands.value);
  const recorded = (await import('./recordedcase.ts')).parseRecorded(text, path);
  if (!recorded.ok) return reportFailure(recorded.error);
  if (recorded.value !== undefined)
    return (await import('./verifyrecorded.ts')).verifyRecorded(wanted, path, recorded.value);
  const read = parseCase(text, path);
  if (!read.ok) return reportFailure(read.error);
  const { seed, steps } = read.value;
  const rig = await open(wanted, seed);
  if (!rig.ok) return reportFailure(rig.error);
  using sides = rig.value;
  const report = runSteps(new Bench(sides), steps, true);
  if (!report.ok) return reportFailure(report.error);
  const { finding, packets } = report.value;
  return reportCase(wanted, path, finding, { seed, packets });
}

/** What became of a case; `ran`: its seed, and how many packets or commands it had. */
export function reportCase(
  wanted: Wanted,
  path: string,
  finding: Finding | undefined,
  ran: { readonly seed: number } & ({ readonly packets: number } | { readonly commands: number }),
): number {
  const repeat = { command: commandOf(wanted, `--case ${path}`), shortCommand: undefined };
  const count = 'packets' in ran ? `${ran.packets} packets` : `${ran.commands} commands`;
  if (finding === undefined) {
    if (wanted.isJson) printJson({ kind: 'VerifySummary', ...ran });
    else printText(`${path}: ${count}, no difference`);
    return exitCode.agreed;
  }
  if (wanted.isJson) printJson({ kind: 'VerifyFinding', finding, repeat });
  else printText(findingText(finding, repeat, 0));
  return exitCode.twinsDiffer;
}

/** Every fault must be found, and for the right reason. */
async function verifyMutants(wanted: Wanted): Promise<number> {
  const { huntMutant } = await import('./hunt.ts');
  const survivors: string[] = [];
  for (const mutant of mutants) {
    const result = huntMutant(mutant, wanted.seed);
    const { said, isFound, packets } = result.ok ? judgedMutant(mutant, result.value) : unasked(result.error);
    if (!isFound) survivors.push(mutant.name);
    if (!wanted.isJson) printText(mutantLine(mutant, packets, said));
  }
  if (wanted.isJson) printJson({ kind: 'VerifyMutants', seed: wanted.seed, mutants: mutants.length, survivors });
  else printText(`${mutants.length - survivors.length} of ${mutants.length} faults found, seed ${wanted.seed}`);
  return survivors.length === 0 ? exitCode.agreed : exitCode.harnessBroken;
}

type JudgedMutant = { readonly said: string; readonly isFound: boolean; readonly packets: number };

function judgedMutant(mutant: Mutant, { finding, packets }: MutantResult): JudgedMutant {
  const doubt = doubts(mutant, finding);
  if (doubt.length > 0) return { said: `NOT FOUND: ${doubt.join('; ')}`, isFound: false, packets };
  return { said: finding?.field ?? '', isFound: true, packets };
}

/** One that was not built or not loaded; the others still can be. */
function unasked(failure: Failure): JudgedMutant {
  return { said: `NOT ASKED: ${failureText(failure).slice(0, UNASKED_LENGTH)}`, isFound: false, packets: 0 };
}

/** One row of the table of faults: name, packets needed, what was reported. */
export function mutantLine({ name }: Mutant, packets: number, said: string): string {
  return `${name.padEnd(28)}${String(packets).padStart(8)}  ${said}`;
}

/** Small changes that nobody thought of: enough of them must be found, the others argued (proof/mutants/survivors.ts). */
async function verifyMechanical({ seed, isJson }: Wanted, count: number): Promise<number> {
  const { runMechanical } = await import('./mechanical.ts');
  const progress = startProgress();
  const report = await runMechanical({
    count,
    seed,
    onProgress: (done) => progress.update(`${done} of ${count} mutants, seed ${seed}`),
  });
  progress.done();
  const failed = report.judged.find(({ fate }) => fate.kind === 'failed')?.fate ?? report.control;
  if (failed.kind === 'failed') return reportFailure(fail('environment', 'verify mutants', failed.why).error);
  if (isJson) printJson({ kind: 'VerifyMechanical', seed, ...summaryOf(report, argued) });
  else printText(tableText(report, argued, seed));
  return isTrusted(report, argued) ? exitCode.agreed : exitCode.harnessBroken;
}
