// SPDX-License-Identifier: Apache-2.0
/** Five projects: `unit` in parallel as any user, and `api`, `kernel`, `lab`, `proof` one file at a time as root. */
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const rooted = [
  { name: 'api', folders: ['test/api/**'] },
  { name: 'kernel', folders: ['test/kernel/**', 'test/twin/**'] },
  { name: 'lab', folders: ['test/lab/**'] },
  { name: 'proof', folders: ['test/proof/**'] },
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
          exclude: rooted.flatMap(({ folders }) => folders),
          testTimeout: 20_000,
        },
      },
      ...rooted.map(({ name, folders }) => ({
        test: {
          name,
          root: '.',
          include: folders.map((folder) => `${folder}/*.test.ts`),
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      })),
    ],
  },
});

export default config;
