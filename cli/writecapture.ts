// SPDX-License-Identifier: Apache-2.0
/** `tandem replay --write OUT.pcapng`: the captures again, with what was found as comments that Wireshark shows. */
import { resolve } from 'node:path';
import { fail, ok, type Result } from '../core/result.ts';
import type { InputSource } from '../formats/input.ts';
import { openFileOutput } from '../formats/output.ts';
import { createPcapngWriter } from '../formats/pcapngwriter.ts';
import { createAnnotator, type Annotator } from '../replay/annotate.ts';

export type CaptureFile = Pick<Annotator, 'line' | 'watch'> & {
  /** The number of frames that were written. */
  readonly finish: () => Result<number>;
};

/** Never one of the captures that are read. */
export function openCaptureFile(path: string, captures: readonly InputSource[]): Result<CaptureFile> {
  const isRead = captures.some((source) => typeof source === 'string' && resolve(source) === resolve(path));
  if (isRead) return fail('usage', `--write ${path}`, 'it is read as well', 'give another name');
  const output = openFileOutput(path);
  if (!output.ok) return output;
  const comment =
    'Written by tandem replay: comments say what the model does with a frame and what was observed of it.';
  const writer = createPcapngWriter(output.value, { comments: [comment] });
  const annotator = createAnnotator(writer);
  const { line, watch } = annotator;
  const finish = (): Result<number> => {
    annotator.finish();
    const written = writer.finish();
    return written.ok ? ok(written.value) : written;
  };
  return ok({ line, watch, finish });
}
