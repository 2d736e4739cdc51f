// SPDX-License-Identifier: Apache-2.0
/** `tandem compile FILES...`: manifests or event streams to the frontends and backends that a node would serve. */
import { compiledTable, compileServices, type DocumentConfig } from '../core/control/tell/document.ts';
import { fail, type Failure, type Result } from '../core/result.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { clusterOf, orderNotes, readInputs, type ClusterInput } from './compile/inputs.ts';
import { readNode } from './compile/node.ts';
import { exitCode, printLargeJson, printNote, printText, reportFailure } from './output.ts';

type Mode = 'compile' | 'watch-stream' | 'diff';

/** How each mode can print; the first is what it does unasked. */
const FORMATS: { readonly [mode in Mode]: readonly string[] } = {
  compile: ['json', 'table'],
  'watch-stream': ['text', 'ndjson'],
  diff: ['text', 'json'],
};

export const run: CommandRun = async (files, options) => {
  const mode = modeOf(options);
  const [usual = ''] = FORMATS[mode];
  const format = typeof options['output'] === 'string' ? options['output'] : usual;
  const wrong = misuse(mode, format, files, options);
  if (wrong !== undefined) return reportFailure(wrong);
  const configs = await readConfigs(options);
  if (!configs.ok) return reportFailure(configs.error);
  const [first, second] = configs.value;
  if (mode === 'diff') return runDifference(files, options, first, second, format);
  const input = await readInputs(files);
  if (mode === 'watch-stream') {
    const { watchStream } = await import('./compile/watch.ts');
    watchStream(input, first, format);
  } else {
    const document = compileServices(clusterOf(input), first);
    if (format === 'table') printText(compiledTable(document));
    else printLargeJson(document);
  }
  return finish([input], mode === 'watch-stream');
};

function modeOf(options: CommandOptions): Mode {
  if (options['diff'] === true || options['diffConfig'] !== undefined) return 'diff';
  return options['watchStream'] === true ? 'watch-stream' : 'compile';
}

function configFiles(options: CommandOptions): readonly string[] {
  const given = options['config'];
  return Array.isArray(given) ? given.map(String) : [];
}

function misuse(mode: Mode, format: string, files: readonly string[], options: CommandOptions): Failure | undefined {
  const wrong = (message: string, remedy: string): Failure => fail('usage', 'compile', message, remedy).error;
  if (options['watchStream'] === true && mode === 'diff')
    return wrong('--watch-stream and a difference', 'ask for one');
  if (!FORMATS[mode].includes(format)) {
    const what = mode === 'compile' ? 'the document' : `--${mode}`;
    return wrong(`${what} has no -o ${format}`, `there are ${FORMATS[mode].join(', ')}`);
  }
  if (options['diff'] === true && files.length !== 2)
    return wrong(`--diff of ${files.length} files`, 'give two: A and B, each a file or a folder');
  const configs = configFiles(options).length;
  if (configs > (options['diff'] === true && options['diffConfig'] === undefined ? 2 : 1))
    return wrong(`${configs} times --config`, 'the second one is for B of --diff A B; otherwise --diff-config');
  return undefined;
}

/** Of A and of B; the same where only one is asked for. */
async function readConfigs(options: CommandOptions): Promise<Result<readonly [DocumentConfig, DocumentConfig]>> {
  const [fileOfA, fileOfB = fileOfA] = configFiles(options);
  const first = await readNode(fileOfA, options['nodeName']);
  if (!first.ok) return first;
  const other = options['diffConfig'];
  const second = await readNode(typeof other === 'string' ? other : fileOfB, options['nodeName']);
  return second.ok ? { ok: true, value: [first.value, second.value] } : second;
}

async function runDifference(
  files: readonly string[],
  options: CommandOptions,
  first: DocumentConfig,
  second: DocumentConfig,
  format: string,
): Promise<number> {
  const { printDifference } = await import('./compile/diff.ts');
  const isOfFiles = options['diff'] === true;
  const before = await readInputs(isOfFiles ? files.slice(0, 1) : files);
  const after = isOfFiles ? await readInputs(files.slice(1)) : before;
  const names = isOfFiles ? files : [configFiles(options)[0] ?? 'the defaults', String(options['diffConfig'])];
  printDifference(
    { name: names[0] ?? '', input: before, config: first },
    { name: names[1] ?? '', input: after, config: second },
    format,
  );
  return finish(isOfFiles ? [before, after] : [before]);
}

/** What could be read has been reported; what couldn't decides the exit code. */
function finish(inputs: readonly ClusterInput[], isOrdered = false): number {
  const notes = inputs.flatMap((input) => [...input.notes, ...(isOrdered ? [] : orderNotes(input))]);
  for (const note of notes) printNote(`tandem: ${note}`);
  return inputs.flatMap(({ failures }) => failures).map(reportFailure)[0] ?? exitCode.agreed;
}
