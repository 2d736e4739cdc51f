// SPDX-License-Identifier: Apache-2.0
/** Plays a script in a lab: events to the node's agent loop, frames to its devices, everything captured on the way. */
import { statSync } from 'node:fs';
import { addressText } from '../../core/address.ts';
import { assert, fail, ok, type Result } from '../../core/result.ts';
import type { TimedEvent } from '../../formats/events.ts';
import { nanosecondsBetween, type Instant } from '../../formats/instant.ts';
import { startCapture, type CaptureCounts } from '../../lab/capture.ts';
import { realtimeNs } from '../../lab/clock.ts';
import { openSender, type Sender } from '../../lab/inject.ts';
import type { Lab } from '../../lab/lab.ts';
import { fabricPath, fabricPort, type Wiring } from '../../lab/silence.ts';
import type { RunningNode } from '../demo/node.ts';
import { applyEvent } from '../demo/stream.ts';
import type { Script, Shot } from './script.ts';
import { NODE, type Stage } from './stage.ts';

export type Pace = 'recorded' | 'fast';

export type PlayOptions = {
  readonly lab: Lab;
  readonly node: RunningNode;
  readonly wiring: Wiring;
  readonly stage: Stage;
  readonly script: Script;
  readonly events: readonly TimedEvent[];
  /** Of the recording: events may be missing after it. */
  readonly completeUntil: Instant | undefined;
  readonly pace: Pace;
  readonly onProgress: (sent: number) => void;
};

export type Played = {
  /** The events that were told, at the times when they began to have effect. */
  readonly events: readonly TimedEvent[];
  /** The same moment in the lab; undefined: nothing was sent after it. */
  readonly completeUntil: Instant | undefined;
  readonly capture: string;
  readonly counts: CaptureCounts;
  readonly tookMs: number;
  /** In system calls that send, without waiting for the capture or for a time to come. */
  readonly sendingMs: number;
};

/** What was told longer before the first packet is told at once. */
const BEFORE_MS = 200;
/** What a timer of Node can't tell apart. */
const TIMER_MS = 1;
/** tcpdump's buffer has room for some ten thousand frames, and each packet is seen up to three times. */
const BURST_SHOTS = 1_000;
const POLL_MS = 2;
const DRAIN_MS_MAX = 5_000;
/** For the last packets to arrive where they are sent. */
const QUIET_MS = 100;

export async function playScript(options: PlayOptions): Promise<Result<Played>> {
  const { lab } = options;
  const { harness } = lab;
  const { namespacePath, stateDirectory } = lab.node(NODE);
  const file = `${stateDirectory}/injected.pcap`;
  const capture = await startCapture({ namespacePath, harness, file, filter: 'ip or ip6' });
  if (!capture.ok) return capture;
  using senders = createSenders(options);
  const beganMs = performance.now();
  const fed = await feed(options, senders, file);
  const tookMs = performance.now() - beganMs;
  await sleep(QUIET_MS);
  const counts = await capture.value.stop();
  if (!fed.ok) return fed;
  if (!counts.ok) return counts;
  if (counts.value.dropped > 0) {
    const message = `tcpdump lost ${counts.value.dropped} of ${counts.value.received} frames`;
    return fail('environment', 'replay --inject', message, 'try --pace recorded, or fewer packets by --service');
  }
  return ok({ ...fed.value, capture: file, counts: counts.value, tookMs });
}

type Fed = Pick<Played, 'completeUntil' | 'events' | 'sendingMs'>;

/** Events and frames in order of their times; at equal times events come first, as on a replay's time line. */
async function feed(options: PlayOptions, senders: Senders, file: string): Promise<Result<Fed>> {
  const { completeUntil: recorded, onProgress, script } = options;
  const { origin, shots } = script;
  const dueMs = clockOf(options);
  const teller = createTeller(options, dueMs);
  const completeNs = recorded === undefined ? Infinity : nanosecondsBetween(origin, recorded);
  let completeUntil: Instant | undefined;
  let sendingMs = 0;
  for (const [index, shot] of shots.entries()) {
    const told = await teller.tellUntil(shot.timeNs);
    if (!told.ok) return told;
    await waitFor(dueMs(shot.timeNs), 0);
    if (shot.timeNs > completeNs) completeUntil ??= instantOf(realtimeNs());
    const beganMs = performance.now();
    const sent = senders.send(shot);
    sendingMs += performance.now() - beganMs;
    if (!sent.ok) return fail('environment', `${shot.file} frame ${shot.frame}`, `not sent: ${sent.error.message}`);
    if ((index + 1) % BURST_SHOTS !== 0) continue;
    onProgress(index + 1);
    await drained(file);
  }
  return ok({ completeUntil, events: teller.told, sendingMs });
}

/** How long it is until a moment of the recording comes, in milliseconds. */
function clockOf({ pace, script }: PlayOptions): (timeNs: number) => number {
  const firstNs = script.shots[0]?.timeNs ?? 0;
  const startMs = performance.now() + BEFORE_MS;
  return (timeNs) => (pace === 'fast' ? 0 : startMs + (timeNs - firstNs) / 1e6 - performance.now());
}

type Teller = {
  /** Tells the node what it had heard by then. */
  readonly tellUntil: (timeNs: number) => Promise<Result<null>>;
  readonly told: readonly TimedEvent[];
};

function createTeller({ events, node, script }: PlayOptions, dueMs: (timeNs: number) => number): Teller {
  const told: TimedEvent[] = [];
  let next = 0;

  async function tellUntil(timeNs: number): Promise<Result<null>> {
    // Frames that were sent before an event are through before it.
    let leastMs = POLL_MS;
    for (let timed = events[next]; timed !== undefined; timed = events[next]) {
      const eventNs = nanosecondsBetween(script.origin, timed);
      if (eventNs > timeNs) break;
      await waitFor(dueMs(eventNs), leastMs);
      leastMs = 0;
      const applied = applyEvent(node, timed.event);
      if (!applied.ok) return applied;
      told.push({ ...timed, ...instantOf(applied.value.beganNs) });
      next += 1;
    }
    return ok(null);
  }

  return { told, tellUntil };
}

/** `leastMs`: even where nothing is to be waited for, such as for frames that are still on their way. */
async function waitFor(dueMs: number, leastMs: number): Promise<void> {
  const waitMs = Math.max(dueMs, leastMs);
  if (waitMs >= TIMER_MS) await sleep(waitMs);
}

/** Until tcpdump, which writes each packet as it comes, has written no more for a while. */
async function drained(file: string): Promise<void> {
  const deadlineMs = performance.now() + DRAIN_MS_MAX;
  let before = -1;
  for (let size = statSync(file).size; size !== before; size = statSync(file).size) {
    if (performance.now() > deadlineMs) return;
    before = size;
    await sleep(POLL_MS);
  }
}

function instantOf(ns: bigint): Instant {
  return { seconds: Number(ns / 1_000_000_000n), nanoseconds: Number(ns % 1_000_000_000n) };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

type Senders = Disposable & { readonly send: (shot: Shot) => Result<number> };

/** A socket for each device, opened when it is first sent from; what is of no pod of the node comes by the uplink. */
function createSenders({ lab, stage, wiring }: PlayOptions): Senders {
  const stack = new DisposableStack();
  const open = new Map<string, { readonly sender: Sender; readonly ends: Uint8Array }>();

  function opened(pod: string | undefined): Result<{ readonly sender: Sender; readonly ends: Uint8Array }> {
    const known = open.get(pod ?? '');
    if (known !== undefined) return ok(known);
    const sender =
      pod === undefined ? openSender(fabricPath(lab), fabricPort) : openSender(lab.pod(pod).namespacePath, 'eth0');
    if (!sender.ok) return sender;
    const ends =
      pod === undefined ? [wiring.uplink, wiring.gateway] : [wiring.nodeEnds.get(pod), wiring.podEnds.get(pod)];
    const made = { sender: stack.use(sender.value), ends: Uint8Array.from(ends.flatMap(octetsOf)) };
    open.set(pod ?? '', made);
    return ok(made);
  }

  return {
    send: ({ bytes, checksum, headers }) => {
      const way = opened(stage.podOf.get(addressText(headers.source)));
      if (!way.ok) return way;
      bytes.set(way.value.ends);
      return way.value.sender.send(bytes, checksum);
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}

function octetsOf(hardware: string | undefined): number[] {
  assert(hardware !== undefined, 'every device of the stage has been read');
  return hardware.split(':').map((octet) => Number.parseInt(octet, 16));
}
