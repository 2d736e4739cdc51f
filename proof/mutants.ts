// SPDX-License-Identifier: Apache-2.0
/** Faults for the C side, as small changes of text: each must be seen by a campaign, or nobody should trust it. */
import { byteFaults } from './bytemutants.ts';
import { flowFaults } from './flowmutants.ts';
import { fragmentFaults } from './fragmentmutants.ts';
import { icmpFaults } from './icmpmutants.ts';
import { ipv6Faults, ipv6SocketFaults } from './ipv6mutants.ts';
import { openFaults } from './openmutants.ts';
import type { Fault, Mutant } from './plant.ts';
import { socketFaults } from './socketmutants.ts';
import { udpFaults } from './udpmutants.ts';

const packetFaults: readonly Fault[] = [
  ...byteFaults,
  ...flowFaults,
  ...ipv6Faults,
  ...udpFaults,
  ...icmpFaults,
  ...fragmentFaults,
  ...openFaults,
];

/** Every fault, each by a name of its own. */
export const mutants: readonly Mutant[] = [
  ...packetFaults.map((mutant) => ({ ...mutant, road: 'packets' as const })),
  ...[...socketFaults, ...ipv6SocketFaults].map((mutant) => ({ ...mutant, road: 'sockets' as const })),
];
