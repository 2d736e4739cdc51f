// SPDX-License-Identifier: Apache-2.0
/** Capturing in a node's namespace with tcpdump: starts when it says it captures, ends with everything in the file. */
import { fail, ok, type Result } from '../core/result.ts';
import { ended, startInside, type LabProcess, type Place } from './process.ts';

export type CaptureOptions = {
  readonly namespacePath: string;
  /** Where the tcpdump process itself is kept: the lab's `harness`. */
  readonly harness: Place;
  readonly file: string;
  /** Bytes kept of each packet; more of them means fewer packets in the kernel's buffer. */
  readonly snapLength?: number;
  /** A pcap filter, empty for everything. */
  readonly filter?: string;
};

/** tcpdump's own count; `dropped` must be 0 for a capture that is to be judged. */
export type CaptureCounts = { readonly captured: number; readonly received: number; readonly dropped: number };

export type Capture = {
  readonly file: string;
  readonly stop: () => Promise<Result<CaptureCounts>>;
};

const startTimeoutMs = 5_000;
const pollMs = 40;
const quietTimeoutMs = 2_000;
const stopTimeoutMs = 5_000;
/** tcpdump is to hand over a packet at once, which makes its buffer one of whole slots of the snap length. */
const bufferKiB = 32 * 1024;

/** Text of standard error so far, and what to call when it grows. */
type Complaints = { text: string; grown: () => void };

function listen(child: LabProcess): Complaints {
  const complaints: Complaints = { text: '', grown: () => undefined };
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    complaints.text += chunk;
    complaints.grown();
  });
  return complaints;
}

/** Waits until `find` finds something in the text; undefined when it takes too long. */
function until<T>(
  complaints: Complaints,
  find: (text: string) => T | undefined,
  timeoutMs: number,
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const finish = (value: T | undefined): void => {
      clearTimeout(timer);
      complaints.grown = () => undefined;
      resolve(value);
    };
    const timer = setTimeout(() => finish(undefined), timeoutMs);
    complaints.grown = () => {
      const found = find(complaints.text);
      if (found !== undefined) finish(found);
    };
    complaints.grown();
  });
}

/** The last whole set of counts: one line of three on SIGUSR1, three lines at the end. */
export function lastCounts(text: string): CaptureCounts | undefined {
  const pattern =
    /(\d+) packets? captured[,\n]\s*(\d+) packets? received by filter[,\n]\s*(\d+) packets? dropped by kernel/g;
  const match = [...text.matchAll(pattern)].at(-1);
  if (match === undefined) return undefined;
  return { captured: Number(match[1]), received: Number(match[2]), dropped: Number(match[3]) };
}

/** Asks a running tcpdump for its counts. */
function askCounts(child: LabProcess, complaints: Complaints): Promise<CaptureCounts | undefined> {
  const before = complaints.text.length;
  child.kill('SIGUSR1');
  return until(complaints, (text) => lastCounts(text.slice(before)), pollMs * 10);
}

/**
 * SIGINT makes tcpdump leave packets in the kernel's buffer behind, so first wait until two polls in a row count the
 * same. `captured` stays below `received` when loopback is captured, so the two can't simply be compared.
 */
async function drain(child: LabProcess, complaints: Complaints): Promise<void> {
  const deadlineMs = performance.now() + quietTimeoutMs;
  let last: CaptureCounts | undefined;
  while (performance.now() < deadlineMs) {
    const counts = await askCounts(child, complaints);
    if (counts !== undefined && counts.captured === last?.captured && counts.received === last.received) return;
    last = counts;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

async function stop(child: LabProcess, complaints: Complaints, file: string): Promise<Result<CaptureCounts>> {
  await drain(child, complaints);
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  const code = await ended(child);
  clearTimeout(timer);
  const counts = await until(complaints, lastCounts, pollMs);
  if (code !== 0 || counts === undefined) {
    return fail('environment', file, `tcpdump ended with ${code}: ${complaints.text.trim().split('\n').at(-1) ?? ''}`);
  }
  return ok(counts);
}

/** Captures on all devices (Linux cooked v2, nanoseconds). Returns once packets are being captured. */
export async function startCapture(options: CaptureOptions): Promise<Result<Capture>> {
  const { file, filter = '', snapLength = 2048, harness, namespacePath } = options;
  const words = ['-i', 'any', '-y', 'LINUX_SLL2', '--time-stamp-precision=nano', '-n', '-U', '--immediate-mode'];
  // As root: else it gives up its rights first and can't write where we want it.
  words.push('-Z', 'root', '-s', String(snapLength), '-B', String(bufferKiB), '-w', file);
  if (filter !== '') words.push(filter);
  const child = startInside({ ...harness, namespacePath }, ['tcpdump', ...words]);
  child.stdin.end();
  const complaints = listen(child);
  const gone = ended(child).then(() => false);
  // Said after the kernel's buffer is in place: from here on nothing is missed.
  const listening = until(complaints, (text) => (text.includes('listening on any') ? true : undefined), startTimeoutMs);
  if ((await Promise.race([listening, gone])) !== true) {
    child.kill('SIGKILL');
    return fail('environment', `capture ${file}`, complaints.text.trim().split('\n').at(-1) ?? 'tcpdump did not start');
  }
  return ok({ file, stop: () => stop(child, complaints, file) });
}
