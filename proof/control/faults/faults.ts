// SPDX-License-Identifier: Apache-2.0
/** Every fault written by hand for the control plane, each by a name of its own. */
import type { ControlFault } from '../fault.ts';
import { machineFaults } from './machines.ts';
import { objectFaults } from './objects.ts';
import { ownerFaults } from './owners.ts';
import { recordFaults } from './records.ts';
import { roomFaults } from './room.ts';
import { ruleFaults } from './rules.ts';

export const controlFaults: readonly ControlFault[] = [
  ...objectFaults,
  ...machineFaults,
  ...ruleFaults,
  ...ownerFaults,
  ...recordFaults,
  ...roomFaults,
];
