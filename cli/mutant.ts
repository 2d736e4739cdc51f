// SPDX-License-Identifier: Apache-2.0
/** Compiles the programs with a fault planted in a copy of their sources. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ok, type Result } from '../core/result.ts';
import { readElfSections } from '../kernel/btf.ts';
import { plantMutant, type Mutant } from '../proof/mutants/plant.ts';
import { buildObject } from '../tools/build.ts';

/** Below the checkout. */
export const SOURCES: string = fileURLToPath(new URL('../bpf', import.meta.url));
const MAIN = 'tandem.bpf.c';
/** A mutant may compare what is always true or leave a variable unused; line numbers stay. */
const WITHOUT_WARNINGS = `#pragma clang diagnostic ignored "-Weverything"\n#line 1\n`;

/** The object with the fault in it. Needs the pinned clang. */
export function buildMutant(mutant: Mutant): Result<Uint8Array> {
  const folder = copySources(SOURCES);
  try {
    const file = join(folder, mutant.file);
    const planted = plantMutant(mutant, readFileSync(file, 'utf8'));
    if (!planted.ok) return planted;
    writeFileSync(file, planted.value);
    return buildObject({ defines: [], output: join(folder, 'mutant.o'), source: join(folder, MAIN) });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A copy to plant faults in. */
export function copySources(from: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-mutant-'));
  cpSync(from, folder, { recursive: true });
  return folder;
}

/** Builds a copy with one header's text replaced, warnings off, and puts the header back. */
export function buildChanged(folder: string, header: string, text: string): Result<Uint8Array> {
  const [file, main] = [join(folder, header), join(folder, MAIN)];
  const [kept, keptMain] = [readFileSync(file), readFileSync(main)];
  try {
    writeFileSync(file, text);
    writeFileSync(main, Buffer.concat([Buffer.from(WITHOUT_WARNINGS), keptMain]));
    return buildObject({ defines: [], output: join(folder, 'mutant.o'), source: main });
  } finally {
    writeFileSync(file, kept);
    writeFileSync(main, keptMain);
  }
}

/** Sections that tell where code came from and not what it does. */
const DESCRIPTION = /^(\.rel)?\.BTF|^\.(strtab|symtab|llvm_addrsig)$/;

/** What of an object the kernel runs: programs, data and relocations, without the description of their source. */
export function codeOf(object: Uint8Array): Result<Uint8Array> {
  const sections = readElfSections(object, 'mutant');
  if (!sections.ok) return sections;
  const kept = sections.value.filter(({ name }) => !DESCRIPTION.test(name));
  const parts = kept.flatMap(({ name, offset, size }) => [
    Buffer.from(`${name}:`),
    object.subarray(offset, offset + size),
  ]);
  return ok(Buffer.concat(parts));
}
