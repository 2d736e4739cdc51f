// SPDX-License-Identifier: Apache-2.0
/** What a fault in the C side is, and how it gets into the text of a source file. */
import { fail, ok, type Result } from '../../core/result.ts';

/** One fault. `find` occurs exactly once in the file, whatever the formatter made of its white space. */
export type Mutant = {
  readonly name: string;
  /** Below bpf/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What it stands for, in a reader's words. */
  readonly meaning: string;
  /** Which fields may be the first to differ; anything else means that something else was found. */
  readonly shows: RegExp;
  /** Whether packets find it, or only the calls of real sockets. */
  readonly road: 'packets' | 'sockets';
};

/** A fault before it is said which road shows it. */
export type Fault = Omit<Mutant, 'road'>;

/** Fields that differ when a flow table goes another way. */
export const TABLE: RegExp = /^(trace|writes|flows)\[/;
/** The same, or what the packet gets because of it. */
export const FATE: RegExp = /^(verdict|reason|servicePort|backend|length|bytes|trace|writes|flows)/;

/** `find` as a pattern: any white space where it has some. */
function patternOf(find: string): RegExp {
  const words = find.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(words.join('\\s+'), 'g');
}

/** The text of the mutant's file with the fault in it. A mutant that no longer fits the code is a failure. */
export function plantMutant({ name, file, find, replace }: Mutant, text: string): Result<string> {
  const count = [...text.matchAll(patternOf(find))].length;
  if (count !== 1) {
    const message = `found ${count} times in bpf/${file}: ${find}`;
    return fail(
      'input',
      `mutant ${name}`,
      message,
      'change the list in proof/mutants/ that has it with the code it changes',
    );
  }
  return ok(text.replace(patternOf(find), () => replace));
}
