// SPDX-License-Identifier: Apache-2.0
/** Every hand-written case, for those who play them: on the model alone, and on both twins. */
import { packetCases } from './cases.ts';
import { collisionCases } from './collisions.cases.ts';
import { edgeCases } from './edges.cases.ts';
import { errorCases } from './errors.cases.ts';
import { extensionCases } from './extensions.cases.ts';
import { fragmentCases } from './fragments.cases.ts';
import { hairpinCases } from './hairpin.cases.ts';
import { ipv6Cases } from './ipv6cases.ts';
import type { PacketCase } from './stage.ts';
import { stories } from './stories.ts';
import { udpCases } from './udp.cases.ts';
import { udpLifeCases } from './udplife.cases.ts';

export const allCases: readonly PacketCase[] = [
  ...packetCases,
  ...ipv6Cases,
  ...stories,
  ...udpCases,
  ...udpLifeCases,
  ...fragmentCases,
  ...extensionCases,
  ...errorCases,
  ...edgeCases,
  ...hairpinCases,
  ...collisionCases,
];
