// SPDX-License-Identifier: Apache-2.0
/** Faults for the C side, as small changes of text: each must be seen by a campaign, or nobody should trust it. */
import { byteFaults } from './bytemutants.ts';
import { flowFaults } from './flowmutants.ts';
import { ipv6Faults, ipv6SocketFaults } from './ipv6mutants.ts';
import type { Mutant } from './plant.ts';
import { socketFaults } from './socketmutants.ts';

/** Every fault, each by a name of its own. */
export const mutants: readonly Mutant[] = [
  ...[...byteFaults, ...flowFaults, ...ipv6Faults].map((mutant) => ({ ...mutant, road: 'packets' as const })),
  ...[...socketFaults, ...ipv6SocketFaults].map((mutant) => ({ ...mutant, road: 'sockets' as const })),
];
