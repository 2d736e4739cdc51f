// SPDX-License-Identifier: Apache-2.0
/** A table that is always nearly full, for one twin or both: what is forwarded must be answered, by the Service asked. */
import { expect } from 'vitest';
import { ACK, segment, SYN } from '../../../proof/traffic/frame.ts';
import { createStream } from '../../../core/random.ts';
import type { Settings } from '../../../proof/settings.ts';
import { client, fate, mirror, settings, web, type Stage } from './stage.ts';

/** Two buckets, so that the halves of a connection stand now together, now apart; one port to give away. */
export const narrow: Settings = {
  ...settings,
  config: { ...settings.config, flowBucketMask: 1, portCount: 1 },
  sizes: { ...settings.sizes, flowBuckets: 2 },
};

/** The same where no client and no Service has more than its share, so that nobody gives way. */
export const generous: Settings = { ...narrow, config: { ...narrow.config, shareClient: 100, shareService: 100 } };

/** Opens, and completes with this probability, connections of a few ports to two Services that share a backend. What was
 * met: fate and marks of each opening. */
export function strain(stage: Stage, seed: number, completes: number, steps: number): Set<string> {
  const stream = createStream(seed);
  const seen = new Set<string>();
  stage.begin();
  for (let step = 0; step < steps; step++) {
    const from = { ...client, port: 1 + stream.below(60) };
    const to = stream.pick([web, mirror]);
    if (stream.chance(0.05)) stage.wait(1 + stream.below(100));
    const there = stage.fromPod(segment(from, to, SYN, { sequence: 100 }));
    seen.add(`${fate(there)} ${there.trace.filter((mark) => mark.startsWith('forward-')).join(' ')}`);
    if (there.verdict !== 'forward') continue;
    const back = stage.toPod(segment(there.to, there.from, SYN | ACK, { sequence: 500 }));
    expect([fate(back), back.from, back.to], `step ${step} of seed ${seed}`).toEqual(['reply reply', to, from]);
    if (stream.chance(completes)) stage.fromPod(segment(from, to, ACK, { acknowledgement: 501 }));
  }
  return seen;
}
