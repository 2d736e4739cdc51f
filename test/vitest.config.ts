// SPDX-License-Identifier: Apache-2.0
/**
 * `unit` and `command` run as any user, `kernel`, `lab` and `proof` as root, two files at a time; `api` and `proxy`, which
 * have a cluster of their own for each file, one at a time.
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config';
import { isFull } from './full.ts';

/** Against tests that hang; long forms take ten times as long. */
const scale = isFull ? 10 : 1;

const rooted = [
  { name: 'api', folders: ['test/api/**'], workers: 1 },
  { name: 'proxy', folders: ['test/proxy/**'], workers: 1 },
  { name: 'kernel', folders: ['test/kernel/**', 'test/twin/**'], workers: 2 },
  { name: 'lab', folders: ['test/lab/**'], workers: 2 },
  { name: 'proof', folders: ['test/proof/**'], workers: 2 },
];

/** Commands as people run them, a process each, and inputs with any byte damaged: longer than all else without root. */
const commands = [
  ...['compile', 'kubectl', 'record', 'recordedcase', 'replay', 'service', 'trace'].map(
    (name) => `test/cli/${name}.test.ts`,
  ),
  'test/schema/*.test.ts',
  ...['damagedbundle', 'fuzz', 'fuzzstreams'].map((name) => `test/replay/${name}.test.ts`),
];

const config: ViteUserConfig = defineConfig({
  // The checkout may belong to somebody else: no cache is written into it.
  cacheDir: '/nonexistent/tandem-no-cache',
  test: {
    cache: false,
    projects: [
      {
        test: {
          name: 'unit',
          root: '.',
          include: ['test/**/*.test.ts'],
          exclude: [...rooted.flatMap(({ folders }) => folders), ...commands],
          testTimeout: 20_000 * scale,
          maxWorkers: 2,
        },
      },
      { test: { name: 'command', root: '.', include: commands, testTimeout: 60_000 * scale, maxWorkers: 2 } },
      ...rooted.map(({ name, folders, workers }) => ({
        test: {
          name,
          root: '.',
          include: folders.map((folder) => `${folder}/*.test.ts`),
          maxWorkers: workers,
          testTimeout: 60_000 * scale,
          hookTimeout: 60_000 * scale,
        },
      })),
    ],
  },
});

export default config;
