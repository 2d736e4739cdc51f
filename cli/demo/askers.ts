// SPDX-License-Identifier: Apache-2.0
/** UDP sockets that live through the update and ask again and again, as a resolver or a metrics client does. */
import { ask, type Call, type Visit, type Visitor } from './visitors.ts';
import type { Target } from './stream.ts';

/** What one application did: one socket after another, each but the first opened because the kernel ended the last. */
export type Asked = {
  readonly call: Call;
  /** In order of time, a datagram each; `ended` of a visit tells the last of a socket. */
  readonly visits: readonly Visit[];
};

export type Askers = {
  /** Lets each ask a last time. */
  readonly settle: () => Promise<readonly Asked[]>;
};

/** One connected and one unconnected socket of each visitor to each target, about every `intervalMs`, until `settle`. */
export function startAskers(visitors: readonly Visitor[], targets: readonly Target[], intervalMs: number): Askers {
  let isOver = false;
  const asking = visitors.flatMap((visitor) =>
    targets.flatMap((target) =>
      (['connected', 'unconnected'] as const).map(async (call): Promise<Asked> => {
        const visits: Visit[] = [];
        for (;;) {
          // Read before: a last datagram is sent after the end.
          const isLast = isOver;
          const one = await ask(visitor, target, call, visits.at(-1));
          visits.push(one);
          // Whose socket was ended opens another one at once; were that ended, too, it would not be for a reason.
          const isBereft = one.isEnded && one.before !== null;
          if (isLast && !isBereft) return { call, visits };
          if (!isBereft) await sleep(intervalMs / 2 + visitor.random.below(intervalMs + 1));
        }
      }),
    ),
  );
  return {
    settle: () => {
      isOver = true;
      return Promise.all(asking);
    },
  };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** What became of the sockets of those who asked. */
export type AskerCounts = {
  readonly sockets: number;
  readonly datagrams: number;
  /** Connected sockets that were ended, and of these the ones whose application was answered after reconnecting. */
  readonly ended: number;
  readonly reconnected: number;
  /** How often a socket that was not ended got its next answer from another pod. */
  readonly moved: number;
};

export function countAsked(asked: readonly Asked[]): AskerCounts {
  const counts = { sockets: asked.length, datagrams: 0, ended: 0, reconnected: 0, moved: 0 };
  for (const { visits } of asked) {
    counts.datagrams += visits.length;
    for (const [index, { isEnded, report }] of visits.entries()) {
      const next = visits[index + 1]?.report;
      if (isEnded) {
        counts.ended += 1;
        counts.reconnected += next?.result === 'answered' ? 1 : 0;
      } else if (next?.result === 'answered' && report.by !== null && next.by !== report.by) counts.moved += 1;
    }
  }
  return counts;
}
