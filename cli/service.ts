// SPDX-License-Identifier: Apache-2.0
/** `tandem service list|show`: the Services of a cluster as a node serves them, all of them or one in full. */
import type { ClusterState } from '../core/control/cluster.ts';
import { computeEverything } from '../core/control/tell/document.ts';
import { listingLines, listServices } from '../core/control/tell/servicelist.ts';
import { fail } from '../core/result.ts';
import type { CommandRun } from './commands.ts';
import { clusterOf, orderNotes, readInputs } from './compile/inputs.ts';
import { readNode } from './compile/node.ts';
import { exitCode, printJson, printNote, printText, reportFailure } from './output.ts';

/** So many names are told where the one that was asked for is not there. */
const NAMES_SUGGESTED = 3;

export const run: CommandRun = async ([action, ...words], options) => {
  const isShow = action === 'show';
  const [name, files] = isShow ? [words[0] ?? '', words.slice(1)] : ['', words];
  if (files.length === 0) {
    const needs = isShow ? 'NAMESPACE/NAME and files' : 'files';
    return reportFailure(fail('usage', `service ${action}`, `needs ${needs}`, './tandem service --help').error);
  }
  const config = typeof options['config'] === 'string' ? options['config'] : undefined;
  const node = await readNode(config, options['nodeName']);
  if (!node.ok) return reportFailure(node.error);
  const input = await readInputs(files);
  const cluster = clusterOf(input);
  const isJson = options['output'] === 'json';
  const code = isShow ? await show(cluster, name, node.value, isJson) : list(cluster, node.value, isJson);
  for (const note of [...input.notes, ...orderNotes(input)]) printNote(`tandem: ${note}`);
  return input.failures.map(reportFailure)[0] ?? code;
};

type Node = Parameters<typeof computeEverything>[1];

function list(cluster: ClusterState, node: Node, isJson: boolean): number {
  const listing = listServices(cluster, computeEverything(cluster, node));
  if (isJson) printJson(listing);
  else printText(listingLines(listing).join('\n'));
  return exitCode.agreed;
}

async function show(cluster: ClusterState, name: string, node: Node, isJson: boolean): Promise<number> {
  const { showService } = await import('../core/control/tell/show.ts');
  const key = keyMeant(cluster, name);
  const shown = key === undefined ? undefined : showService(cluster, computeEverything(cluster, node), key);
  if (shown === undefined) {
    const remedy = await suggestion(cluster, name);
    return reportFailure(fail('input', name, 'no such Service in these files', remedy).error);
  }
  if (isJson) printJson(shown);
  else {
    const { serviceLines } = await import('../core/control/tell/showtext.ts');
    printText(serviceLines(shown).join('\n'));
  }
  return exitCode.agreed;
}

/** A name alone will do where only one namespace has it. */
function keyMeant({ services }: ClusterState, name: string): string | undefined {
  if (name.includes('/')) return name;
  const keys = [...services.keys()].filter((key) => key.endsWith(`/${name}`));
  return keys.length === 1 ? keys[0] : undefined;
}

async function suggestion({ services }: ClusterState, name: string): Promise<string> {
  if (services.size === 0) return 'there is no Service in them at all';
  const { nearestNames } = await import('./compile/nearest.ts');
  return `the nearest of ${services.size}: ${nearestNames(name, [...services.keys()], NAMES_SUGGESTED).join(', ')}`;
}
