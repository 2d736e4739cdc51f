// SPDX-License-Identifier: Apache-2.0
/** The hand-written packets on the model alone: what needs no root and no kernel. */
import { beforeEach, describe, test } from 'vitest';
import { openModel } from './model.ts';
import { packetCases } from './cases.ts';
import { ipv6Cases } from './ipv6cases.ts';
import { casesOf, Stage } from './stage.ts';
import { stories } from './stories.ts';

describe.each(['IPv4', 'IPv6'] as const)('the model with %s', (family) => {
  const stage = new Stage([openModel().side], family);
  beforeEach(() => stage.begin());

  for (const { title, play } of casesOf(family, [...packetCases, ...ipv6Cases, ...stories]))
    test(title, () => play(stage));
});
