// SPDX-License-Identifier: Apache-2.0
/** Writes what watches tell to a file, line by line as it is heard, until it is told to stop. */
import { Subject, takeUntil, type Observable } from 'rxjs';

import type { ObjectKind } from '../core/objects.ts';
import { fail, type Failure, type Result } from '../core/result.ts';
import { eventText, headerText } from '../formats/eventtext.ts';
import type { StreamHeader } from '../formats/eventline.ts';
import { LINE_BYTES_MAX } from '../formats/lines.ts';

import type { AnchoredClock } from './clock.ts';
import type { LineFile } from './linefile.ts';
import type { ClusterNews } from './watch.ts';

/** What a recording came to, or has come to so far. */
export type Recorded = {
  readonly lines: number;
  readonly lists: number;
  readonly changes: number;
  readonly bookmarks: number;
  readonly interruptions: number;
  /** Kinds whose last word is not an interruption, and of which there is a list. */
  readonly whole: readonly ObjectKind[];
  /** What ended it before its time. */
  readonly failure: Failure | undefined;
};

export type RecordOptions = {
  readonly clock: AnchoredClock;
  readonly header: StreamHeader;
  /** For people, in the first line. */
  readonly more: Readonly<Record<string, unknown>>;
  readonly until: Observable<unknown>;
  readonly onLine: (recorded: Recorded) => void;
};

/** Resolves when `until` says so or when the file takes no more. The file is the caller's to close. */
export function record(news: Observable<ClusterNews>, file: LineFile, options: RecordOptions): Promise<Recorded> {
  const tally = newTally();
  const broken = new Subject<void>();
  let failure: Failure | undefined;
  const put = (text: string): boolean => {
    const written = write(file, text);
    if (written.ok) return true;
    failure = written.error;
    broken.next();
    return false;
  };
  if (!put(headerText(options.header, options.more))) return Promise.resolve({ ...recordedOf(tally), failure });
  tally.lines = 1;
  return new Promise((resolve, reject) => {
    news.pipe(takeUntil(options.until), takeUntil(broken)).subscribe({
      next: (one) => {
        if (!put(eventText({ at: options.clock.now(), ...one }))) return;
        count(tally, one);
        options.onLine(recordedOf(tally));
      },
      error: reject,
      complete: () => resolve({ ...recordedOf(tally), failure }),
    });
  });
}

/** What no reader would take is not written either. */
function write(file: LineFile, text: string): Result<void> {
  if (text.length <= LINE_BYTES_MAX) return file.append(text);
  const message = `a list of ${text.length} characters; a line has at most ${LINE_BYTES_MAX}`;
  return fail('limit', 'recording', message, 'leave Pods out');
}

type Tally = {
  lines: number;
  lists: number;
  changes: number;
  bookmarks: number;
  interruptions: number;
  readonly whole: Set<ObjectKind>;
};

function newTally(): Tally {
  return { lines: 0, lists: 0, changes: 0, bookmarks: 0, interruptions: 0, whole: new Set() };
}

function recordedOf(tally: Tally): Recorded {
  return { ...tally, whole: [...tally.whole], failure: undefined };
}

function count(tally: Tally, { event }: ClusterNews): void {
  tally.lines += 1;
  switch (event.type) {
    case 'LISTED':
      tally.lists += 1;
      tally.whole.add(event.kind);
      break;
    case 'DISCONNECTED':
      tally.interruptions += 1;
      tally.whole.delete(event.kind);
      break;
    case 'BOOKMARK':
      tally.bookmarks += 1;
      break;
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      tally.changes += 1;
  }
}
