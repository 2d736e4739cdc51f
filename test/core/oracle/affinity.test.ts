// SPDX-License-Identifier: Apache-2.0
/** What a client that was here before is permitted: rules E1 to E5 of the Service contract. */
import { describe, expect, test } from 'vitest';
import { port } from '../../../core/address.ts';
import type { ClusterObject } from '../../../core/objects.ts';
import { createOracle, oracleOf } from '../../../core/oracle.ts';
import { answerText, type Question } from '../../../core/oracle/answer.ts';
import { address, conditions, endpoint, OPTIONS, question, slice, web, WEB } from './world.ts';

const clientIP = (timeoutSeconds?: number): ClusterObject =>
  web({
    sessionAffinity: 'ClientIP',
    ...(timeoutSeconds === undefined ? {} : { sessionAffinityConfig: { clientIP: { timeoutSeconds } } }),
  });
const all = slice('a', [endpoint('10.0.0.1'), endpoint('10.0.0.2'), endpoint('10.0.0.3')]);

function returning(last: number, ageSeconds: number): Question {
  const backend = { address: address(`10.0.0.${last}`), port: port(8080) };
  return { ...question(WEB), last: { backend, ageNs: ageSeconds * 1e9 } };
}

const asked = (objects: readonly ClusterObject[], ...words: Parameters<typeof returning>): string =>
  answerText(oracleOf(OPTIONS, objects).answer(returning(...words)));

const OWN = 'permitted shop/web:http 10.0.0.2:8080';
const ANY = 'permitted shop/web:http 10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080';

describe('a client that was here before', () => {
  test.each([
    ['E2 within the timeout has its backend', 10, 8, OWN],
    ['E2 as long again after each connection', 10, 0, OWN],
    ['E2 about the timeout may have any', 10, 9.5, ANY],
    ['E2 after the timeout may have any', 10, 11, ANY],
    ['E2 by default has it for three hours', undefined, 10_700, OWN],
    ['E2 and no longer', undefined, 10_900, ANY],
  ])('%s', (_name, timeout, age, expected) => {
    expect(asked([clientIP(timeout), all], 2, age)).toBe(expected);
  });

  test('E3 is not kept on a backend that no new connection may have', () => {
    const ending = endpoint('10.0.0.2', { conditions: conditions('FTT') });
    const objects = [clientIP(10), slice('a', [endpoint('10.0.0.1'), ending])];
    expect(asked(objects, 2, 1)).toBe('permitted shop/web:http 10.0.0.1:8080');
  });

  test('E3 is kept on a terminating one where only such are left', () => {
    const ending = ['10.0.0.1', '10.0.0.2'].map((ip) => endpoint(ip, { conditions: conditions('FTT') }));
    expect(asked([clientIP(10), slice('a', ending)], 2, 1)).toBe(OWN);
  });

  test('E3 is refused where nobody is left', () => {
    expect(asked([clientIP(10), slice('a', [])], 2, 1)).toBe('refuse shop/web:http no-endpoints');
  });

  test('E4 is kept from when affinity is switched on until it is switched off', () => {
    const oracle = createOracle(OPTIONS);
    oracle.apply({ type: 'ADDED', object: all });
    const answers = [web(), clientIP(10), web(), clientIP(20), clientIP(10)].map((object) => {
      oracle.apply({ type: 'MODIFIED', object });
      return answerText(oracle.answer(returning(2, 15)));
    });
    expect(answers).toEqual([ANY, ANY, ANY, OWN, ANY]);
  });

  test('a UDP flow that goes on stays where it is, wherever its client would begin another', () => {
    const ports = [{ name: 'dns', port: 53, protocol: 'UDP' }];
    const affine = web({ ports, sessionAffinity: 'ClientIP' });
    const endpoints = slice('a', [endpoint('10.0.0.1'), endpoint('10.0.0.2')], {
      ports: [{ name: 'dns', port: 8080, protocol: 'UDP' }],
    });
    const both: Question = {
      ...returning(2, 1),
      ...question('10.96.0.1:53/UDP'),
      kept: { address: address('10.0.0.1'), port: port(8080) },
    };
    const oracle = oracleOf(OPTIONS, [affine, endpoints]);
    expect(answerText(oracle.answer(both))).toBe('permitted shop/web:dns 10.0.0.1:8080');
    expect(answerText(oracle.answer({ ...both, kept: undefined }))).toBe('permitted shop/web:dns 10.0.0.2:8080');
  });
});
