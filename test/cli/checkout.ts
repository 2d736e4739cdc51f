// SPDX-License-Identifier: Apache-2.0
/** A copy of the checkout without kernel/ and koffi, for a user who may write nothing. */
import { spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;

export type Answer = { readonly code: number | null; readonly output: string; readonly notes: string };

export type Checkout = {
  readonly folder: string;
  /** Runs a command as a normal user, without PATH and HOME. */
  readonly run: (...words: readonly string[]) => Answer;
  readonly remove: () => void;
};

export function copyCheckout(): Checkout {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-replay-'));
  chmodSync(folder, 0o755);
  for (const name of [
    'package.json',
    'cli',
    'core',
    'formats',
    'replay',
    'agent',
    'proof',
    'sim',
    'fixtures',
    'test/replay',
  ]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  mkdirSync(join(folder, 'node_modules'));
  for (const name of ['commander', 'yaml', 'zod']) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
  }
  const node = nodeForNobody(folder);
  const user = isRoot ? { uid: nobody, gid: nobody } : {};
  const environment = { PATH: '', HOME: '/nonexistent' };
  const options = { cwd: folder, encoding: 'utf8', env: environment, maxBuffer: 64 * 1024 * 1024, ...user } as const;
  return {
    folder,
    run: (...words) => {
      const { status, stdout, stderr } = spawnSync(node, ['cli/main.ts', ...words], options);
      return { code: status, output: stdout, notes: stderr };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The running Node, or a copy of it where the checkout is in a place that others can't enter. */
function nodeForNobody(folder: string): string {
  const asNobody = { uid: nobody, gid: nobody };
  if (!isRoot || spawnSync(process.execPath, ['--version'], asNobody).status === 0) return process.execPath;
  const copy = join(folder, 'node');
  copyFileSync(process.execPath, copy);
  chmodSync(copy, 0o755);
  accessSync(copy, constants.X_OK);
  return copy;
}

/** The words that name a recording's files. */
export function recording(name: string, host: string): string[] {
  const events = ['endpointslices', 'nodes', 'services'].map((kind) => `fixtures/${name}/${kind}.events.ndjson`);
  return [`fixtures/${name}/${host}.pcap`, ...events, '--node', `fixtures/${name}/${host}.json`];
}
