// SPDX-License-Identifier: Apache-2.0
/**
 * A process that tries mechanical mutants for cli/mechanical.ts: builds each, loads it, runs it against the model. A
 * mutant that takes it down takes nothing else down. Its argument: a folder with the sources, its own.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { failureText, ok, type Result } from '../core/result.ts';
import type { Fate } from '../proof/mutants/fates.ts';
import { huntObject, type HuntRound } from './hunt.ts';
import { buildChanged, codeOf } from './mutant.ts';

/** One header as it shall be, and how to look for it. `isControl`: no fault is in it. */
export type HuntJob = {
  readonly header: string;
  readonly text: string;
  readonly rounds: readonly HuntRound[];
  readonly isControl: boolean;
};

const folder = process.argv[2] ?? '';
let original: Buffer | undefined;

/** The code without any fault, built once. */
function originalCode(header: string): Result<Buffer> {
  if (original !== undefined) return ok(original);
  const built = buildChanged(folder, header, readFileSync(join(folder, header), 'utf8'));
  const code = built.ok ? codeOf(built.value) : built;
  if (code.ok) original = Buffer.from(code.value);
  return code.ok ? ok(Buffer.from(code.value)) : code;
}

function fateOf({ header, text, rounds, isControl }: HuntJob): Fate {
  const reference = originalCode(header);
  if (!reference.ok) return { kind: 'failed', why: failureText(reference.error) };
  const bytes = buildChanged(folder, header, text);
  if (!bytes.ok) {
    const { kind } = bytes.error;
    return kind === 'input' ? { kind: 'uncompiled' } : { kind: 'failed', why: failureText(bytes.error) };
  }
  const code = codeOf(bytes.value);
  if (!code.ok) return { kind: 'failed', why: failureText(code.error) };
  if (!isControl && reference.value.equals(code.value)) return { kind: 'same' };
  const hunted = huntObject({ bytes: bytes.value, name: 'mutant.o', rounds });
  if (hunted.ok) return { kind: 'hunted', ...hunted.value };
  const why = failureText(hunted.error);
  return { kind: hunted.error.message.startsWith('refused by the verifier') ? 'verifier' : 'failed', why };
}

process.on('message', (job: HuntJob) => {
  process.send?.(fateOf(job));
});
process.on('disconnect', () => process.exit());
