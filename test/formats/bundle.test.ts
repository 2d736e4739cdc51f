// SPDX-License-Identifier: Apache-2.0
/** Bundles: folders and archives of what was recorded; whole, cut, damaged and hostile. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';

import { failureText, type Result } from '../../core/result.ts';
import { isBundleName, openBundle, type Bundle } from '../../formats/bundle.ts';
import type { InputSource } from '../../formats/input.ts';
import { readEventStreams } from '../../formats/events.ts';
import { tarOf, type Entry } from './tarbytes.ts';

const INCIDENT = join(import.meta.dirname, '../../fixtures/incidents/late-slice');

let room = '';
beforeAll(() => {
  room = mkdtempSync(join(tmpdir(), 'tandem-test-bundle-'));
  // What archives are unpacked to is counted here: others may unpack at the same time.
  vi.stubEnv('TMPDIR', room);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(room, { recursive: true });
});

const PACKETS = { name: 'a.tandem/packets.pcapng', content: 'packets' };
const EVENTS = { name: 'a.tandem/events.ndjson', content: '{}\n' };

let archives = 0;

async function openArchive(bytes: Uint8Array, bytesMax?: number): Promise<Result<Bundle>> {
  archives += 1;
  const path = join(room, `${archives}.tar.gz`);
  writeFileSync(path, bytes);
  return openBundle(path, bytesMax);
}

async function messageOf(entries: readonly Entry[], bytesMax?: number): Promise<string> {
  const opened = await openArchive(gzipSync(tarOf(entries)), bytesMax);
  return opened.ok ? opened.value.failures.map(failureText).join() : failureText(opened.error);
}

function pathOf(source: InputSource | undefined): string {
  if (typeof source !== 'string') throw new Error('not a file');
  return source;
}

function valueOf<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

/** What a bundle tells, by names and content. */
function told({ captures, events, ignored, node }: Bundle): unknown {
  const files = [...captures, ...events, ...(node === undefined ? [] : [node])].map(pathOf);
  return { ignored, files: files.map((path) => [basename(path), readFileSync(path).toString('base64')]) };
}

function folderOf(name: string): string {
  const folder = join(room, `${name}.tandem`);
  cpSync(INCIDENT, folder, { recursive: true });
  cpSync(join(folder, 'node1.pcap'), join(folder, 'packets.pcap'));
  cpSync(join(folder, 'node1.json'), join(folder, 'node.json'));
  rmSync(join(folder, 'node1.pcap'));
  return folder;
}

test.each([
  ['ustar', ['--format=ustar']],
  ['GNU tar', ['--format=gnu']],
  ['pax', ['--format=pax', '--pax-option=path:=./x.tandem/{}']],
])('a folder and a .tar.gz of it by %s are the same bundle', async (name, [format = '']) => {
  const folder = folderOf(name.replace(' ', ''));
  const archive = `${folder}.tar.gz`;
  const made = spawnSync('tar', ['-czf', archive, format, '-C', room, basename(folder)]);
  expect(made.status).toBe(0);
  const [plain, packed] = [valueOf(await openBundle(folder)), valueOf(await openBundle(archive))];
  expect(told(packed)).toEqual(told(plain));
  expect(plain.captures).toEqual([join(folder, 'packets.pcap')]);
  expect(plain.ignored).toEqual(['culprit.txt', 'node1.json', 'what.txt']);
  expect(packed.failures).toEqual([]);
  expect(readEventStreams(packed.events).events.length).toBe(4);
  const place = pathOf(packed.captures[0]);
  expect(place).toContain(`${basename(folder)}/packets.pcap`);
  packed.close();
  plain.close();
  expect(existsSync(place)).toBe(false);
  expect(existsSync(folder)).toBe(true);
});

test('bundles are known by their names', () => {
  for (const name of ['a.tandem', 'x/a.tandem/', 'a.tar.gz', 'a.tandem.tar.gz', 'a.tgz']) {
    expect(isBundleName(name), name).toBe(true);
  }
  for (const name of ['a.pcap', 'a.events.ndjson', 'tandem', 'a.gz', 'a.tandem.json']) {
    expect(isBundleName(name), name).toBe(false);
  }
});

test.each([
  ['no packets', [EVENTS], /holds no packets; a bundle needs packets.pcapng$/],
  ['no events', [PACKETS], /holds no events; a bundle needs events.ndjson$/],
  ['a file twice', [PACKETS, EVENTS, PACKETS], /holds packets.pcapng twice$/],
  ['a file in two folders', [PACKETS, EVENTS, { ...EVENTS, name: 'b/events.ndjson' }], /holds events.ndjson twice$/],
  ['a way out', [PACKETS, EVENTS, { name: '../evil' }], /holds "..\/evil", which is not a file of a bundle$/],
  ['a way out from within', [PACKETS, EVENTS, { name: 'a/../../evil' }], /holds "a\/..\/..\/evil"/],
  ['a path from the root', [PACKETS, EVENTS, { name: '/etc/passwd' }], /holds "\/etc\/passwd"/],
  ['a path of Windows', [PACKETS, EVENTS, { name: 'a\\b' }], /holds "a\\b"/],
  ['a folder below', [PACKETS, EVENTS, { name: 'a.tandem/b/c' }], /holds "a.tandem\/b\/c"/],
  [
    'a symbolic link',
    [PACKETS, EVENTS, { name: 'a.tandem/x', type: '2' }],
    /offset \d+ .*: a.tandem\/x: a symbolic link$/,
  ],
  ['a device', [PACKETS, EVENTS, { name: 'a.tandem/x', type: '3' }], /a.tandem\/x: a device$/],
  ['a kind that is not known', [PACKETS, EVENTS, { name: 'a.tandem/x', type: '?' }], /of a kind that is not known$/],
  ['records of no sense', [{ name: 'x', type: 'x', content: '99 path=y\n' }], /offset 512 .*: damaged records/],
  ['another link', [{ name: 'l', type: '1' }, PACKETS], /offset 0 .*: l: a link$/],
])('an archive with %s is told as such', async (_, entries, message) => {
  expect(await messageOf(entries)).toMatch(message);
  expect(existsSync(join(room, '../evil'))).toBe(false);
});

test('more bytes than the limit are refused before they are written', async () => {
  expect(await messageOf([PACKETS, EVENTS], 9)).toMatch(/unpacks to more than 9 bytes$/);
  expect(await messageOf([PACKETS, EVENTS], 10)).toBe('');
});

test('more files than the limit are refused', async () => {
  const many = Array.from({ length: 1001 }, (_, index) => ({ name: `${index}.pcap` }));
  expect(await messageOf(many)).toMatch(/holds more than 1000 files$/);
});

test('long names, files of macOS, folders and the types of old are read', async () => {
  const long = `${'x'.repeat(150)}.pcap`;
  const path = `path=b.tandem/${long}`;
  const whole = `${path.length + 5} ${path}\n`;
  const bundle = valueOf(
    await openArchive(
      gzipSync(
        tarOf([
          { name: 'pax_global_header', type: 'g', content: '11 comment\n' },
          { name: 'b.tandem/', type: '5' },
          { name: 'b.tandem/._events.ndjson', content: 'mac' },
          { name: 'PaxHeader', type: 'x', content: whole },
          { name: 'cut', content: 'one' },
          { name: '././@LongLink', type: 'L', content: `b.tandem/y${long}\0` },
          { name: 'cut', content: 'two', type: '\0' },
          { name: './b.tandem/events.ndjson' },
        ]),
      ),
    ),
  );
  expect(bundle.captures.map(pathOf).map((file) => [basename(file), readFileSync(file, 'utf8')])).toEqual([
    [long, 'one'],
    [`y${long}`, 'two'],
  ]);
  bundle.close();
});

test('what is not there, not an archive or not readable is told with its name', async () => {
  const missing = await openBundle(join(room, 'none.tar.gz'));
  expect(missing).toMatchObject({ ok: false, error: { kind: 'input', message: 'cannot be opened: ENOENT' } });
  const text = await openArchive(Buffer.from('hello'));
  expect(text.ok ? '' : failureText(text.error)).toMatch(/\.tar\.gz offset 0 .*: not gzip, or damaged: Z_DATA_ERROR$/);
  const zip = await openArchive(gzipSync('x'.repeat(2000)));
  expect(zip.ok ? '' : failureText(zip.error)).toMatch(/not a tar archive, or a damaged one: wrong checksum$/);
});

test('a folder with something else than files is refused: a pipe would be waited for', async () => {
  const folder = folderOf('odd');
  symlinkSync('/dev/zero', join(folder, 'more.pcap'));
  const opened = await openBundle(folder);
  expect(opened.ok ? '' : failureText(opened.error)).toMatch(/more.pcap: neither file nor part of a bundle/);
  rmSync(join(folder, 'more.pcap'));
  mkdirSync(join(folder, 'more.pcap'));
  expect((await openBundle(folder)).ok).toBe(false);
});

test('an archive that is cut gives the parts before the cut, and says where it ends', async () => {
  const plain = tarOf([PACKETS, EVENTS, { name: 'a.tandem/node.json', content: 'n'.repeat(3000) }]);
  for (let length = 0; length < plain.length - 1024; length += 100) {
    const opened = await openArchive(gzipSync(plain.subarray(0, length)));
    if (length <= 1536) {
      expect(opened.ok, `cut at ${length}`).toBe(false);
      continue;
    }
    const bundle = valueOf(opened);
    expect(bundle.failures.map(({ object }) => object)).toEqual([expect.stringContaining(`offset ${length} `)]);
    expect(readFileSync(pathOf(bundle.captures[0]), 'utf8')).toBe('packets');
    bundle.close();
  }
});

test('cuts and flips of an archive never crash and leave nothing behind', async () => {
  const whole = gzipSync(tarOf([PACKETS, EVENTS, { name: 'a.tandem/node.json', content: 'n'.repeat(600) }]));
  const plain = tarOf([PACKETS, EVENTS, { name: 'a.tandem/node.json', content: 'n'.repeat(600) }]);
  const left = (): number => readdirSync(tmpdir()).filter((name) => name.startsWith('tandem-bundle-')).length;
  const before = left();
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.nat(),
      fc.constantFrom(1, 0x20, 0x80),
      fc.boolean(),
      async (inside, at, flip, cut) => {
        const bytes = Buffer.from(inside ? plain : whole);
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        const damaged = cut ? bytes.subarray(0, at % bytes.length) : bytes;
        const opened = await openArchive(inside ? gzipSync(damaged) : damaged);
        if (!opened.ok) {
          expect(opened.error.kind).toBe('input');
          expect(opened.error.object).toContain('.tar.gz');
          return;
        }
        opened.value.close();
      },
    ),
    { numRuns: 300 },
  );
  expect(left()).toBe(before);
});

test.each([
  ['in what is compressed', 0.9],
  ['in its checksum', 1],
])('an archive that is damaged %s gives what is before the damage, and says where that ends', async (_what, part) => {
  // Nothing in it is to be packed: a place in the archive is a place in its content.
  const content = Buffer.from(Array.from({ length: 40_000 }, (_, index) => (index * index * 2_654_435_761) >>> 16));
  const bytes = gzipSync(tarOf([PACKETS, EVENTS, { name: 'a.tandem/node.json', content }]), { level: 0 });
  const at = Math.min(Math.floor(bytes.length * part), bytes.length - 8);
  // The type of a block that is none.
  bytes.fill(0xff, at, at + 8);
  const bundle = valueOf(await openArchive(bytes));
  expect(readFileSync(pathOf(bundle.captures[0]), 'utf8')).toBe('packets');
  expect(readFileSync(pathOf(bundle.events[0]), 'utf8')).toBe('{}\n');
  const kept = readFileSync(pathOf(bundle.node));
  expect(kept.length).toBeGreaterThan(part * content.length - 2000);
  const [failure, ...more] = bundle.failures;
  expect(more).toEqual([]);
  const offset = Number(/ offset (\d+) of the unpacked archive$/.exec(failure?.object ?? '')?.[1]);
  expect(offset).toBeGreaterThanOrEqual(kept.length);
  expect(failure?.message).toBe('not gzip, or damaged: Z_DATA_ERROR');
  bundle.close();
});
