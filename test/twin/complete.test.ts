// SPDX-License-Identifier: Apache-2.0
/**
 * The hand-written packets once more, as packets whose sum a device has computed (CHECKSUM_COMPLETE). After each the
 * kernel sums the packet again and compares: a sum that was left behind is a failed run.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { openModel, openRig, type Rig } from '../../cli/rig.ts';
import { CHECKSUM_MODE_COMPLETE } from '../../core/layout.gen.ts';
import { failureText } from '../../core/result.ts';
import type { Outside, PacketHook } from '../../core/twin.ts';
import { segment, SYN } from '../../proof/traffic/frame.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { datagram, refusalOf, tcp } from '../core/datapath/bytes.ts';
import { allCases } from '../core/datapath/played.ts';
import {
  casesOf,
  client,
  empty,
  fate,
  settings,
  Stage,
  web,
  webBackend,
  type Answer,
  type Family,
  type Host,
  type PacketCase,
} from '../core/datapath/stage.ts';
import { packetPrograms } from '../../kernel/twin.ts';

const families = ['IPv4', 'IPv6'] as const;
const complete = { checksumMode: CHECKSUM_MODE_COMPLETE };
/** How much longer than a packet the ICMP message is that quotes all of it. */
const WRAPPING = { IPv4: 28, IPv6: 48 } as const;
const LEAST = 240;

/**
 * Looks whether a case can be played so: not where a packet is posed another state of its checksum, and not where the
 * kernel cuts a packet for an answer: it forgets the sum then, as it should, and the test run compares all the same.
 */
class Watched extends Stage {
  fits = true;

  override frame(hook: PacketHook, frame: Uint8Array, outside: Partial<Outside> = {}): Answer {
    const answer = super.frame(hook, frame, outside);
    if (outside.checksumMode !== undefined) this.fits = false;
    const whole = frame.length + (answer.reason === 'backend-reused' ? 0 : WRAPPING[this.family]);
    if (answer.verdict === 'refuse' && answer.frame.length < whole) this.fits = false;
    return answer;
  }
}

function fitting(family: Family): readonly PacketCase[] {
  const { side } = openModel(settings);
  return casesOf(family, allCases).filter(({ play }) => {
    const stage = new Watched([side], family);
    stage.begin();
    play(stage);
    return stage.fits;
  });
}

function open(object: Uint8Array = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url))): Rig {
  const rig = openRig({
    object,
    name: 'bpf/tandem.bpf.o',
    settings: { ...settings, isComplete: true },
    programs: packetPrograms,
  });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

describe.each(families)('%s packets whose sum a device has computed', (family) => {
  let rig: Rig;
  let stage: Stage;
  beforeAll(() => {
    rig = open();
    stage = new Stage([rig.model, rig.kernel], family, complete);
  });
  beforeEach(() => stage.begin());
  afterAll(() => rig[Symbol.dispose]());

  const cases = fitting(family);
  for (const { title, play } of cases) test(title, () => play(stage));

  test('are most of the hand-written ones', () => {
    expect(cases.length).toBeGreaterThanOrEqual(LEAST);
    const titles = cases.map(({ title }) => title).join();
    for (const kind of ['a datagram without a checksum', 'port unreachable about a datagram', 'of a hairpin'])
      expect(titles).toContain(kind);
  });

  test('keep a right sum when they are forwarded and answered', () => {
    const it = segment(client, web, SYN, { payload: new Uint8Array(7).fill(9) });
    expect(stage.fromPod(it).frame).toEqual(
      stage.frameOf({ ...it, destination: webBackend.address, destinationPort: webBackend.port }),
    );
    const options = family === 'IPv4' ? { ipOptions: new Uint8Array(8).fill(1) } : {};
    const back = segment(webBackend, client, SYN | 16, options);
    expect(stage.toPod(back).frame).toEqual(stage.frameOf({ ...back, source: web.address, sourcePort: web.port }));
  });

  const self: Host = { address: webBackend.address, port: 40_000 };
  const bare = { payload: new Uint8Array() };
  const old = { ...bare, timeToLive: 1 };
  test.each([
    { what: 'a segment', kind: 'port', it: tcp(client, empty) },
    { what: 'an empty datagram', kind: 'port', it: datagram(client, empty, bare) },
    {
      what: 'an empty datagram without a checksum',
      kind: 'port',
      it: datagram(client, empty, { ...bare, checksum: 'none' }),
    },
    { what: 'a segment of a hairpin whose time is over', kind: 'time', it: tcp(self, web, old) },
    { what: 'an empty datagram of a hairpin whose time is over', kind: 'time', it: datagram(self, web, old) },
  ] as const)('keep a right sum when $what becomes a refusal', ({ kind, it }) => {
    const answer = stage.send('from-pod', it);
    expect(fate(answer)).toBe(kind === 'port' ? 'refuse no-endpoints' : 'refuse time-to-live');
    expect(answer.frame).toEqual(refusalOf(stage.wire(it), kind));
  });
});

/** Faults that leave the sum of a device behind, and the case that shows each. */
const planted = [
  { name: 'udp-unchecked-sum-stale', family: 'IPv4', shows: /without a checksum/ },
  { name: 'udp-unchecked-sum-stale', family: 'IPv6', shows: /without a checksum/ },
  { name: 'later-sum-stale', family: 'IPv6', shows: /fragments of a datagram/ },
] as const;

test.each(planted)('the planted fault $name is found with $family', ({ name, family, shows }) => {
  const mutant = mutants.find((it) => it.name === name);
  const built = mutant === undefined ? undefined : buildMutant(mutant);
  if (built?.ok !== true) throw new Error('the fault can be compiled');
  using rig = open(built.value);
  const failing = fitting(family).filter(({ play }) => {
    const stage = new Stage([rig.model, rig.kernel], family, complete);
    stage.begin();
    try {
      play(stage);
      return false;
    } catch {
      return true;
    }
  });
  expect(failing.map(({ title }) => title).join()).toMatch(shows);
});
