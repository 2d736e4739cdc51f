// SPDX-License-Identifier: Apache-2.0
/** The front door: reads the command line, runs one command, and turns whatever happens into an exit code. */
import { readFileSync } from 'node:fs';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { Failure } from '../core/result.ts';
import { editDistance } from '../formats/distance.ts';
import { commands, type CommandOptions, type CommandRun, type CommandSpec, type OptionSpec } from './commands.ts';
import { exitCode, printNote, reportFailure } from './output.ts';

/** Runs one command line (without the program's name) and tells the exit code; never throws. */
export async function main(words: readonly string[]): Promise<number> {
  let code: number = exitCode.agreed;
  const program = createProgram(async (spec, args, options) => {
    const run = await loadCommand(spec.name);
    code = await run(args, options);
  });
  try {
    await program.parseAsync([...words], { from: 'user' });
    return code;
  } catch (error) {
    return exitCodeOf(error);
  }
}

type Action = (spec: CommandSpec, args: readonly string[], options: CommandOptions) => Promise<void>;

function createProgram(action: Action): Command {
  const program = new Command('tandem');
  program
    .description('Kubernetes Services by eBPF, with a twin in TypeScript for every decision.')
    .version(`tandem ${readVersion()}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: (text) => printNote(oneLine(text)) })
    .addHelpText('after', '\nExample:\n  ./tandem demo --yes\n\n`./tandem <command> --help` has an example of each.');
  for (const spec of commands) addCommand(program, spec, action);
  program.action((_options, command: Command) => {
    const word = command.args[0];
    if (word === undefined) command.help({ error: true });
    command.error(`error: unknown command '${word}'${nearest(word)}`, { code: 'commander.unknownCommand' });
  });
  program.allowExcessArguments(true);
  return program;
}

function addCommand(program: Command, spec: CommandSpec, action: Action): void {
  const command = program.command(spec.name).summary(spec.summary).description(spec.summary);
  for (const { name, help, choices } of spec.arguments) {
    const argument = new Argument(name, help);
    command.addArgument(choices === undefined ? argument : argument.choices(choices));
  }
  for (const option of spec.options) command.addOption(createOption(option));
  command.addHelpText('after', `\nExample:\n${spec.examples.map((line) => `  ${line}`).join('\n')}`);
  command.action(async () => {
    // processedArgs keeps a variadic argument as an array of its own; commands get plain words.
    const args = command.processedArgs.flat().filter((word): word is string => typeof word === 'string');
    await action(spec, args, command.opts<CommandOptions>());
  });
}

function createOption(spec: OptionSpec): Option {
  const option = new Option(spec.flags, spec.help);
  if (spec.choices !== undefined) option.choices(spec.choices);
  if (spec.default !== undefined) option.default(spec.default);
  if (spec.parse === 'number') option.argParser(parseWholeNumber);
  if (spec.repeatable === true) {
    option.argParser((word, before: readonly string[] | undefined) => [...(before ?? []), word]);
  }
  return option;
}

function parseWholeNumber(word: string): number {
  const value = Number(word);
  if (!/^\d+$/.test(word) || !Number.isSafeInteger(value)) throw new InvalidArgumentError('Not a whole number.');
  return value;
}

async function loadCommand(name: string): Promise<CommandRun> {
  const module: unknown = await import(new URL(`./${name}.ts`, import.meta.url).href);
  if (typeof module === 'object' && module !== null && 'run' in module && isCommandRun(module.run)) return module.run;
  throw new Error(`cli/${name}.ts does not export run`);
}

function isCommandRun(value: unknown): value is CommandRun {
  return typeof value === 'function';
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) {
    // Help and version come this way too, with exit code 0 and everything printed.
    return error.exitCode === 0 ? exitCode.agreed : exitCode.usage;
  }
  if (isFailure(error)) return reportFailure(error);
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const debug = process.env['TANDEM_DEBUG'] === '1';
  printNote(`tandem: crash: ${oneLine(text)}${debug ? '' : '; TANDEM_DEBUG=1 prints the stack'}`);
  if (debug && error instanceof Error) printNote(error.stack ?? '(no stack)');
  return exitCode.crash;
}

function isFailure(value: unknown): value is Failure {
  if (typeof value !== 'object' || value === null || value instanceof Error) return false;
  return 'kind' in value && 'object' in value && 'message' in value && 'remedy' in value;
}

/** Commander's own suggestion spans two lines; here an error is one. */
function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

function nearest(word: string): string {
  const ranked = commands
    .map(({ name }) => ({ name, distance: editDistance(word, name) }))
    .toSorted((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= 2 ? ` (Did you mean ${best.name}?)` : '; ./tandem --help lists them';
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const known = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return known && typeof manifest.version === 'string' ? manifest.version : 'unknown';
}

process.on('uncaughtException', (error) => process.exit(exitCodeOf(error)));
process.on('unhandledRejection', (error) => process.exit(exitCodeOf(error)));
if (import.meta.main) process.exit(await main(process.argv.slice(2)));
