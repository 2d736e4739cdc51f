// SPDX-License-Identifier: Apache-2.0
/** Packets per second of the model alone and of both twins with everything compared. */
import { performance } from 'node:perf_hooks';
import { REASON_KNOWN_FLOW, REASON_NEW_FLOW, REASON_REPLY } from '../core/layout.gen.ts';
import { assert, failureText } from '../core/result.ts';
import { emptyOutcome, quietOutside, type Outcome, type Twin } from '../core/twin.ts';
import { ACK, answerTo, clientFrame, SYN, vary } from './frames.ts';
import { spreadOf, type Spread } from './statistics.ts';

export type Rate = { readonly packetsPerSecond: Spread; readonly pauseMsMax: number };

const ROUNDS = 9;
/** Between two looks at the clock: a pause shows as a batch that takes longer. */
const BATCH = 256;
const WALK = 7919; // odd: visits every flow, none beside the last

/** Runs one packet at a time of its own; the reason it was given. */
function run(twin: Twin, hook: 'from-pod' | 'to-pod', frame: Uint8Array, outcome: Outcome): number {
  const done = twin.packet(hook, frame, quietOutside(1000), outcome);
  assert(done.ok, done.ok ? '' : failureText(done.error));
  return outcome.reason;
}

/** Completes `flows` connections, a power of two, spread over the Services. */
export function establish(twins: readonly Twin[], flows: number, services: number): void {
  const outcome = emptyOutcome();
  for (const twin of twins) {
    const syn = clientFrame(SYN);
    const ack = clientFrame(ACK);
    for (let flow = 0; flow < flows; flow++) {
      vary(new DataView(syn.buffer), flow, services);
      assert(run(twin, 'from-pod', syn, outcome) === REASON_NEW_FLOW, `flow ${flow} is new to the ${twin.name}`);
      const answer = answerTo(outcome.bytes, outcome.length, SYN | ACK);
      assert(run(twin, 'to-pod', answer, outcome) === REASON_REPLY, `flow ${flow} is answered (${twin.name})`);
      vary(new DataView(ack.buffer), flow, services);
      run(twin, 'from-pod', ack, outcome);
    }
  }
}

/** Packets of established flows in scattered order, judged by `step`; rounds of `packets`. */
function measure(packets: number, flows: number, services: number, step: (frame: Uint8Array) => void): Rate {
  const frame = clientFrame(ACK);
  const view = new DataView(frame.buffer);
  const rates: number[] = [];
  let pauseMsMax = 0;
  let flow = 0;
  // The first round warms up the compiler and is not counted.
  for (let round = -1; round < ROUNDS; round++) {
    const beganMs = performance.now();
    let lastMs = beganMs;
    for (let done = 0; done < packets; done++) {
      flow = (flow + WALK) & (flows - 1);
      vary(view, flow, services);
      step(frame);
      if ((done & (BATCH - 1)) === BATCH - 1) {
        const nowMs = performance.now();
        if (round >= 0) pauseMsMax = Math.max(pauseMsMax, nowMs - lastMs);
        lastMs = nowMs;
      }
    }
    if (round >= 0) rates.push((packets / (performance.now() - beganMs)) * 1000);
  }
  return { packetsPerSecond: spreadOf(rates), pauseMsMax };
}

export function modelRate(model: Twin, flows: number, services: number, packets: number): Rate {
  const outcome = emptyOutcome();
  const outside = quietOutside(2000);
  const rate = measure(packets, flows, services, (frame) => {
    model.packet('from-pod', frame, outside, outcome);
  });
  assert(outcome.reason === REASON_KNOWN_FLOW, 'the packets belong to established flows');
  return rate;
}

/** Both twins on every packet; verdict, reason, bytes, trace and writes compared. */
export function comparedRate(
  model: Twin,
  kernel: Twin,
  flows: number,
  services: number,
  packets: number,
  differs: (left: Outcome, right: Outcome) => string | undefined,
): Rate {
  const left = emptyOutcome();
  const right = emptyOutcome();
  // Later than what the model alone was asked: both have yet to refresh every flow.
  const outside = quietOutside(3000);
  return measure(packets, flows, services, (frame) => {
    model.packet('from-pod', frame, outside, left);
    const done = kernel.packet('from-pod', frame, outside, right);
    const difference = done.ok ? differs(left, right) : failureText(done.error);
    assert(difference === undefined, `the twins agree: ${difference}`);
  });
}
