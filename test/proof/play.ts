// SPDX-License-Identifier: Apache-2.0
/** Worlds and commands for fast-check, small enough to shrink well, and what each command becomes on the wire. */
import * as fc from 'fast-check';
import { quietOutside } from '../../core/twin.ts';
import { acceptable } from '../../proof/distort.ts';
import { ipv6, type HostAddress } from '../../proof/address.ts';
import { frameOf, segment } from '../../proof/frame.ts';
import type { Step } from '../../proof/steps.ts';
import type { World, WorldEndpoint, WorldService } from '../../proof/world.ts';

type Host = { readonly address: HostAddress; readonly port: number };

export type Command =
  | { readonly kind: 'client' | 'backend'; readonly connection: number; readonly flags: number; readonly away: number }
  | { readonly kind: 'wait'; readonly ticks: number }
  | { readonly kind: 'become'; readonly world: World }
  | { readonly kind: 'bytes'; readonly hook: 'from-pod' | 'to-pod'; readonly bytes: Uint8Array };

/** The IPv6 address that stands for an IPv4 one: no word of theirs is the same for a client, a Service and a pod. */
function six(word: number): string {
  return ipv6(0xfd000000 + (word >>> 16), word, word >>> 8, word);
}

const pod = fc.integer({ min: 0x0a010001, max: 0x0a010004 });
const endpoint: fc.Arbitrary<WorldEndpoint> = fc.record({
  address: fc.oneof(pod, pod.map(six)),
  state: fc.constantFrom('ready', 'ready', 'terminating', 'not-ready'),
  isLocal: fc.boolean(),
  pod: fc.constantFrom('a', 'b'),
});

const endpoints = fc.uniqueArray(endpoint, { maxLength: 4, selector: ({ address }) => address });

function service(index: number): fc.Arbitrary<WorldService> {
  return fc.record({
    name: fc.constant(`service-${index}`),
    addresses: fc.constantFrom([0x0a600001 + index], [0x0a600001 + index, six(0x0a600001 + index)]),
    isLocal: fc.boolean(),
    ports: fc.constant([{ name: 'http', port: 80, targetPort: 8080 }]),
    endpoints,
  });
}

/** Three Services at most, with four pods between them. */
export const world: fc.Arbitrary<World> = fc.record({
  services: fc.tuple(service(0), service(1), service(2)).map((all) => all),
});

const side = fc.record({
  kind: fc.constantFrom('client' as const, 'backend' as const),
  connection: fc.nat({ max: 23 }),
  flags: fc.constantFrom(2, 16, 18, 17, 4, 20, 24, 0, 3, 255),
  away: fc.constantFrom(0, 0, 0, 1, -1, 65535, 65536),
});

export const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 12, arbitrary: side },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ticks: fc.constantFrom(1, 29, 30, 59, 60, 240, 800, 3200),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('become' as const), world }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('bytes' as const),
      hook: fc.constantFrom('from-pod' as const, 'to-pod' as const),
      bytes: fc.uint8Array({ minLength: 14, maxLength: 80 }),
    }),
  },
);

/** Connection number n: two clients with two ports each, to three Services, of two families; a backend is the n-th pod. */
function hosts(connection: number): { readonly client: Host; readonly service: Host; readonly backend: Host } {
  const number = connection % 12;
  const family = (word: number): HostAddress => (connection < 12 ? word : six(word));
  return {
    client: { address: family(0x0a020001 + (number & 1)), port: 40000 + ((number >> 1) & 1) },
    service: { address: family(0x0a600001 + (number % 3)), port: 80 },
    backend: { address: family(0x0a010001 + (number >> 2)), port: 8080 },
  };
}

/** The steps that a world and commands are. */
export function stepsOf(first: World, commands: readonly Command[]): Step[] {
  const steps: Step[] = [{ world: first }];
  let now = 1000;
  for (const it of commands) {
    if (it.kind === 'wait') now += it.ticks;
    else if (it.kind === 'become') steps.push({ world: it.world });
    else if (it.kind === 'bytes')
      steps.push({ hook: it.hook, frame: acceptable(it.bytes), outside: quietOutside(now) });
    else {
      const { client, service: to, backend } = hosts(it.connection);
      const numbers = { sequence: 500, acknowledgement: (501 + it.away) >>> 0 };
      const [hook, sent] =
        it.kind === 'client'
          ? (['from-pod', segment(client, to, it.flags, numbers)] as const)
          : (['to-pod', segment(backend, client, it.flags, numbers)] as const);
      steps.push({ hook, frame: frameOf(sent), outside: quietOutside(now) });
    }
  }
  return steps;
}
