// SPDX-License-Identifier: Apache-2.0
/** What is permitted to a datagram of a flow that goes on (services G1 to G3): it stays while its backend serves. */
import { endpointText, UDP } from '../address.ts';
import { isBackend, type Answer, type Backend, type Outcome, type Question, type Source } from './answer.ts';
import type { Endpoint } from './endpoints.ts';

/** A serving backend; `always` is false where doubled endpoints leave open whether it serves (H4). */
export type ServingBackend = { readonly backend: Backend; readonly always: boolean };

/** G1: whoever serves keeps its flows: readiness, policy, topology and termination decide about new ones only. */
export function servingBackends(worlds: readonly (readonly Endpoint[])[]): readonly ServingBackend[] {
  const found = new Map<string, { backend: Backend; count: number }>();
  for (const world of worlds) {
    for (const { serving, backend } of world) {
      if (!serving) continue;
      const text = endpointText(backend.address, backend.port);
      found.set(text, { backend, count: (found.get(text)?.count ?? 0) + 1 });
    }
  }
  return [...found.values()].map(({ backend, count }) => ({ backend, always: count === worlds.length }));
}

/**
 * The answer from every outcome that the owner of a frontend permits; undefined for none. G1: a flow keeps a backend
 * that serves and leaves one that does not; G3: also where none is left, which is refused like a new flow.
 */
export function answerForFlow(
  outcomes: readonly Outcome[],
  owner: { readonly serving: readonly ServingBackend[]; readonly source: Source },
  { kept, protocol }: Question,
): Answer | undefined {
  const [first] = outcomes;
  if (kept === undefined || protocol !== UDP || first === undefined) return answerFromOutcomes(outcomes);
  const serving = owner.serving.filter(({ backend }) => isBackend(backend, kept));
  if (serving.length === 0) return answerFromOutcomes(outcomes);
  const keep: Outcome = { kind: 'permitted', service: first.service, backends: [kept], source: owner.source };
  return answerFromOutcomes(serving.every(({ always }) => always) ? [keep] : [keep, ...outcomes]);
}

function answerFromOutcomes(outcomes: readonly Outcome[]): Answer | undefined {
  const [only] = outcomes;
  if (outcomes.length < 2) return only;
  return { kind: 'contested', services: [...new Set(outcomes.map((outcome) => outcome.service))], outcomes };
}
