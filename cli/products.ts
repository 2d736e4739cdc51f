// SPDX-License-Identifier: Apache-2.0
/** What a replay leaves behind besides what it prints: a case, a capture with comments. */
import { ok, type Result } from '../core/result.ts';
import type { Filter } from '../replay/filter.ts';
import type { PacketLine } from '../replay/lines.ts';
import type { Tally } from '../replay/tally.ts';
import { watchAll, type Watch } from '../replay/watch.ts';
import type { CommandOptions } from './commands.ts';
import { recordCase } from './emitcase.ts';
import type { ReplayFiles } from './replayfiles.ts';
import { openCaptureFile } from './writecapture.ts';

export type Products = {
  readonly watch: Watch | undefined;
  /** Takes the lines that are told; undefined: nobody needs them. */
  readonly line: ((line: PacketLine) => void) | undefined;
  /** Writes what is left; one line about each product. */
  readonly finish: (tally: Tally) => Promise<Result<readonly string[]>>;
};

export function openProducts(files: ReplayFiles, filter: Filter, options: CommandOptions): Result<Products> {
  const { casePath, path } = { casePath: options['emitCase'], path: options['write'] };
  const recorder = typeof casePath === 'string' ? recordCase(filter) : undefined;
  const opened = typeof path === 'string' ? openCaptureFile(path, files.captures) : ok(undefined);
  if (!opened.ok) return opened;
  const capture = opened.value;
  const watches = [recorder?.watch, capture?.watch].filter((watch) => watch !== undefined);
  return ok({
    watch: watches.length === 0 ? undefined : watchAll(watches),
    line: capture?.line,
    finish: async (tally) => {
      const notes: string[] = [];
      const frames = capture?.finish();
      if (frames?.ok === false) return frames;
      if (frames !== undefined) notes.push(`${String(path)}: ${frames.value} frames`);
      const written = await recorder?.write(String(casePath), files, tally);
      if (written?.ok === false) return written;
      if (written !== undefined) notes.push(written.value);
      return ok(notes);
    },
  });
}
