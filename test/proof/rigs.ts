// SPDX-License-Identifier: Apache-2.0
/** Both twins for a test: the committed object, or one with a fault in it, and the hash that this commit is known by. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openRig, type Rig } from '../../cli/rig.ts';
import { failureText } from '../../core/result.ts';
import { settingsOf } from '../../proof/settings.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export function committedObject(): Uint8Array {
  return readFileSync(join(root, 'bpf/tandem.bpf.o'));
}

/** Throws where the machine can't: these tests run as root, and what they need is theirs to have. */
export function rigOf(seed: number, object: Uint8Array = committedObject()): Rig {
  const rig = openRig({ object, name: 'bpf/tandem.bpf.o', settings: settingsOf(seed) });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

/** The commit in hex; outside a repository, or in somebody else's, the contents of bpf/. */
export function commitHash(): string {
  const asked = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
  const hash = asked.status === 0 ? asked.stdout.trim() : '';
  return /^[0-9a-f]{40,64}$/.test(hash) ? hash : contentHash();
}

function contentHash(): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(join(root, 'bpf')).toSorted()) hash.update(readFileSync(join(root, 'bpf', name)));
  return hash.digest('hex');
}
