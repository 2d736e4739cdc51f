// SPDX-License-Identifier: Apache-2.0
/** What the document of compiled Services says that a client meets. */
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../core/control/tell/document.ts';
import { backendText, type Answer, type FrontendKey, type Share } from './answer.ts';
import type { Question } from './derive.ts';
import { addressNumber, holds, intervalOf, normalIntervals, type Interval } from './intervals.ts';
import { keyText } from './objects.ts';

/** The document by frontend, and the ranges that its words depend on. */
export type Expectation = {
  readonly rows: ReadonlyMap<string, CompiledFrontend>;
  readonly document: CompiledServices;
  readonly clusterRanges: readonly Interval[];
  readonly serviceRanges: readonly Interval[];
  readonly clusterIPs: ReadonlySet<string>;
};

/** A document in which two rows are one frontend is a bug of the compiler. */
export function readExpectation(document: CompiledServices, clusterCIDRs: readonly string[]): Expectation {
  const rows = new Map<string, CompiledFrontend>();
  for (const row of document.frontends) {
    const key = keyText(keyOf(row));
    const other = rows.get(key);
    if (other !== undefined) throw new Error(`two rows for ${key}: ${other.service} and ${row.service}`);
    rows.set(key, row);
  }
  return {
    rows,
    document,
    clusterRanges: clusterCIDRs.map(intervalOf),
    serviceRanges: document.defaults.serviceCIDRs.map(intervalOf),
    clusterIPs: new Set(document.frontends.filter(({ kind }) => kind === 'ClusterIP').map(({ address }) => address)),
  };
}

export function keyOf({ address, port, protocol }: CompiledFrontend): FrontendKey {
  const name = protocol.toLowerCase();
  if (name !== 'tcp' && name !== 'udp' && name !== 'sctp') throw new Error(`protocol ${protocol}`);
  return { address, port, protocol: name };
}

/** `view` asks for the other view than the client's, to tell what a deliberate difference would look like. */
export function expectedAnswer(
  expectation: Expectation,
  question: Question,
  view: 'internal' | 'external' = viewOf(question),
): Answer {
  const { frontend, source } = question;
  const row = expectation.rows.get(keyText(frontend));
  if (row === undefined) return withoutRow(expectation, frontend, view);
  const ranges = expectedRanges(row);
  if (ranges !== null && !holds(ranges, addressNumber(source))) return { kind: 'drop' };
  const compiled = row[view];
  if (compiled === null) return { kind: 'pass' };
  if (compiled.backends.length === 0) return { kind: compiled.whenEmpty === 'reject' ? 'refuse' : 'drop' };
  return sharesOf(expectation, compiled, question, row.affinitySeconds);
}

function viewOf({ client }: Question): 'internal' | 'external' {
  return client === 'pod' || client === 'process' || client === 'backend' ? 'internal' : 'external';
}

/** The document promises it to pods and processes of the node. */
function withoutRow(expectation: Expectation, { address }: FrontendKey, view: 'internal' | 'external'): Answer {
  const { defaults } = expectation.document;
  if (view === 'external') return { kind: 'pass' };
  if (expectation.clusterIPs.has(address)) return { kind: defaults.unknownPort === 'reject' ? 'refuse' : 'drop' };
  const isOfServices = holds(
    expectation.serviceRanges.filter(({ first }) => (first >> 32n === 0n) === !address.includes(':')),
    addressNumber(address),
  );
  return { kind: isOfServices ? defaults.unallocatedAddress : 'pass' };
}

function sharesOf(
  { clusterRanges }: Expectation,
  { backends, masquerade }: CompiledView,
  { client, source }: Question,
  affinitySeconds: number | null,
): Answer {
  const isInside = holds(
    clusterRanges.filter(({ first }) => (first >> 32n === 0n) === !source.includes(':')),
    addressNumber(source),
  );
  const isReplaced = masquerade === 'always' || (masquerade === 'off-cluster' && !isInside);
  const shares = new Map<string, Share>();
  for (const { address, port } of backends) {
    const name = backendText(address, port);
    // A process has the node's address anyway; a backend that asks itself must not hear itself (services D2).
    const sees = client === 'process' || isReplaced || address === source ? 'node' : 'client';
    shares.set(name, { probability: (shares.get(name)?.probability ?? 0) + 1 / backends.length, sees });
  }
  return { kind: 'backends', shares, affinitySeconds };
}

/** null: everyone. */
export function expectedRanges(row: CompiledFrontend | undefined): readonly Interval[] | null {
  if (row?.sourceRanges === null || row === undefined) return null;
  return normalIntervals(row.sourceRanges.map(intervalOf));
}
