// SPDX-License-Identifier: Apache-2.0
/** Laws of what a UDP socket remembers, over random calls and clusters: needs no kernel. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLoop } from '../../../agent/loop.ts';
import { addressText, port, UDP, type Address } from '../../../core/address.ts';
import { configOf, createDatapath, type Datapath } from '../../../core/datapath/datapath.ts';
import { defaultSizes } from '../../../core/datapath/maps.ts';
import type { SocketMemory, SocketOutcome } from '../../../core/datapath/socket.ts';
import {
  REASON_KNOWN_FLOW,
  REASON_NO_ENDPOINTS,
  REASON_NO_LOCAL_ENDPOINTS,
  REASON_PEER,
  socketStateCodec,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  type SocketStateRecord,
} from '../../../core/layout.gen.ts';
import { quietOutside } from '../../../core/twin.ts';
import { addressOf } from '../../../proof/traffic/address.ts';
import { changeEvents, worldEvents, worldNode, type World } from '../../../proof/world.ts';

const SERVICES = 12;
const SIZES = {
  ...defaultSizes,
  services: 64,
  frontends: 64,
  sourceRanges: 256,
  nodeAddresses: 16,
  slotPairs: 256,
  backends: 1024,
  flowBuckets: 2,
  peers: 2,
  affinity: 2,
  netns: 2,
};

/** Each Service has the pods of its bits; `isElsewhere`: it wants local ones, and they are not. */
function cluster(sets: readonly number[], isElsewhere = false): World {
  return {
    services: sets.map((set, index) => ({
      name: `service-${index}`,
      addresses: [0x0a600001 + index],
      isLocal: isElsewhere,
      ports: [{ name: 'dns', port: 53, targetPort: 8053, protocol: 'UDP' }],
      endpoints: [0, 1, 2]
        .filter((bit) => (set & (1 << bit)) !== 0)
        .map((bit) => ({ address: 0x0a010001 + bit, state: 'ready', isLocal: !isElsewhere, pod: `pod-${bit}` })),
    })),
  };
}

/** One socket, one clock-less cluster. */
class Stage {
  readonly datapath: Datapath = createDatapath(configOf({ selectionKey: [1, 2] }), SIZES);
  readonly memory: SocketMemory = { state: undefined };
  private readonly loop = createLoop({ store: this.datapath.store, node: worldNode, onProblem: () => undefined });
  private world: World = { services: [] };

  constructor(sets: readonly number[]) {
    for (const event of worldEvents(this.world)) this.loop.event(event);
    this.become(sets);
  }

  become(sets: readonly number[], isElsewhere = false): void {
    const world = cluster(sets, isElsewhere);
    for (const event of changeEvents(this.world, world)) this.loop.event(event);
    expect(this.loop.step().failures).toEqual([]);
    this.world = world;
  }

  call(call: 'connect' | 'send' | 'receive', address: Address, number: number): SocketOutcome {
    const outside = { ...quietOutside(0), socketCookie: 77n };
    return this.datapath.socket({ call, protocol: UDP, address, port: port(number) }, this.memory, outside);
  }

  state(): SocketStateRecord | undefined {
    const { state } = this.memory;
    return state && socketStateCodec.decode(new DataView(state.buffer), 0);
  }
}

const vip = (index: number): Address => addressOf(0x0a600001 + index);
const sets = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: SERVICES, maxLength: SERVICES });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ call: fc.constant('send' as const), to: fc.nat(SERVICES - 1) }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant('connect' as const), to: fc.nat(SERVICES - 1) }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('direct' as const), to: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant('become' as const), sets }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Plays the steps and asks after each. */
function play(
  first: readonly number[],
  steps: readonly Step[],
  law: (stage: Stage, step: Step, got?: SocketOutcome) => void,
): void {
  const stage = new Stage(first);
  for (const one of steps) {
    if (one.call === 'become') stage.become(one.sets);
    if (one.call === 'become') law(stage, one);
    else if (one.call === 'direct') law(stage, one, stage.call('send', addressOf(0x0a010001 + one.to), 8053));
    else law(stage, one, stage.call(one.call, vip(one.to), 53));
  }
}

test('the answer to the last send shows whom it was sent to, and a pod that was spoken to directly its own name', () => {
  fc.assert(
    fc.property(sets, fc.array(step, { maxLength: 60 }), (first, steps) => {
      play(first, steps, (stage, one, got) => {
        if (got === undefined || one.call === 'become') return;
        const answer = stage.call('receive', got.address, got.port);
        if (one.call === 'direct') expect(answer.verdict).toBe(VERDICT_PASS);
        else {
          expect(answer).toMatchObject({ verdict: VERDICT_FORWARD, reason: REASON_PEER, port: 53 });
          expect(addressText(answer.address)).toBe(addressText(vip(one.to)));
        }
      });
    }),
  );
});

test('no Service has two of the rows for sends', () => {
  fc.assert(
    fc.property(sets, fc.array(step, { maxLength: 60 }), (first, steps) => {
      play(first, steps, (stage) => {
        const rows = stage.state()?.rows.slice(1) ?? [];
        const held = rows.filter(({ backend }) => backend !== 0).map(({ asked }) => addressText(asked.address));
        expect(new Set(held).size).toBe(held.length);
      });
    }),
  );
});

test('while nothing changes a Service of the last eight keeps its pod, whatever else is sent to', () => {
  fc.assert(
    fc.property(sets, fc.array(fc.nat(7), { maxLength: 40 }), (first, sends) => {
      const stage = new Stage(first);
      const pods = new Map<number, string>();
      for (const to of sends) {
        const got = stage.call('send', vip(to), 53);
        const text = addressText(got.address);
        expect(pods.get(to) ?? text).toBe(text);
        if (pods.has(to)) expect(got.reason).toBe(REASON_KNOWN_FLOW);
        pods.set(to, text);
      }
    }),
  );
});

test('the sweep ends a connected socket exactly when its pod is gone', () => {
  fc.assert(
    fc.property(sets, sets, fc.nat(SERVICES - 1), (first, then, to) => {
      const stage = new Stage(first);
      const got = stage.call('connect', vip(to), 53);
      expect(stage.datapath.sweep(stage.memory, true)).toBeUndefined();
      stage.become(then);
      const bit = got.address.d - 0x0a010001;
      const isGone = ((then[to] ?? 0) & (1 << bit)) === 0;
      expect(stage.datapath.sweep(stage.memory, false)).toBeUndefined();
      expect(stage.datapath.sweep(stage.memory, true) !== undefined).toBe(isGone);
    }),
  );
});

test('a pod that still serves keeps its senders, though the Service has none for new ones', () => {
  const stage = new Stage([7]);
  const got = stage.call('send', vip(0), 53);
  stage.become([7], true);
  expect(stage.call('send', vip(0), 53)).toMatchObject({ reason: REASON_KNOWN_FLOW, address: got.address });
  expect(stage.call('connect', vip(0), 53)).toMatchObject({ reason: REASON_NO_LOCAL_ENDPOINTS });
  stage.become([0], true);
  expect(stage.call('send', vip(0), 53)).toMatchObject({ verdict: VERDICT_REFUSE, reason: REASON_NO_ENDPOINTS });
});
