// SPDX-License-Identifier: Apache-2.0
/** The hand-written packets on both twins: each answer is what was written down, and the kernel's equals the model's. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openRig, type Rig } from '../../cli/rig.ts';
import { packetPrograms } from '../../kernel/twin.ts';
import { failureText } from '../../core/result.ts';
import { compareTables } from '../../proof/compare.ts';
import type { Settings } from '../../proof/settings.ts';
import { configurations } from '../core/datapath/configured.cases.ts';
import { allCases } from '../core/datapath/played.ts';
import { casesOf, settings, Stage } from '../core/datapath/stage.ts';
import { narrow, strain } from '../core/datapath/strain.ts';

function open(wanted: Settings): Rig {
  const object = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url));
  const rig = openRig({ object, name: 'bpf/tandem.bpf.o', settings: wanted, programs: packetPrograms });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

const families = ['IPv4', 'IPv6'] as const;

describe.each(families)('both twins with %s', (family) => {
  let rig: Rig;
  let stage: Stage;
  beforeAll(() => {
    rig = open(settings);
    stage = new Stage([rig.model, rig.kernel], family);
  });
  beforeEach(() => stage.begin());
  afterAll(() => rig[Symbol.dispose]());

  for (const { title, play } of casesOf(family, allCases)) {
    test(title, () => {
      play(stage);
      expect(compareTables(rig.model.twin.flowMemory(), rig.kernel.twin.flowMemory())).toBeUndefined();
    });
  }
});

describe.each(configurations)('both twins $what', ({ settings: own, cases }) => {
  let rig: Rig;
  beforeAll(() => {
    rig = open(own);
  });
  afterAll(() => rig[Symbol.dispose]());

  describe.each(families)('and %s', (family) => {
    test.each(casesOf(family, cases))('$title', ({ play }) => {
      const stage = new Stage([rig.model, rig.kernel], family);
      stage.begin();
      play(stage);
      expect(compareTables(rig.model.twin.flowMemory(), rig.kernel.twin.flowMemory())).toBeUndefined();
    });
  });
});

describe('a table that is always nearly full', () => {
  test('answers what it forwards in both twins', () => {
    using rig = open(narrow);
    const seen = strain(new Stage([rig.model, rig.kernel]), 2, 0, 20_000);
    expect(seen).toContain('forward new-flow forward-known forward-taken forward-reselect forward-new');
    expect(compareTables(rig.model.twin.flowMemory(), rig.kernel.twin.flowMemory())).toBeUndefined();
  });
});
