// SPDX-License-Identifier: Apache-2.0
/** What a datagram is permitted when its flow has a backend already: rules G1 to G3 of the Service contract. */
import { describe, expect, test } from 'vitest';
import { port } from '../../../core/address.ts';
import type { ClusterEvent, ClusterObject, EndpointObject } from '../../../core/objects.ts';
import { createOracleTimeline, oracleOf, type OracleTimeline } from '../../../core/oracle.ts';
import { answerText, judgeOutcome, type Question, type Verdict } from '../../../core/oracle/answer.ts';
import { address, conditions, elsewhere, endpoint, OPTIONS, question, service, slice, web } from './world.ts';

const DNS = '10.96.0.1:53/UDP';
const ports = [{ name: 'dns', port: 53, protocol: 'UDP' }];
const dns = (spec: Parameters<typeof web>[0] = {}): ClusterObject => web({ ports, ...spec });
const dnsSlice = (name: string, endpoints: readonly EndpointObject[], number = 8053): ClusterObject =>
  slice(name, endpoints, { ports: [{ name: 'dns', port: number, protocol: 'UDP' }] });

const UDP = { name: 'dns', port: 8053, protocol: 'UDP' };

const one = endpoint('10.0.0.1');
const two = endpoint('10.0.0.2');
const was = (flags: string): EndpointObject => endpoint('10.0.0.1', { conditions: conditions(flags) });
const going = (text: string, last: number, number = 8053): Question => ({
  ...question(text),
  kept: { address: address(`10.0.0.${last}`), port: port(number) },
});

function askGoing(objects: readonly ClusterObject[], text = DNS, last = 1, number = 8053): string {
  return answerText(oracleOf(OPTIONS, objects).answer(going(text, last, number)));
}

const KEEPS = 'permitted shop/web:dns 10.0.0.1:8053';
const MOVES = 'permitted shop/web:dns 10.0.0.2:8053';

describe('a flow', () => {
  test.each<[string, ClusterObject[], string]>([
    ['G1 keeps its backend, whoever else serves', [dns(), dnsSlice('a', [one, two])], KEEPS],
    ['G1 keeps one that is no longer ready', [dns(), dnsSlice('a', [was('FTF'), two])], KEEPS],
    ['G1 keeps one that ends, while it serves', [dns(), dnsSlice('a', [was('FTT'), two])], KEEPS],
    ['G1 leaves one that ends and does not serve', [dns(), dnsSlice('a', [was('FFT'), two])], MOVES],
    ['G1 leaves one that is gone', [dns(), dnsSlice('a', [two])], MOVES],
    [
      'G1 may choose a ready one again that does not serve',
      [dns(), dnsSlice('a', [was('TFF'), two])],
      'permitted shop/web:dns 10.0.0.1:8053 10.0.0.2:8053',
    ],
    [
      'G1 leaves an address whose target port has changed',
      [dns(), dnsSlice('a', [one], 9053)],
      `${KEEPS.slice(0, -4)}9053`,
    ],
    [
      'C5 keeps a backend elsewhere under a policy that asks for a local one',
      [dns({ internalTrafficPolicy: 'Local' }), dnsSlice('a', [elsewhere('10.0.0.1'), two])],
      KEEPS,
    ],
    ['G3 is refused where nobody serves', [dns(), dnsSlice('a', [])], 'refuse shop/web:dns no-endpoints'],
    [
      'B4 is refused where the Service has given up the port',
      [web(), dnsSlice('a', [one])],
      'refuse-unknown-port shop/web',
    ],
    ['G3 goes nowhere where the Service is gone', [dnsSlice('a', [one])], 'drop-unallocated'],
    [
      'H4 may do both where slices differ about who serves',
      [dns(), dnsSlice('a', [was('FTF'), two]), dnsSlice('b', [was('FFF')])],
      'contested: permitted shop/web:dns 10.0.0.1:8053 | permitted shop/web:dns 10.0.0.2:8053',
    ],
    [
      'A6 keeps what the owner of the frontend has serving, not what another claimant has',
      [
        dns(),
        dnsSlice('a', [two]),
        service('shop/zoo', { ports }),
        slice('z', [one], { service: 'zoo', ports: [UDP] }),
      ],
      MOVES,
    ],
  ])('%s', (_name, objects, expected) => {
    expect(askGoing(objects)).toBe(expected);
  });

  test('G2 of TCP is not asked where it was: only a new connection gets an answer', () => {
    const objects = [web(), slice('a', [endpoint('10.0.0.1'), endpoint('10.0.0.2')])];
    const both = 'permitted shop/web:http 10.0.0.1:8080 10.0.0.2:8080';
    expect(askGoing(objects, '10.96.0.1:80/TCP', 1, 8080)).toBe(both);
  });

  test('C2 that begins finds nobody where a kept one goes on', () => {
    const objects = [dns({ internalTrafficPolicy: 'Local' }), dnsSlice('a', [elsewhere('10.0.0.1')])];
    expect(answerText(oracleOf(OPTIONS, objects).answer(question(DNS)))).toBe('drop shop/web:dns no-local-endpoints');
    expect(askGoing(objects)).toBe(KEEPS);
  });
});

describe('over time', () => {
  const added = (object: ClusterObject): ClusterEvent => ({ type: 'MODIFIED', object });
  function timeline(...events: [number, ClusterEvent][]): OracleTimeline {
    const made = createOracleTimeline(OPTIONS);
    for (const [timeNs, event] of events) made.apply(timeNs, event);
    return made;
  }
  const sentTo = (made: OracleTimeline, last: number, to: number, timeNs: number): Verdict =>
    judgeOutcome(made.judge(timeNs, 1000, going(DNS, last)), {
      kind: 'backend',
      address: address(`10.0.0.${to}`),
      port: port(8053),
    });

  const made = (): OracleTimeline =>
    timeline(
      [0, added(dns())],
      [0, added(dnsSlice('a', [one, two]))],
      [100, added(dnsSlice('a', [was('FTT'), two]))],
      [200, added(dnsSlice('a', [was('FFT'), two]))],
      [300, added(dnsSlice('a', [two]))],
    );

  test('a flow that stays is stale from when its backend stops to serve, not from when it is gone', () => {
    const verdicts = [50, 150, 250, 350].map((timeNs) => sentTo(made(), 1, 1, timeNs));
    expect(verdicts.map(({ kind }) => kind)).toEqual(['permitted', 'permitted', 'stale', 'stale']);
    expect(verdicts[3]).toMatchObject({ kind: 'stale', staleNs: 150, endedBy: 3 });
  });

  test('a flow that leaves a backend which serves does wrong, and one that leaves a dead one does not', () => {
    expect([50, 150, 250].map((timeNs) => sentTo(made(), 1, 2, timeNs).kind)).toEqual(['never', 'never', 'permitted']);
  });

  test('a change in who serves is remembered although it changes nothing for new flows', () => {
    const still = timeline(
      [0, added(dns())],
      [0, added(dnsSlice('a', [was('FTF'), two]))],
      [100, added(dnsSlice('a', [was('FFF'), two]))],
    );
    expect(sentTo(still, 1, 1, 50).kind).toBe('permitted');
    expect(sentTo(still, 1, 1, 150)).toMatchObject({ kind: 'stale', staleNs: 50 });
  });
});
