// SPDX-License-Identifier: Apache-2.0
/** Wrong answers in the compiled document are told by the recorded rules: one row changed in one way, at random. */
import { describe, expect, test } from 'vitest';
import { createStream, type Stream } from '../../core/random.ts';
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../core/control/tell/document.ts';
import { compareRules } from '../../proof/kubeproxy/compare.ts';
import { isOwnAddress } from '../../proof/kubeproxy/derive.ts';
import { readExpectation } from '../../proof/kubeproxy/expected.ts';
import { recordedComparison } from './recorded.ts';

const recorded = recordedComparison();
const TRIES = 5;

type Change = {
  readonly name: string;
  /** The row with another answer; undefined: nothing of the kind in it. */
  readonly make: (row: CompiledFrontend) => CompiledFrontend | undefined;
};

/** Changes the internal view where it has backends, or where it has none. */
function inside(
  row: CompiledFrontend,
  isEmpty: boolean,
  change: (view: CompiledView) => CompiledView,
): CompiledFrontend | undefined {
  const { internal, sourceRanges } = row;
  if (internal === null || sourceRanges !== null || (internal.backends.length === 0) !== isEmpty) return undefined;
  return { ...row, internal: change(internal) };
}

function withBackends(
  row: CompiledFrontend,
  change: (view: CompiledView) => CompiledView,
): CompiledFrontend | undefined {
  return inside(row, false, change);
}

const changes: readonly Change[] = [
  { name: 'a row is missing', make: () => undefined },
  {
    name: 'a backend is missing',
    make: (row) => withBackends(row, (view) => ({ ...view, backends: view.backends.slice(1) })),
  },
  {
    name: 'a backend has another port',
    make: (row) =>
      withBackends(row, (view) => ({
        ...view,
        backends: view.backends.map((one) => ({ ...one, port: one.port + 1 })),
      })),
  },
  {
    name: 'a backend too many',
    make: (row) =>
      withBackends(row, (view) => ({ ...view, backends: view.backends.flatMap((one) => [one, { ...one, port: 1 }]) })),
  },
  {
    name: 'refusal and silence are swapped',
    make: (row) => inside(row, true, (view) => ({ ...view, whenEmpty: view.whenEmpty === 'drop' ? 'reject' : 'drop' })),
  },
  {
    name: 'what the client is to keep is replaced',
    make: (row) =>
      withBackends(row, (view) => ({ ...view, masquerade: view.masquerade === 'always' ? 'never' : 'always' })),
  },
  {
    name: 'an affinity too long',
    make: (row) => withBackends({ ...row, affinitySeconds: (row.affinitySeconds ?? 0) + 1 }, (view) => view),
  },
  {
    name: 'nobody is let in',
    make: (row) =>
      row.kind === 'LoadBalancer' && row.sourceRanges === null ? { ...row, sourceRanges: [] } : undefined,
  },
  {
    name: 'everybody is let in',
    make: (row) => (row.sourceRanges === null ? undefined : { ...row, sourceRanges: null }),
  },
  {
    name: 'a source range is wider',
    make: (row) =>
      row.sourceRanges === null ? undefined : { ...row, sourceRanges: [...row.sourceRanges, widerThan(row)] },
  },
  { name: 'a row at another port', make: (row) => ({ ...row, port: row.port + 10_000 }) },
];

function widerThan({ address }: CompiledFrontend): string {
  return address.includes(':') ? '2600::/16' : '1.0.0.0/24';
}

/** Rows of which what backends see can be told: not by those that have an address of the node. */
function isPlain({ internal }: CompiledFrontend): boolean {
  return internal === null || !internal.backends.some(({ address }) => isOwnAddress(address));
}

function changedAt(stream: Stream, { name, make }: Change): readonly [CompiledFrontend, CompiledServices] | undefined {
  const { document } = recorded;
  const row = stream.pick(document.frontends.filter(isPlain));
  const other = make(row);
  // A port without a row is refused like one without backends.
  const isGone = name === 'a row is missing' && row.internal?.backends.length !== 0;
  if (other === undefined && !isGone) return undefined;
  const frontends = document.frontends.flatMap((one) => (one === row ? (other ?? []) : one));
  return [row, { ...document, frontends }];
}

describe('the compiled document', () => {
  test.each(changes.map((change) => [change.name, change] as const))(
    'is told where it says that %s',
    (name, change) => {
      const stream = createStream(17, name.length);
      const found = Array.from({ length: 40 * TRIES }, () => changedAt(stream, change)).filter(
        (one) => one !== undefined,
      );
      expect(found.length).toBeGreaterThan(0);
      for (const [row, document] of found.slice(0, TRIES)) {
        const { differences } = compareRules({
          ...recorded,
          expectation: readExpectation(document, recorded.settings.clusterCIDRs),
        });
        const lines = differences.map(({ where }) => where).join('\n');
        expect(lines, `${row.kind} ${row.service}`).toContain(row.address);
      }
    },
    60_000,
  );
});
