// SPDX-License-Identifier: Apache-2.0
/** What a fault written by hand for the control plane is, and how it gets into the text of its file. */
import { fail, ok, type Result } from '../../core/result.ts';

export type ControlFault = {
  readonly name: string;
  /** Below core/control/. */
  readonly file: string;
  /** Occurs exactly once in the file, whatever the formatter made of its white space. */
  readonly find: string;
  readonly replace: string;
  /** Of the contract, as in docs/reference/services.md; or the law of the maps that it breaks. */
  readonly rule: string;
  /** What it stands for, in a reader's words. */
  readonly meaning: string;
  /** A scenario, or a test, that finds it. */
  readonly killer: string;
};

/** `find` as a pattern: any white space where it has some. */
function patternOf(find: string): RegExp {
  const words = find.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(words.join('\\s+'), 'g');
}

/** The text with the fault in it. A fault that no longer fits the code is a failure. */
export function plantFault({ name, file, find, replace }: ControlFault, text: string): Result<string> {
  const count = [...text.matchAll(patternOf(find))].length;
  if (count === 1) return ok(text.replace(patternOf(find), () => replace));
  const remedy = 'change the list in proof/control/faults/ that has it with the code it changes';
  return fail('input', `mutant ${name}`, `found ${count} times in core/control/${file}: ${find}`, remedy);
}
