// SPDX-License-Identifier: Apache-2.0
/** Compiles the programs with a fault planted in a copy of their sources. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Result } from '../core/result.ts';
import { plantMutant, type Mutant } from '../proof/plant.ts';
import { buildObject } from '../tools/build.ts';

const SOURCES = fileURLToPath(new URL('../bpf', import.meta.url));

/** The object with the fault in it. Needs the pinned clang. */
export function buildMutant(mutant: Mutant): Result<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-mutant-'));
  try {
    cpSync(SOURCES, folder, { recursive: true });
    const file = join(folder, mutant.file);
    const planted = plantMutant(mutant, readFileSync(file, 'utf8'));
    if (!planted.ok) return planted;
    writeFileSync(file, planted.value);
    return buildObject({ defines: [], output: join(folder, 'mutant.o'), source: join(folder, 'tandem.bpf.c') });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
