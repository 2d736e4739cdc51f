// SPDX-License-Identifier: Apache-2.0
/** A bundle of a few hundred bytes, damaged in each of them: it is judged as it was, or refused by name. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openInputs, type ReplayInputs } from '../../cli/replayinputs.ts';
import { failureText } from '../../core/result.ts';
import { tarOf } from '../formats/tarbytes.ts';
import { cutsOf, flipsOf, run, type Damage, type Outcome } from './damaged.ts';
import { captureOf, connection, eventLine, LOCAL, service, slice } from './recording.ts';

let room = '';
beforeAll(() => {
  room = mkdtempSync(join(tmpdir(), 'tandem-test-damaged-'));
  // What archives are unpacked to is counted here: others may unpack at the same time.
  vi.stubEnv('TMPDIR', room);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(room, { recursive: true });
});

const frames = connection(100, 4242, LOCAL).slice(0, 4);
const node = {
  node: 'node1',
  nodeIPs: ['10.88.0.11'],
  podCIDRs: ['10.244.1.0/24'],
  links: [2, 5, 6].map((ifindex) => {
    return { ifindex, ifname: `veth${ifindex}`, mtu: 1500, role: ifindex === 2 ? 'uplink' : 'pod' };
  }),
};
const lines = [eventLine(0, 'ADDED', service), eventLine(0, 'ADDED', slice([LOCAL]))];
const packed = gzipSync(
  tarOf([
    { name: 'a.tandem/packets.pcap', content: captureOf(frames).bytes },
    { name: 'a.tandem/events.ndjson', content: lines.map((line) => `${line}\n`).join('') },
    { name: 'a.tandem/node.json', content: JSON.stringify(node) },
  ]),
  { level: 9 },
);

/** Checksum and length (RFC 1952), looked at once everything is unpacked. */
const GZIP_TRAILER = 8;

type RunBundle = (bytes: Uint8Array) => Promise<Outcome>;

function runInputs(inputs: ReplayInputs): Outcome {
  try {
    return run(inputs);
  } finally {
    inputs.close();
  }
}

const path = (): string => join(room, 'a.tar.gz');

async function runBundle(bytes: Uint8Array): Promise<Outcome> {
  writeFileSync(path(), bytes);
  const inputs = await openInputs([path()]);
  if (inputs.ok) return runInputs(inputs.value);
  const messages = [failureText(inputs.error)];
  return { end: 'input-unreadable', messages, frames: 0, accounted: 0, stories: new Map() };
}

/** As good as whole, or told to be damaged by the name of the archive or of one of its files. */
async function sweepBundle(damages: Iterable<Damage>, by: RunBundle = runBundle): Promise<number> {
  const good = await runBundle(packed);
  let refused = 0;
  for (const { at, bytes, what } of damages) {
    const outcome = await by(bytes);
    const { accounted, end, frames: read, messages, stories } = outcome;
    expect(accounted, what).toBe(read);
    expect(end === 'input-unreadable', what).toBe(messages.length > 0);
    for (const message of messages) expect(message.startsWith(room), `${what}: ${message}`).toBe(true);
    if (messages.length === 0) {
      expect(outcome, what).toEqual(good);
      // Flags and time of the header say nothing of the content, and one run of zeros is as good as another.
      expect(gunzipSync(bytes), what).toEqual(gunzipSync(packed));
    } else refused += 1;
    if (at >= packed.length - GZIP_TRAILER) expect(stories, what).toEqual(good.stories);
  }
  expect(readdirSync(room)).toEqual(['a.tar.gz']);
  return refused;
}

test('the bundle itself is read and judged', async () => {
  const { end, messages, stories } = await runBundle(packed);
  expect({ end, messages }).toEqual({ end: 'agreed', messages: [] });
  expect([...stories.values()]).toEqual(['answered 8080 permitted']);
  expect(packed.length).toBeLessThan(1200);
});

test('with any byte changed it is judged as it was, or refused by name, and leaves nothing behind', async () => {
  expect(await sweepBundle(flipsOf(packed, ['one']))).toBeGreaterThan(packed.length * 0.95);
}, 60_000);

test('cut at any byte it is refused by name, and what was unpacked is judged', async () => {
  expect(await sweepBundle(cutsOf(packed))).toBe(packed.length);
}, 60_000);

test.each<[string, RunBundle]>([
  ['damage that is not told', async (bytes) => ({ ...(await runBundle(bytes)), messages: [], end: 'agreed' })],
  ['what was unpacked and is not judged', async (bytes) => ({ ...(await runBundle(bytes)), stories: new Map() })],
  [
    'a bundle that is left behind',
    async (bytes) => {
      writeFileSync(path(), bytes);
      const inputs = await openInputs([path()]);
      return inputs.ok ? run(inputs.value) : runBundle(bytes);
    },
  ],
])('%s would be found', async (_what, by) => {
  const last = [...cutsOf(packed)].slice(-GZIP_TRAILER);
  await expect(sweepBundle(last)).resolves.toBe(GZIP_TRAILER);
  await expect(sweepBundle(last, by)).rejects.toThrow();
  for (const left of readdirSync(room).filter((name) => name.startsWith('tandem-bundle-'))) {
    rmSync(join(room, left), { recursive: true });
  }
});
