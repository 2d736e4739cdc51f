// SPDX-License-Identifier: Apache-2.0
/** What another CPU does between two steps of one lookup or insertion, written into the programs: it is noticed. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildChanged, copySources, SOURCES } from '../../cli/mutant.ts';
import { openRig, type Rig } from '../../cli/rig.ts';
import {
  FLOW_BUCKET_FLOWS_AT,
  FLOW_BUCKET_SIZE,
  FLOW_BUSY,
  FLOW_KEY_SIZE,
  FLOW_LIFE,
  FLOW_PENDING,
  FLOW_SIZE,
  FLOW_SLOTS,
  FLOW_WORD_AT,
} from '../../core/layout.gen.ts';
import { failureText } from '../../core/result.ts';
import { ACK, segment, SYN } from '../../proof/traffic/frame.ts';
import type { Settings } from '../../proof/settings.ts';
import { client, fate, settings, Stage, web, webBackend } from '../core/datapath/stage.ts';
import { packetPrograms } from '../../kernel/twin.ts';
import { isFull } from '../full.ts';

const HEADER = 'flows.h';
/** Each costs a compilation: an ordinary run shows the first of each kind. */
const shown = (faults: readonly Change[]): readonly Change[] => (isFull ? faults : faults.slice(0, 1));
const BUCKETS = 1024;
/** The two buckets of a key are two, and so are those of a connection's halves. */
const wide: Settings = {
  ...settings,
  config: { ...settings.config, flowBucketMask: BUCKETS - 1 },
  sizes: { ...settings.sizes, flowBuckets: BUCKETS },
};
let folder = '';

beforeAll(() => {
  folder = copySources(SOURCES);
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

type Change = readonly [find: string, replace: string];

/** A rig whose programs have these changes, each of text that stands there once. */
function open(changes: readonly Change[], header: string): Rig {
  let text = readFileSync(join(SOURCES, header), 'utf8');
  for (const [find, replace] of changes) {
    expect(text.split(find).length - 1, `times in ${header}: ${find}`).toBe(1);
    text = text.replace(find, () => replace);
  }
  const built = buildChanged(folder, header, text);
  if (!built.ok) throw new Error(failureText(built.error));
  const rig = openRig({ object: built.value, name: header, settings: wide, programs: packetPrograms });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

/** Plays on the kernel alone: the model has one CPU. */
function played(
  changes: readonly Change[],
  play: (stage: Stage, memory: Uint8Array) => unknown,
  header: string = HEADER,
): unknown {
  using rig = open(changes, header);
  const stage = new Stage([rig.kernel]);
  stage.begin();
  return play(stage, rig.kernel.twin.flowMemory());
}

type Found = { entries: number; doubles: number; claimed: number };

function found(memory: Uint8Array): Found {
  const keys = new Set<string>();
  const count = { entries: 0, doubles: 0, claimed: 0 };
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    for (let slot = 0; slot < FLOW_SLOTS; slot++) {
      const at = bucket * FLOW_BUCKET_SIZE + FLOW_BUCKET_FLOWS_AT + slot * FLOW_SIZE;
      const life = (memory[at + FLOW_WORD_AT + 4] ?? 0) & FLOW_LIFE;
      if (life === FLOW_BUSY) count.claimed += 1;
      if (life < FLOW_PENDING) continue;
      const key = Buffer.from(memory.subarray(at, at + FLOW_KEY_SIZE)).toString('hex');
      count.entries += 1;
      if (keys.has(key)) count.doubles += 1;
      keys.add(key);
    }
  }
  return count;
}

/** The version in the words that the other CPU writes. */
const THEIRS = 77;

/**
 * Another CPU makes the same flow: it claims a slot before we look for one, and publishes before we do. With `spill`
 * somebody is, or was, in the second bucket.
 */
function twinAt(bucket: 'first' | 'second', slot: number, spill: boolean): readonly Change[] {
  const bucketAt = `__u32 at = record->${bucket};
	struct flow_bucket *theirs = bpf_map_lookup_elem(&flows, &at);`;
  return [
    [
      'if (own == FLOW_REFUSED && !flow_place(record, now))',
      `if (own == FLOW_REFUSED) {
	${bucketAt}
	if (theirs && !theirs->flows[${slot}].word)
		theirs->flows[${slot}].word = flow_make_word(${THEIRS}, FLOW_BUSY, 0);
	}
	if (own == FLOW_REFUSED && !flow_place(record, now))`,
    ],
    [
      '	bpf_spin_lock(&lock->lock);',
      `	{
	${bucketAt}
	if (theirs && theirs->flows[${slot}].word == flow_make_word(${THEIRS}, FLOW_BUSY, 0)) {
		theirs->flows[${slot}] = *flow;
		theirs->fingerprints[${slot}] = fingerprint;
		theirs->due[${slot}] = flow_hint(word);
		first->spill |= ${spill ? 1 : 0};
		theirs->flows[${slot}].word = flow_make_word(${THEIRS}, record->state, now);
	}
	}
	bpf_spin_lock(&lock->lock);`,
    ],
  ];
}

/** A connection whose both halves another CPU makes as well. */
function opened(stage: Stage, memory: Uint8Array): unknown {
  const sent = stage.fromPod(segment(client, web, SYN));
  expect(sent.to).toEqual(webBackend);
  const made = found(memory);
  const next = fate(stage.fromPod(segment(client, web, SYN)));
  return { made, next, answer: fate(stage.toPod(segment(webBackend, client, SYN | ACK))) };
}

const once = { made: { entries: 2, doubles: 0, claimed: 0 }, next: 'forward known-flow', answer: 'reply reply' };

const looksInSecond = 'if (twin < 0 && first->spill)';
const publishes = 'if (twin < 0) {';
type Twin = {
  readonly where: string;
  readonly at: Parameters<typeof twinAt>;
  readonly faults: readonly Change[];
};

const twins: readonly Twin[] = [
  {
    where: "in the first bucket's first place",
    at: ['first', 0, false],
    faults: [[publishes, 'if (twin <= 0) {']],
  },
  {
    where: "in the first bucket's first place, and the second is in use",
    at: ['first', 0, true],
    faults: [
      [looksInSecond, 'if (twin <= 0 && first->spill)'],
      [publishes, 'if (twin <= 0) {'],
      [looksInSecond, 'if (twin < 0 || first->spill)'],
    ],
  },
  {
    where: "in the first bucket's last place, and the second is in use",
    at: ['first', 15, true],
    faults: [[looksInSecond, 'if (twin < 0 || first->spill)']],
  },
  {
    where: "in the second bucket's first place",
    at: ['second', 0, true],
    faults: [
      [publishes, 'if (twin <= 0) {'],
      [looksInSecond, 'if (twin > 0 && first->spill)'],
    ],
  },
];

describe.each(twins)('another CPU makes the same flow meanwhile, $where', ({ at, faults }) => {
  test('it stands there once, and what we had claimed is given back', () => {
    expect(played(twinAt(...at), opened)).toEqual(once);
  });

  test.each(shown(faults))('it stands there twice with %j changed to %j (planted fault)', (find, replace) => {
    expect(played([...twinAt(...at), [find, replace]], opened)).not.toEqual(once);
  });
});

/** Another CPU meets the same entry: written before the statement that begins so. */
const interludes = {
  seen: 'flow->word = (again & ~0xffffffffull) | now;',
  fin: 'flow->word = again | (__u64)FLOW_FIN << FLOW_STATE_SHIFT;',
  taken: `flow->word = flow_make_word(flow_word_version(word) + 1, FLOW_BUSY, 0);`,
} as const;

const EXCHANGES = 'if (EXCHANGE(&flow->word, again, seen) != again &&';
const ITS_VERSION = 'flow_word_version(READ_ONCE(flow->word)) != flow_word_version(word))\n\t\t\treturn false;';
const READS_AGAIN = '__u64 again = READ_ONCE(flow->word);';
const CHECKS_AGAIN = 'if (flow_word_version(again) != flow_word_version(word))';

/** Only the flow that is looked at in the tick after it was made: not the one that a miss makes. */
function between(before: string, what: keyof typeof interludes): string {
  return `if ((ticks)word + 1 == now && length) ${interludes[what]}\n\t${before}`;
}

/** A packet of a flow one tick after it was made. */
function oneTickLater(stage: Stage, memory: Uint8Array): unknown {
  stage.fromPod(segment(client, web, SYN));
  stage.wait(1);
  const later = fate(stage.fromPod(segment(client, web, ACK)));
  return { later, claimed: found(memory).claimed };
}

const known = { later: 'forward known-flow', claimed: 0 };
/** Whoever took the entry still holds it. */
const lost = { later: 'forward new-flow', claimed: 1 };

type Meeting = {
  readonly title: string;
  readonly changes: readonly Change[];
  readonly expected: unknown;
  readonly faults: readonly Change[];
};

const meetings: readonly Meeting[] = [
  {
    title: 'refreshes the flow that we are about to refresh: it is still known',
    // Of the exchange that failed only the version counts.
    changes: [[EXCHANGES, between(EXCHANGES, 'fin')]],
    expected: known,
    faults: [
      [EXCHANGES, between(EXCHANGES.replace('&&', '||'), 'fin')],
      [ITS_VERSION, ITS_VERSION.replace('!=', '==')],
    ],
  },
  {
    title: 'refreshes it to the same tick: it is still known',
    changes: [[EXCHANGES, between(EXCHANGES, 'seen')]],
    expected: known,
    faults: [[ITS_VERSION, ITS_VERSION.replace('!=', '==')]],
  },
  {
    title: 'takes the entry for a newcomer before we refresh it: the flow is not known any more',
    changes: [[EXCHANGES, between(EXCHANGES, 'taken')]],
    expected: lost,
    faults: [
      [EXCHANGES, between(EXCHANGES.replace('!=', '=='), 'taken')],
      [ITS_VERSION, ITS_VERSION.replace('!=', '==')],
    ],
  },
  {
    title: 'takes the entry for a newcomer while we read it: the flow is not known any more',
    changes: [[READS_AGAIN, between(READS_AGAIN, 'taken')]],
    expected: lost,
    faults: [[CHECKS_AGAIN, 'if (0)']],
  },
];

describe.each(meetings)('another CPU $title', ({ changes, expected, faults }) => {
  test('as the programs are', () => {
    expect(played(changes, oneTickLater)).toEqual(expected);
  });

  test.each(shown(faults))('otherwise with %j changed (planted fault)', (find, replace) => {
    // A fault in the statement before which the other CPU comes brings the other CPU along.
    const others = changes.filter(([place]) => place !== find);
    expect(played([...others, [find, replace]], oneTickLater)).not.toEqual(expected);
  });
});

/** The frontend is there, but was missed: its element was replaced, or came, while the hash was looked through. */
describe('a frontend that is missed once on an address that is owned', () => {
  const missed: Change = [
    'struct service *service = lookup_row(key), *whole;',
    'struct service *service = NULL, *whole;',
  ];
  const second: Change = ['	service = lookup_row(key);\n', ''];
  const first = (stage: Stage): unknown => fate(stage.fromPod(segment(client, web, SYN)));

  test('still gets its packets', () => {
    expect(played([missed], first, 'lookup.h')).toBe('forward new-flow');
  });

  test('would refuse them if nobody looked again (planted fault)', () => {
    expect(played([missed, second], first, 'lookup.h')).toBe('refuse unknown-port');
  });
});
