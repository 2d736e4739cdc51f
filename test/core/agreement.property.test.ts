// SPDX-License-Identifier: Apache-2.0
/** The compiler and the oracle, which share nothing but the contract, say the same of every frontend to every client. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ClusterObject } from '../../core/objects.ts';
import { oracleOf } from '../../core/oracle.ts';
import { compile } from './control/compiled.ts';
import { anyObjects } from './oracle/clusters.ts';
import { differences } from './oracle/compare.ts';
import { anySettings, configOf, optionsOf, type Settings } from './oracle/settings.ts';

function compare(objects: readonly ClusterObject[], settings: Settings): string[] {
  const config = configOf(settings);
  const document = compile(
    objects.map((object) => ({ type: 'ADDED', object })),
    config,
  );
  return differences(document, oracleOf(optionsOf(settings), objects), config.clusterCIDRs);
}

test('law: document and oracle name the same backends, refusals, drops and sources to every client of every frontend', () => {
  fc.assert(
    fc.property(anyObjects, anySettings, (objects, settings) => {
      expect(compare(objects, settings)).toEqual([]);
    }),
    { numRuns: 300 },
  );
});
