// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRecorded, recordedSettings, type RecordedCase } from '../../cli/recordedcase.ts';
import { openModel } from '../../cli/rig.ts';
import { assert, failureText } from '../../core/result.ts';
import { emptyOutcome } from '../../core/twin.ts';
import { readEventStreams } from '../../formats/events.ts';
import { readNodeFacts } from '../../formats/node.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { recordCase } from '../../cli/emitcase.ts';
import { replayFiles } from '../../cli/replay.ts';
import type { ReplayFiles } from '../../cli/replayfiles.ts';
import { parseFilter } from '../../replay/filter.ts';
import type { PacketLine } from '../../replay/lines.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const recording = join(root, 'fixtures/rolling-update');
const flow = '10.244.1.4:33450>10.96.219.219:80/TCP';
const capture = join(recording, 'node1.pcap');
const streams = ['endpointslices', 'nodes', 'services'].map((kind) => join(recording, `${kind}.events.ndjson`));

let folder = '';
let whole: Emitted;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-case-'));
  whole = await emitted({});
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function filesOf(): ReplayFiles {
  const facts = readNodeFacts(join(recording, 'node1.json'));
  assert(facts.ok, 'the fixture has facts');
  return {
    captures: [capture],
    streams: readEventStreams(streams),
    facts: facts.value,
    config: defaultConfiguration(),
    seed: 5,
    allowUnattributed: false,
  };
}

type Emitted = { readonly recorded: RecordedCase; readonly lines: readonly PacketLine[] };

/** The case of a filter, and what the replay told of the same packets. */
async function emitted(words: {
  flow?: string;
  to?: string;
}): Promise<{ recorded: RecordedCase; lines: readonly PacketLine[] }> {
  const filter = parseFilter({ service: undefined, flow: words.flow, from: undefined, to: words.to });
  assert(filter.ok, 'the filter is one');
  const recorder = recordCase(filter.value);
  const files = filesOf();
  const lines: PacketLine[] = [];
  const replayed = await replayFiles({ ...files, watch: recorder.watch, onLine: (line) => void lines.push(line) });
  assert(replayed.ok, 'the fixture can be replayed');
  const path = join(folder, 'case.json');
  const written = await recorder.write(path, files, replayed.value.tally);
  expect(written.ok ? '' : failureText(written.error)).toBe('');
  const recorded = parseRecorded(readFileSync(path, 'utf8'), path);
  assert(recorded.ok && recorded.value !== undefined, 'what was written can be read');
  return { recorded: recorded.value, lines };
}

/** What the model says to each packet of a case, in the words of a replay's lines. */
function answersOf(recorded: RecordedCase): readonly string[] {
  const settings = recordedSettings(recorded);
  assert(settings.ok, 'the settings fit');
  const { side } = openModel(settings.value, recorded.node);
  const outcome = emptyOutcome();
  return recorded.steps.flatMap((step) => {
    if (!('frame' in step)) {
      const told = 'events' in step ? side.tell(step.events) : undefined;
      expect(told?.ok).toBe(true);
      return [];
    }
    expect(side.twin.packet(step.hook, step.frame, step.outside, outcome).ok).toBe(true);
    return [Buffer.from(outcome.bytes.subarray(0, outcome.length)).toString('hex')];
  });
}

describe('a case of a recording', () => {
  test('gives the model the same packets and the same answers, byte for byte', () => {
    const { lines, recorded } = whole;
    const answers = answersOf(recorded);
    expect(answers).toHaveLength(lines.length);
    expect([...answers].sort()).toEqual(lines.map(({ model }) => model.bytes).sort());
  });

  test('of one flow holds its packets, its Service and nothing else, and the same answers', async () => {
    const { lines, recorded } = await emitted({ flow });
    const own = lines.filter((line) => line.flow === flow);
    expect(answersOf(recorded)).toHaveLength(own.length);
    expect([...answersOf(recorded)].sort()).toEqual(own.map(({ model }) => model.bytes).sort());
    const names = recorded.steps.flatMap((step) =>
      'events' in step
        ? step.events.flatMap((event) =>
            event.type === 'LISTED' && event.kind === 'Service'
              ? event.items.map(({ metadata }) => metadata?.name)
              : [],
          )
        : [],
    );
    expect(names).toEqual(['web']);
  });

  test('ends with the time that was asked for', async () => {
    const { recorded } = await emitted({ to: '2026-11-22T14:42:50Z' });
    const count = ({ steps }: RecordedCase): number => steps.filter((step) => 'frame' in step).length;
    expect(count(recorded)).toBeGreaterThan(0);
    expect(count(recorded)).toBeLessThan(count(whole.recorded));
  });
});

test('a case ends with the packet at which the twins differed first', async () => {
  const files = filesOf();
  const recorder = recordCase({ service: undefined, flow: undefined, from: undefined, to: undefined });
  const replayed = await replayFiles({ ...files, withKernel: false, watch: recorder.watch });
  assert(replayed.ok, 'the fixture can be replayed');
  const line = whole.lines.find(({ frame }) => frame === 2444);
  assert(line !== undefined, 'the fixture has this frame');
  const place = { file: line.file, frame: line.frame, hook: 'from-pod', timeNs: 0, flow: null, service: null } as const;
  const tally = {
    ...replayed.value.tally,
    firstDifference: { ...place, field: 'verdict', model: 'forward', other: 'drop' },
  };
  const path = join(folder, 'difference.json');
  expect((await recorder.write(path, files, tally)).ok).toBe(true);
  const recorded = parseRecorded(readFileSync(path, 'utf8'), path);
  assert(recorded.ok && recorded.value !== undefined, 'what was written can be read');
  expect(answersOf(recorded.value).at(-1)).toBe(line.model.bytes);
  expect(recorded.value.steps.length).toBeLessThan(whole.recorded.steps.length);
});

test('a case that cannot be written is a usage error', async () => {
  const files = filesOf();
  const recorder = recordCase({ service: undefined, flow: undefined, from: undefined, to: undefined });
  const replayed = await replayFiles({ ...files, watch: recorder.watch });
  assert(replayed.ok, 'the fixture can be replayed');
  const written = await recorder.write(join(folder, 'missing/case.json'), files, replayed.value.tally);
  expect(written.ok ? '' : failureText(written.error)).toMatch(/^--emit-case .*: cannot be written: ENOENT$/);
});

test('a case that is broken is refused with what is wrong', async () => {
  const { recorded } = await emitted({ flow });
  const path = join(folder, 'broken.json');
  const text = readFileSync(join(folder, 'case.json'), 'utf8');
  expect(recorded.seed).toBe(5);
  const broken = [
    [text.replace('"frame": "', '"frame": "x'), 'steps[1]'],
    [text.replace('"ADDED"', '"GROWN"').replace('"LISTED"', '"GROWN"'), 'unknown type "GROWN"'],
    [text.replace('"zone": ""', '"zone": 7'), 'node.zone'],
    [text.slice(0, -20), 'JSON'],
  ] as const;
  for (const [wrong, message] of broken) {
    writeFileSync(path, wrong);
    const parsed = parseRecorded(wrong, path);
    expect(parsed.ok ? '' : failureText(parsed.error)).toContain(message);
  }
});
