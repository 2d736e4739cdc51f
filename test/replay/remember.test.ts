// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { port, TCP, UDP } from '../../core/address.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import { createOracleTimeline, type OracleTimeline } from '../../core/oracle.ts';
import type { Question } from '../../core/oracle/answer.ts';
import { rememberAnswers } from '../../replay/remember.ts';
import { addressOf } from './packets.ts';
import { cluster, eventLine, LOCAL, REMOTE, SERVICE, slice } from './recording.ts';

const questions: readonly Question[] = [SERVICE, LOCAL, '10.96.0.77'].flatMap((address) =>
  [TCP, UDP].map((protocol) => ({ client: 'pod' as const, address: addressOf(address), protocol, port: port(80) })),
);
const endpoints = [[], [LOCAL], [REMOTE], [LOCAL, REMOTE]];
const steps = fc.array(
  fc.oneof(
    fc.record({ to: fc.constantFrom(...endpoints) }),
    fc.record({ ask: fc.constantFrom(...questions), agoNs: fc.constantFrom(0, 0, 0, 5, 50) }),
  ),
  { minLength: 1, maxLength: 40 },
);
const lists: readonly ClusterEvent[] = cluster([]).events.map(({ event }) => event);

/** The slice has these endpoints from now on. */
function changedTo(addresses: readonly string[]): ClusterEvent {
  const changed = cluster([], eventLine(1, 'MODIFIED', slice(addresses))).events.at(-1);
  if (changed === undefined) throw new Error('an event');
  return changed.event;
}

const options = { nodeName: 'node1' };

/** Both are told and asked the same; times go on by ten for each step. */
function expectAlike(oracle: OracleTimeline, other: OracleTimeline): void {
  fc.assert(
    fc.property(steps, (todo) => {
      for (const one of [oracle, other]) for (const event of lists) one.apply(nowNs, event);
      for (const step of todo) {
        nowNs += 10;
        if ('to' in step) {
          const event = changedTo(step.to);
          for (const one of [oracle, other]) one.apply(nowNs, event);
        } else {
          const askedNs = nowNs - step.agoNs;
          expect(other.answerAt(askedNs, step.ask)).toEqual(oracle.answerAt(askedNs, step.ask));
        }
      }
    }),
  );
}
let nowNs = 100;

test('what is remembered is what would be answered, at any time', () => {
  expectAlike(createOracleTimeline(options), rememberAnswers(createOracleTimeline(options)));
});

test('who asks from another address is answered anew', () => {
  const masquerading = { ...options, clusterCIDRs: [{ address: addressOf(LOCAL), length: 128 }] };
  const oracle = rememberAnswers(createOracleTimeline(masquerading));
  for (const event of [...lists, changedTo([LOCAL])]) oracle.apply(0, event);
  const [asked] = questions;
  if (asked === undefined) throw new Error('a question');
  const sources = [LOCAL, REMOTE].map((address) => {
    const answer = oracle.answerAt(0, { ...asked, clientAddress: addressOf(address) });
    return answer.kind === 'permitted' ? answer.source : answer.kind;
  });
  expect(sources).toEqual(['client', 'node']);
});

test('one that forgets nothing would be found out (planted fault)', () => {
  const remembering = rememberAnswers(createOracleTimeline(options));
  const inner = createOracleTimeline(options);
  const deaf: OracleTimeline = { ...rememberAnswers(inner), apply: (timeNs, event) => inner.apply(timeNs, event) };
  expect(() => expectAlike(remembering, deaf)).toThrow('Property failed');
});
