// SPDX-License-Identifier: Apache-2.0
/** Faults for the C side, as small changes of text: each must be seen by a campaign, or nobody should trust it. */
import { byteFaults } from './byte.ts';
import { flowFaults } from './flow.ts';
import { fragmentFaults } from './fragment.ts';
import { icmpFaults } from './icmp.ts';
import { ipv6Faults, ipv6SocketFaults } from './ipv6.ts';
import { openFaults } from './open.ts';
import type { Fault, Mutant } from './plant.ts';
import { socketFaults } from './socket.ts';
import { udpFaults } from './udp.ts';

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
