// SPDX-License-Identifier: Apache-2.0
/** `tandem record --events -f FILE`: what an API server tells, with exact times, until the time is over or Ctrl-C. */
import { hostname } from 'node:os';
import { asyncScheduler, firstValueFrom, Subject } from 'rxjs';
import type { ObjectKind } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { isEventStreamName } from '../formats/events.ts';
import { anchorClock } from '../watch/clock.ts';
import type { Connection } from '../watch/connection.ts';
import { probe } from '../watch/exchange.ts';
import { createLineFile, type LineFile } from '../watch/linefile.ts';
import { record, type Recorded } from '../watch/record.ts';
import { watchCluster } from '../watch/watch.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { exitCode, printJson, printText, reportFailure, startProgress } from './output.ts';

type Task = { readonly path: string; readonly forMs: number; readonly kinds: readonly ObjectKind[] };

/** What the server's clock showed beside ours; it has whole seconds only. */
type ServerClock = { readonly offsetNs: number; readonly errorNs: number };

const UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };
/** The longest that a timer of the language can wait. */
const FOR_MS_MAX = 2 ** 31 - 1;
const REFRESH_MS = 1000;

export const run: CommandRun = async (_args, options) => {
  const task = readTask(options);
  if (!task.ok) return reportFailure(task.error);
  // It takes half a second to load: not before the command line is known to be right.
  const { openConnection } = await import('../watch/connection.ts');
  const connection = openConnection(textIn(options, 'kubeconfig'), textIn(options, 'context'));
  if (!connection.ok) return reportFailure(connection.error);
  const server = await greet(connection.value, task.value.kinds);
  if (!server.ok) return reportFailure(server.error);
  const file = createLineFile(task.value.path);
  if (!file.ok) return reportFailure(file.error);
  const { recorded, steppedNs } = await recordTo(file.value, task.value, connection.value, server.value);
  file.value.close();
  if (recorded.failure !== undefined) return reportFailure(recorded.failure);
  const report = { path: task.value.path, ...recorded, wallClockSteppedNs: steppedNs };
  if (options['output'] === 'json') printJson({ kind: 'Recording', apiVersion: 'tandem/v1alpha1', ...report });
  else printText(textOf(task.value, recorded, steppedNs));
  return exitCode.agreed;
};

function textIn(options: CommandOptions, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

function readTask(options: CommandOptions): Result<Task> {
  const remedy = 'write tandem record --events -f NAME.events.ndjson';
  if (options['events'] !== true) return fail('usage', 'record', 'what to record is not said', remedy);
  const path = textIn(options, 'file');
  if (path === undefined) return fail('usage', 'record', 'where to is not said', remedy);
  const forMs = parseTime(options['for']);
  if (!forMs.ok) return forMs;
  // Readers tell event streams from manifests by the name.
  if (!isEventStreamName(path)) return fail('usage', path, 'no name for an event stream', 'name it .events.ndjson');
  const kinds: ObjectKind[] = ['Node', 'Service', 'EndpointSlice'];
  if (options['pods'] === true) kinds.push('Pod');
  return ok({ path, forMs: forMs.value, kinds });
}

/** `90s`, `10m`, `2h`; nothing: until Ctrl-C. */
function parseTime(text: CommandOptions[string]): Result<number> {
  if (text === undefined) return ok(Number.POSITIVE_INFINITY);
  const match = typeof text === 'string' ? /^(\d+)([smh])$/.exec(text) : null;
  const ms = Number(match?.[1] ?? 0) * (UNITS_MS[match?.[2] ?? ''] ?? 0);
  if (ms > 0 && ms <= FOR_MS_MAX) return ok(ms);
  return fail('usage', `--for ${String(text)}`, 'not a time of at most 24 days', 'write 90s, 10m or 2h');
}

/** Asks for one object of each kind, so that a wrong certificate or a missing right ends the command at once. */
async function greet({ get, server }: Connection, kinds: readonly ObjectKind[]): Promise<Result<ServerClock>> {
  let clock: ServerClock = { offsetNs: 0, errorNs: 0 };
  for (const kind of kinds) {
    const beforeMs = Date.now();
    const answer = await firstValueFrom(probe(kind, { get, scheduler: asyncScheduler }));
    const afterMs = Date.now();
    if ('is' in answer) {
      const reason = answer.is === 'expired' ? 'no answer' : answer.reason;
      return fail('environment', server, `cannot list ${kind}s: ${reason}`);
    }
    const serverMs = Date.parse(answer.date) + 500;
    const halfMs = (afterMs - beforeMs) / 2;
    clock = { offsetNs: (serverMs - (beforeMs + halfMs)) * 1e6, errorNs: (500 + halfMs) * 1e6 };
  }
  return ok(clock);
}

async function recordTo(
  file: LineFile,
  { forMs, kinds }: Task,
  { cluster, server, get }: Connection,
  serverClock: ServerClock,
): Promise<{ readonly recorded: Recorded; readonly steppedNs: number }> {
  const clock = anchorClock();
  const stop = new Subject<void>();
  const end = (): void => stop.next();
  process.once('SIGINT', end).once('SIGTERM', end);
  const timer = Number.isFinite(forMs) ? setTimeout(end, forMs) : undefined;
  const progress = startProgress();
  const startedMs = performance.now();
  let latest: Recorded | undefined;
  const refresh = setInterval(() => progress.update(progressOf(latest, performance.now() - startedMs)), REFRESH_MS);
  const recorded = await record(
    watchCluster({ get, scheduler: asyncScheduler, kinds, lists: 'latest', random: Math.random }),
    file,
    {
      clock,
      header: { cluster, recorder: hostname(), clock: { offsetNs: 0, errorNs: clock.errorNs } },
      more: { server, kinds, serverClock },
      until: stop,
      onLine: (soFar) => {
        latest = soFar;
      },
    },
  );
  clearInterval(refresh);
  clearTimeout(timer);
  progress.done();
  process.removeListener('SIGINT', end).removeListener('SIGTERM', end);
  return { recorded, steppedNs: clock.steppedNs() };
}

function progressOf(recorded: Recorded | undefined, elapsedMs: number): string {
  const { changes = 0, interruptions = 0, whole = [] } = recorded ?? {};
  const heard = whole.length === 0 ? 'nothing' : whole.join(', ');
  return `${Math.round(elapsedMs / 1000)} s: ${changes} changes; hears ${heard}; ${interruptions} interruptions; Ctrl-C ends`;
}

/** A machine whose clock is kept by NTP does not step by this much in a day. */
const STEP_NS_MAX = 10_000_000;

function textOf({ path, kinds }: Task, recorded: Recorded, steppedNs: number): string {
  const { lines, lists, changes, bookmarks, interruptions, whole } = recorded;
  const text = [
    `${path}: ${lines} lines: ${lists} lists, ${changes} changes, ${bookmarks} bookmarks, ${interruptions} interruptions`,
  ];
  const deaf = kinds.filter((kind) => !whole.includes(kind));
  if (deaf.length > 0) text.push(`at its end nothing was heard of ${deaf.join(', ')}`);
  if (Math.abs(steppedNs) > STEP_NS_MAX) {
    text.push(`the wall clock was set by ${(steppedNs / 1e6).toFixed(1)} ms meanwhile; times are those of the start`);
  }
  return text.join('\n');
}
