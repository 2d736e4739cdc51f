// SPDX-License-Identifier: Apache-2.0
/** What a crowd may do to the flow table of the kernel, at its default size; the long form has a million SYNs. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openRig, type Rig } from '../../cli/rig.ts';
import { packetPrograms } from '../../kernel/twin.ts';
import { FLOW_BUCKETS } from '../../core/layout.gen.ts';
import { failureText } from '../../core/result.ts';
import { churn, crowdSettings, greedyClient, synFlood } from '../core/datapath/crowd.ts';
import { isFull } from '../full.ts';

const ENTRIES = FLOW_BUCKETS * 16;
const LONGEST_TICKS = Math.ceil(8_000_000 / 1.048576);
const SYNS = isFull ? 1_000_000 : 200_000;

function open(): Rig {
  const object = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url));
  const rig = openRig({
    object,
    name: 'bpf/tandem.bpf.o',
    settings: crowdSettings(FLOW_BUCKETS),
    programs: packetPrograms,
  });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

describe('the flow table in the kernel', () => {
  test.each(['open', 'closed'] as const)(
    'a flood of SYNs to a port that is %s breaks nobody and keeps nobody out',
    (port) => {
      using rig = open();
      const report = synFlood(rig.kernel, SYNS, port);
      expect(report).toMatchObject({ established: 400, broken: 0, full: 0 });
      expect(report.honestOpened / report.honest).toBeGreaterThanOrEqual(0.99);
    },
    180_000,
  );

  test('a client that holds twice the table leaves room for others', () => {
    using rig = open();
    const report = greedyClient(rig.kernel, ENTRIES);
    expect(report).toMatchObject({ othersOpened: report.others, othersWork: report.others, full: 0 });
  }, 60_000);

  test('connections come and go without an agent, and none is refused', () => {
    using rig = open();
    expect(churn(rig.kernel, ENTRIES, LONGEST_TICKS)).toMatchObject({ refused: 0, full: 0 });
  }, 60_000);
});
