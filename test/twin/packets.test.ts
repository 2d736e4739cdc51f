// SPDX-License-Identifier: Apache-2.0
/** The hand-written packets on both twins: each answer is what was written down, and the kernel's equals the model's. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openRig, packetPrograms, type Rig } from '../../cli/rig.ts';
import { failureText } from '../../core/result.ts';
import { compareTables } from '../../proof/compare.ts';
import { segment, SYN } from '../../proof/frame.ts';
import type { Settings } from '../../proof/settings.ts';
import { configurations } from '../core/datapath/configured.cases.ts';
import { allCases } from '../core/datapath/played.ts';
import { casesOf, client, empty, fate, settings, Stage, web, webBackend } from '../core/datapath/stage.ts';
import { narrow, strain } from '../core/datapath/strain.ts';

const CHECKSUM_MODE = 2;

function open(wanted: Settings): Rig {
  const object = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url));
  const rig = openRig({ object, name: 'bpf/tandem.bpf.o', settings: wanted, programs: packetPrograms });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

const families = ['IPv4', 'IPv6'] as const;

describe.each(families)('both twins with %s', (family) => {
  let rig: Rig;
  let stage: Stage;
  beforeAll(() => {
    rig = open(settings);
    stage = new Stage([rig.model, rig.kernel], family);
  });
  beforeEach(() => stage.begin());
  afterAll(() => rig[Symbol.dispose]());

  for (const { title, play } of casesOf(family, allCases)) {
    test(title, () => {
      play(stage);
      expect(compareTables(rig.model.twin.flowMemory(), rig.kernel.twin.flowMemory())).toBeUndefined();
    });
  }
});

describe.each(configurations)('both twins $what', ({ settings: own, cases }) => {
  let rig: Rig;
  beforeAll(() => {
    rig = open(own);
  });
  afterAll(() => rig[Symbol.dispose]());

  describe.each(families)('and %s', (family) => {
    test.each(casesOf(family, cases))('$title', ({ play }) => {
      const stage = new Stage([rig.model, rig.kernel], family);
      stage.begin();
      play(stage);
      expect(compareTables(rig.model.twin.flowMemory(), rig.kernel.twin.flowMemory())).toBeUndefined();
    });
  });
});

describe('a table that is always nearly full', () => {
  test('answers what it forwards in both twins', () => {
    using rig = open(narrow);
    const seen = strain(new Stage([rig.model, rig.kernel]), 2, 0, 20_000);
    expect(seen).toContain('forward new-flow forward-known forward-taken forward-reselect forward-new');
    expect(compareTables(rig.model.twin.flowMemory(), rig.kernel.twin.flowMemory())).toBeUndefined();
  });
});

describe.each(families)('%s packets whose sum a device has computed (CHECKSUM_COMPLETE)', (family) => {
  let rig: Rig;
  let stage: Stage;
  beforeAll(() => {
    rig = open({ ...settings, isComplete: true });
    stage = new Stage([rig.model, rig.kernel], family);
  });
  beforeEach(() => stage.begin());
  afterAll(() => rig[Symbol.dispose]());

  // After each run the kernel sums the packet again and compares: a sum left behind is a failed run.
  test('keep a right sum when they are forwarded and answered', () => {
    const it = segment(client, web, SYN, { payload: new Uint8Array(7).fill(9) });
    expect(stage.fromPod(it, { checksumMode: CHECKSUM_MODE }).frame).toEqual(
      stage.frameOf({ ...it, destination: webBackend.address, destinationPort: webBackend.port }),
    );
    const options = family === 'IPv4' ? { ipOptions: new Uint8Array(8).fill(1) } : {};
    const back = segment(webBackend, client, SYN | 16, options);
    expect(stage.toPod(back, { checksumMode: CHECKSUM_MODE }).frame).toEqual(
      stage.frameOf({ ...back, source: web.address, sourcePort: web.port }),
    );
  });

  test('keep a right sum when they become a refusal', () => {
    const it = segment(client, empty, SYN);
    const answer = stage.fromPod(it, { checksumMode: CHECKSUM_MODE });
    expect(fate(answer)).toBe('refuse no-endpoints');
    expect(answer.frame).toEqual(stage.refusalOf(it));
  });
});
