// SPDX-License-Identifier: Apache-2.0
/** Carries out a plan: namespaces and veth pairs, then each namespace's sysctls, addresses, routes and offloads. */
import { existsSync, writeFileSync } from 'node:fs';
import { fail, ok, type Result } from '../core/result.ts';
import { writeOffload } from '../kernel/ethtool.ts';
import { insideNamespace, namespacePath } from '../kernel/netns.ts';
import type { LabPlan, NamespacePlan } from './plan.ts';
import { runInside, type Place } from './process.ts';

/** /proc/sys/net shows the namespace of the thread that opens a file, so this runs inside the namespace. */
function writeSysctls(plan: NamespacePlan): Result<null> {
  const hasIPv6 = existsSync('/proc/sys/net/ipv6');
  for (const [key, value] of plan.sysctls) {
    if (key.startsWith('ipv6/') && !hasIPv6) continue;
    try {
      writeFileSync(`/proc/sys/net/${key}`, value);
    } catch (error) {
      return fail(
        'environment',
        `${plan.namespace} sysctl net/${key}`,
        error instanceof Error ? error.message : String(error),
      );
    }
  }
  return ok(null);
}

function writeChecksumsInStack(plan: NamespacePlan): Result<null> {
  for (const device of plan.checksumDevices) {
    const written = writeOffload(device, 'transmit-checksum', false);
    if (!written.ok) return fail('environment', `${plan.namespace} ${written.error.object}`, written.error.message);
  }
  return ok(null);
}

async function fillNamespace(plan: NamespacePlan, harness: Place): Promise<Result<null>> {
  const path = namespacePath(plan.namespace);
  const before = insideNamespace(path, () => writeSysctls(plan));
  if (!before.ok) return before;
  if (!before.value.ok) return before.value;
  const filled = await runInside(harness, ['ip', '-n', plan.namespace, '-batch', '-'], `${plan.batch.join('\n')}\n`);
  if (!filled.ok) return filled;
  const after = insideNamespace(path, () => writeChecksumsInStack(plan));
  return after.ok ? after.value : after;
}

/** Makes the whole network; on failure what was made stays for the guardian to take away. */
export async function makeNetwork(plan: LabPlan, harness: Place): Promise<Result<null>> {
  const created = await runInside(harness, ['ip', '-batch', '-'], `${plan.create.join('\n')}\n`);
  if (!created.ok) return created;
  const results = await Promise.all(plan.namespaces.map((namespace) => fillNamespace(namespace, harness)));
  return results.find((result) => !result.ok) ?? ok(null);
}
