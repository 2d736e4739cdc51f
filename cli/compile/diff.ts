// SPDX-License-Identifier: Apache-2.0
/** `tandem compile --diff`: what a change of manifests or of the configuration would do. */
import { changeLines } from '../../core/control/tell/changetext.ts';
import { changesBetween, isUnchanged } from '../../core/control/tell/changes.ts';
import type { DocumentConfig } from '../../core/control/tell/document.ts';
import { situationOf } from '../../core/control/tell/follow.ts';
import { printJson, printText } from '../output.ts';
import { clusterOf, type ClusterInput } from './inputs.ts';

export type Side = { readonly name: string; readonly input: ClusterInput; readonly config: DocumentConfig };

/** That they differ is an answer, not a failure. */
export function printDifference(before: Side, after: Side, format: string): void {
  const changes = changesBetween(
    situationOf(clusterOf(before.input), before.config),
    situationOf(clusterOf(after.input), after.config),
  );
  const equal = isUnchanged(changes);
  if (format === 'json') {
    const [from, to] = [before.name, after.name];
    printJson({ apiVersion: 'tandem/v1alpha1', kind: 'CompiledDifference', equal, from, to, changes });
    return;
  }
  if (equal) printText(`${before.name} and ${after.name}: this node would serve the same`);
  else
    printText([`from ${before.name} to ${after.name}:`, ...changeLines(changes).map((line) => `  ${line}`)].join('\n'));
}
