// SPDX-License-Identifier: Apache-2.0
/** Recorded incidents: whom a replay blames, by what was recorded alone. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { nodeSettings } from '../../core/control/settings.ts';
import { failureText } from '../../core/result.ts';
import { readEventStreams } from '../../formats/events.ts';
import type { InputSource } from '../../formats/input.ts';
import { readNodeFacts } from '../../formats/node.ts';
import { replay } from '../../replay/run.ts';
import { summarize, type ReplaySummary } from '../../replay/summary.ts';
import { modelTwin, setting } from './recording.ts';

const ROOM = join(import.meta.dirname, '../../fixtures/incidents');
const BYTES_MAX = 200_000;

const names = readdirSync(ROOM);

/** A file under a name that says nothing. */
function anonymous(incident: string, file: string, name: string): InputSource {
  return { name, bytes: readFileSync(join(ROOM, incident, file)) };
}

function summaryOf(incident: string, events = anonymous(incident, 'cluster.events.ndjson', 'events')): ReplaySummary {
  const facts = readNodeFacts(anonymous(incident, 'node1.json', 'facts'));
  if (!facts.ok) throw new Error(failureText(facts.error));
  const node = nodeSettings([], facts.value.addresses);
  if (!node.ok) throw new Error(failureText(node.error));
  const tally = replay({
    captures: [anonymous(incident, 'node1.pcap', 'packets')],
    streams: readEventStreams([events]),
    facts: facts.value,
    oracle: { nodeName: facts.value.name, nodeAddresses: facts.value.addresses, serviceRanges: [] },
    model: modelTwin(node.value),
    kernel: undefined,
  });
  return summarize(tally, setting);
}

function culpritOf(incident: string): string {
  return readFileSync(join(ROOM, incident, 'culprit.txt'), 'utf8').trim();
}

function expectCulprit(incident: string): void {
  const { blame, connections, failures, unattributed } = summaryOf(incident);
  expect({ blame, failures, unattributed, notJudged: connections.notJudged }).toEqual({
    blame: culpritOf(incident),
    failures: [],
    unattributed: 0,
    notJudged: 0,
  });
}

test.each(names)('%s: replay blames the culprit', expectCulprit);

test('the incidents have three different culprits, and each is small', () => {
  expect(new Set(names.map(culpritOf))).toEqual(new Set(['neither', 'control-plane-late', 'datapath-wrong']));
  for (const name of names) {
    for (const file of readdirSync(join(ROOM, name))) {
      expect(statSync(join(ROOM, name, file)).size, `${name}/${file}`).toBeLessThan(BYTES_MAX);
    }
  }
});

test('what happened to the clients is in the summary: answered, reset, refused, or nothing', () => {
  const counts = Object.fromEntries(
    names.map((name) => {
      const { answered, none, refused, reset } = summaryOf(name).connections;
      return [name, { answered, reset, refused, none }];
    }),
  );
  const quiet = { answered: 0, reset: 0, refused: 0, none: 0 };
  expect(counts).toEqual({
    'dead-pod': { ...quiet, answered: 14, none: 6 },
    'hairpin-without-snat': { ...quiet, none: 8 },
    'late-slice': { ...quiet, answered: 24 },
    'lost-delete': { ...quiet, answered: 16, reset: 8 },
    'refused-without-endpoints': { ...quiet, answered: 16, refused: 8 },
    'reused-address': { ...quiet, answered: 16, reset: 8 },
    'stale-udp': { ...quiet, answered: 5 },
    'wrong-node-name': { ...quiet, answered: 16 },
  });
});

test('without the change that the node did not hear of, nobody is to blame', () => {
  const text = readFileSync(join(ROOM, 'late-slice/cluster.events.ndjson'), 'utf8');
  const lists = text.split('\n').filter((line) => line.includes('"LISTED"'));
  const events = { name: 'events', bytes: Buffer.from(lists.join('\n')) };
  expect(summaryOf('late-slice', events).blame).toBe('neither');
});
