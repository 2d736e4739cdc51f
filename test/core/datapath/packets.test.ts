// SPDX-License-Identifier: Apache-2.0
/** The hand-written packets on the model alone: what needs no root and no kernel. */
import { beforeEach, describe, test } from 'vitest';
import { openModel } from './model.ts';
import { allCases } from './played.ts';
import { casesOf, Stage } from './stage.ts';

describe.each(['IPv4', 'IPv6'] as const)('the model with %s', (family) => {
  const stage = new Stage([openModel().side], family);
  beforeEach(() => stage.begin());

  for (const { title, play } of casesOf(family, allCases)) test(title, () => play(stage));
});
