// SPDX-License-Identifier: Apache-2.0
/** Laws of the difference for everything the types carry: several frontends of a port, two views, tight maps. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressFromIPv4, endpointText, port, TCP } from '../../../core/address.ts';
import { diff } from '../../../core/control/entries.ts';
import { emptyImage } from '../../../core/control/image.ts';
import { hashHex, podIdentity } from '../../../core/control/names.ts';
import { backendList, liveBits as bitsOf } from '../../../core/control/backends.ts';
import type { WantedPort } from '../../../core/control/wanted.ts';
import type { Backend, Frontend, View } from '../../../core/service.ts';
import { keyText, MemoryStore } from './memory.ts';

function backend(last: number, pod: string): Backend {
  const address = addressFromIPv4(0x0a00_0000 + last);
  return {
    address,
    port: port(8080),
    state: 'active',
    node: '',
    zone: '',
    identity: podIdentity(pod),
    text: endpointText(address, port(8080)),
  };
}

/** A view of backends 0 to 5 by bits; all of one port agree on whose pod an address is. */
function view(members: number, pods: string): View {
  const backends = [0, 1, 2, 3, 4, 5]
    .filter((last) => (members & (1 << last)) !== 0)
    .map((last) => backend(last, `${pods}${last}`));
  return { backends, whenEmpty: 'reject', topology: 'none', topologyReason: 'no-hints', masquerade: 'never' };
}

const frontendArbitrary = fc.record({
  number: fc.integer({ min: 1, max: 3 }),
  internal: fc.nat(63),
  external: fc.nat(63),
});

function frontend(name: string, place: number, number: number, internal: View, external: View): Frontend {
  return {
    kind: 'NodePort',
    created: '',
    algorithm: 'hash',
    servicePort: { namespace: 'shop', name, portName: '', protocol: TCP },
    address: addressFromIPv4(0xc000_0200 + place),
    port: port(number),
    protocol: TCP,
    affinitySeconds: null,
    sourceRanges: null,
    internal,
    external,
    excluded: [],
    serving: [],
  };
}

/** Service ports a and b own frontends of different addresses. */
function portArbitrary(name: string, place: number): fc.Arbitrary<WantedPort> {
  const frontends = fc.uniqueArray(frontendArbitrary, { selector: ({ number }) => number, maxLength: 3 });
  return fc.record({ frontends, pods: fc.constantFrom('p', 'q') }).map(({ frontends: wanted, pods }) => ({
    name,
    frontends: wanted.map(({ number, internal, external }): Frontend =>
      frontend(name, place, number, view(internal, pods), view(external, pods)),
    ),
  }));
}

function texts(wanted: View | null): string[] {
  return (wanted?.backends ?? []).map(({ text }) => text);
}

/** Service port, backend and the views that it says to be in, for every live backend. */
function liveBits(store: MemoryStore): string[] {
  const found = [...store.liveBackends().values()].map(({ identity, live }) => `${hashHex(identity)} ${live & 0xff}`);
  return found.toSorted();
}

function wantedBits(ports: readonly WantedPort[]): string[] {
  const wanted = ports.flatMap(({ frontends }) => {
    const { backends, views } = backendList(frontends);
    return backends.map((each, index) => `${hashHex(each.identity)} ${bitsOf(each, views[index] ?? 0)}`);
  });
  return wanted.toSorted();
}

const historyArbitrary = fc.array(fc.tuple(portArbitrary('a', 1), portArbitrary('b', 2)), {
  minLength: 1,
  maxLength: 8,
});

test('both views of every frontend are what is wanted, and while writing what was or what will be', () => {
  fc.assert(
    fc.property(historyArbitrary, (history) => {
      const store = new MemoryStore();
      const image = emptyImage(store);
      for (const ports of history) {
        const wanted = new Map(
          ports.flatMap(({ frontends }) => frontends.map((frontend) => [keyText(frontend), frontend] as const)),
        );
        const before = new Map(store.keys().map((key) => [keyText(key), store.lookup(key)]));
        store.onStep = () => {
          for (const key of store.keys()) {
            const found = store.lookup(key);
            const after = wanted.get(keyText(key));
            const isOld = JSON.stringify(found) === JSON.stringify(before.get(keyText(key)));
            if (!isOld)
              expect([found?.backends, found?.external]).toEqual([
                texts(after?.internal ?? null),
                texts(after?.external ?? null),
              ]);
          }
        };
        const { operations, failures } = diff(image, { ports, addresses: [], isComplete: false });
        expect([failures, store.batch(operations).result.ok]).toEqual([[], true]);
        expect(store.keys().map(keyText).sort()).toEqual([...wanted.keys()].sort());
        for (const key of store.keys()) {
          const after = wanted.get(keyText(key));
          expect(store.lookup(key)).toMatchObject({
            backends: texts(after?.internal ?? null),
            external: texts(after?.external ?? null),
          });
        }
        expect(store.strayBackends()).toEqual([]);
        expect(liveBits(store)).toEqual(wantedBits(ports));
        expect(diff(image, { ports, addresses: [], isComplete: true }).operations).toEqual([]);
      }
    }),
    { numRuns: 200 },
  );
});

test('what did not fit leaves no room behind: everything fits again afterwards', () => {
  const tight = fc.constantFrom({ services: 5 }, { slots: 5 }, { backends: 9 }, { frontends: 4 });
  fc.assert(
    fc.property(tight, historyArbitrary, (sizes, history) => {
      const store = new MemoryStore(sizes);
      const image = emptyImage(store);
      const apply = (ports: readonly WantedPort[]): number => {
        const { operations, failures } = diff(image, { ports, addresses: [], isComplete: false });
        expect(store.batch(operations).result).toEqual({ ok: true, value: undefined });
        return failures.length;
      };
      for (const ports of history) apply(ports);
      expect(apply(['a', 'b'].map((name) => ({ name, frontends: [] })))).toBe(0);
      expect([store.keys(), [...store.liveBackends()]]).toEqual([[], []]);
      // Twice: the first flushes what cools.
      apply([]);
      const half = ['a', 'b'].map((name, place): WantedPort => ({
        name,
        frontends: [1, 2].map((number) => frontend(name, place + 1, number, view(0b1111, 'z'), view(0b1111, 'z'))),
      }));
      expect(apply(half)).toBe(0);
      expect(store.keys()).toHaveLength(4);
    }),
    { numRuns: 200 },
  );
});
