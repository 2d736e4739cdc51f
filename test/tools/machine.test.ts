// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { compareSnapshots, findProcesses, takeSnapshot, type MachineSnapshot } from '../../tools/machine.ts';

const empty: MachineSnapshot = { namespace: [], link: [], filter: [], pin: [], cgroup: [], program: [] };

describe('what a run leaves behind', () => {
  test('equal snapshots have no differences', () => {
    const snapshot = { ...empty, namespace: ['tandem-a'], link: ['lo'] };
    expect(compareSnapshots(snapshot, snapshot, { exclusive: true })).toEqual([]);
  });

  const cases = [
    ['a namespace of ours', { namespace: ['tandem-lab-node1'] }, false, true],
    ['somebody else’s namespace', { namespace: ['cni-1'] }, false, false],
    ['any namespace on a machine of our own', { namespace: ['cni-1'] }, true, true],
    ['a pin of ours', { pin: ['tandem/frontends'] }, false, true],
    ['a cgroup of ours', { cgroup: ['/sys/fs/cgroup/tandem-lab'] }, false, true],
    ['a unit of the service manager', { cgroup: ['/sys/fs/cgroup/system.slice/apt-daily.service'] }, true, false],
    ['a program of ours', { program: ['12: sched_cls  name tc_from_pod  tag 00'] }, false, true],
    ['a program of another agent', { program: ['12: sched_cls  name cil_from_container  tag 00'] }, false, false],
  ] as const;
  test.each(cases)('%s', (_title, extra, exclusive, ours) => {
    const differences = compareSnapshots(empty, { ...empty, ...extra }, { exclusive });
    expect(differences).toMatchObject([{ change: 'appeared', ours }]);
  });

  test('what vanished counts too', () => {
    const before = { ...empty, pin: ['tandem/flows'] };
    expect(compareSnapshots(before, empty, { exclusive: false })).toMatchObject([{ kind: 'pin', change: 'vanished' }]);
  });

  test('a snapshot sees the loopback device', () => {
    expect(takeSnapshot().link).toContain('lo');
  });

  test('a process that a run started and did not end is found by its environment', async () => {
    const id = randomUUID();
    const child = spawn('sleep', ['60'], { env: { ...process.env, TANDEM_TEST_PLANTED: id }, stdio: 'ignore' });
    await once(child, 'spawn');
    expect(findProcesses('TANDEM_TEST_PLANTED', id)).toEqual([`${child.pid} sleep 60`]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(findProcesses('TANDEM_TEST_PLANTED', id)).toEqual([]);
  });
});
