// SPDX-License-Identifier: Apache-2.0
/** The hand-written packets on the model alone: what needs no root and no kernel. */
import { beforeEach, describe, test } from 'vitest';
import { openModel as openWith } from '../../../cli/rig.ts';
import { configurations } from './configured.cases.ts';
import { openModel } from './model.ts';
import { allCases } from './played.ts';
import { casesOf, Stage } from './stage.ts';

describe.each(['IPv4', 'IPv6'] as const)('the model with %s', (family) => {
  const stage = new Stage([openModel().side], family);
  beforeEach(() => stage.begin());

  for (const { title, play } of casesOf(family, allCases)) test(title, () => play(stage));
});

describe.each(configurations)('the model $what', ({ settings, cases }) => {
  describe.each(['IPv4', 'IPv6'] as const)('and %s', (family) => {
    const own = casesOf(family, cases);
    const stage = new Stage([openWith(settings).side], family);
    beforeEach(() => stage.begin());

    test.each(own)('$title', ({ play }) => play(stage));
  });
});
