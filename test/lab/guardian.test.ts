// SPDX-License-Identifier: Apache-2.0
/** However the harness ends, nothing of its lab is left: processes, namespaces, mounts, cgroups, directories. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { afterEach, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { labDirectories, listLabs, removeLab } from '../../lab/guardian.ts';
import { checkMachine, thisMachine } from '../../lab/requirements.ts';

const name = 'labend';
const requirements = checkMachine(thisMachine());
if (!requirements.ok) throw new Error(failureText(requirements.error));
const { cgroupMount } = requirements.value;
const directories = labDirectories(name, cgroupMount);
const goneTimeoutMs = 3_000;

/** Everything on this machine that bears the lab's name, or runs in one of its namespaces. */
function traces(namespaceIds: readonly string[]): readonly string[] {
  const namespaces = existsSync('/run/netns')
    ? readdirSync('/run/netns').filter((entry) => entry.startsWith(`tandem-${name}-`))
    : [];
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`tandem-${name}`));
  const processes = readdirSync('/proc').flatMap((entry) =>
    /^\d+$/.test(entry) ? describeOurs(entry, namespaceIds) : [],
  );
  const paths = [directories.cgroup, directories.run].filter((path) => existsSync(path));
  return [...namespaces, ...mounts, ...processes, ...paths, ...listLabs(cgroupMount).filter((lab) => lab === name)];
}

/** What a process of the lab runs, or nothing; it may also end while we look, and then it is not ours any more. */
function describeOurs(pid: string, namespaceIds: readonly string[]): readonly string[] {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    const ours = command.includes(`tandem-${name}`) || namespaceIds.includes(readlinkSync(`/proc/${pid}/ns/net`));
    return ours ? [`process ${pid}: ${command}`] : [];
  } catch (error) {
    if (error instanceof Error && 'code' in error) return [];
    throw error;
  }
}

async function untilGone(namespaceIds: readonly string[]): Promise<readonly string[]> {
  const deadlineMs = performance.now() + goneTimeoutMs;
  let left = traces(namespaceIds);
  while (left.length > 0 && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    left = traces(namespaceIds);
  }
  return left;
}

/** A harness of its own: makes the lab, starts a capture and a client, prints what it runs in, then waits for its end. */
const harnessScript = `
  import { readlinkSync } from 'node:fs';
  import { startCapture } from '${new URL('../../lab/capture.ts', import.meta.url).href}';
  import { startLab } from '${new URL('../../lab/lab.ts', import.meta.url).href}';
  import { twoNodes } from '${new URL('../../lab/twonodes.ts', import.meta.url).href}';
  const lab = await startLab(twoNodes('${name}'));
  if (!lab.ok) throw new Error(JSON.stringify(lab.error));
  const { namespacePath } = lab.value.node('node1');
  const client = await lab.value.startClient('client1');
  const capture = await startCapture({ namespacePath, harness: lab.value.harness, file: '/dev/null' });
  if (!client.ok || !capture.ok) throw new Error('client or capture does not start');
  const ids = [client.value.pid, lab.value.server('web3').pid].map((pid) => readlinkSync('/proc/' + pid + '/ns/net'));
  console.log(JSON.stringify(ids));
  process.stdin.resume().on('end', () => process.exit(1));
`;

const harnesses: ChildProcess[] = [];

async function startHarness(): Promise<{ child: ChildProcess; namespaceIds: readonly string[] }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', harnessScript], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  harnesses.push(child);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { child, namespaceIds: JSON.parse(line) as readonly string[] };
}

afterEach(async () => {
  for (const child of harnesses.splice(0)) child.kill('SIGKILL');
  await removeLab(name, cgroupMount);
});

test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)('a harness that dies of %s leaves nothing', async (signal) => {
  const { child, namespaceIds } = await startHarness();
  // Eight namespaces and the fabric, the mounts and the processes in two of them: the search does see a lab.
  expect(traces(namespaceIds).length).toBeGreaterThan(12);
  child.kill(signal);
  await once(child, 'exit');
  expect(await untilGone(namespaceIds)).toEqual([]);
});

test('a harness that is killed while the lab is being made leaves nothing', async () => {
  for (const delayMs of [60, 120, 180, 240, 300]) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', harnessScript], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    harnesses.push(child);
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await untilGone([])).toEqual([]);
  }
});

test('a lab is removed by name while its harness lives, and its guardian then leaves a new one alone', async () => {
  const first = await startHarness();
  expect(await removeLab(name, cgroupMount)).toEqual({ ok: true, value: null });
  // Its harness lives, so its guardian does; nothing else is left.
  expect(traces(first.namespaceIds).filter((trace) => !trace.includes('guardian.sh guard'))).toEqual([]);
  const second = await startHarness();
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(listLabs(cgroupMount)).toContain(name);
  expect(traces(second.namespaceIds).length).toBeGreaterThan(12);
  second.child.kill('SIGKILL');
  await once(second.child, 'exit');
  expect(await untilGone(second.namespaceIds)).toEqual([]);
});

test('removing a lab that is not there is no error', async () => {
  expect(await removeLab(name, cgroupMount)).toEqual({ ok: true, value: null });
});

test.each(['', 'a-b', '../etc', 'A', 'x'.repeat(17)])('"%s" is not a name of a lab', async (wrong) => {
  const removed = await removeLab(wrong, cgroupMount);
  expect(removed.ok ? '' : removed.error.kind).toBe('usage');
});
