// SPDX-License-Identifier: Apache-2.0
/** The hand-written packets on the model alone: what needs no root and no kernel. */
import { beforeEach, describe, test } from 'vitest';
import { openModel } from './model.ts';
import { packetCases } from './cases.ts';
import { Stage } from './stage.ts';
import { stories } from './stories.ts';

describe('the model', () => {
  const stage = new Stage([openModel().side]);
  beforeEach(() => stage.begin());

  for (const { title, play } of [...packetCases, ...stories]) test(title, () => play(stage));
});
