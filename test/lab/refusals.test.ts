// SPDX-License-Identifier: Apache-2.0
/** What a lab refuses, with one line that names the object and the remedy. */
import { expect, test } from 'vitest';
import { failureText, type Failure } from '../../core/result.ts';
import { startCapture } from '../../lab/capture.ts';
import { snmpCounter } from '../../lab/counters.ts';
import { checkMachine, findCgroupMount, type Machine } from '../../lab/requirements.ts';
import { checkSpec, type LabSpec } from '../../lab/spec.ts';
import { twoNodes } from '../../lab/twonodes.ts';

const good: Machine = {
  userId: 0,
  mounts: 'tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n',
  filesystems: 'nodev\tproc\nnodev\tbpf\n\text4\n',
  hasProgram: () => true,
};

function refusal(result: { readonly ok: true } | { readonly ok: false; readonly error: Failure }): string {
  return result.ok ? 'none' : `${result.error.kind}: ${failureText(result.error)}`;
}

test('a machine with root, cgroup v2, bpffs and three programs will do', () => {
  expect(checkMachine(good)).toEqual({ ok: true, value: { cgroupMount: '/sys/fs/cgroup/unified' } });
});

test.each<{ missing: Partial<Machine>; expected: string }>([
  { missing: { userId: 1000 }, expected: 'environment: lab: needs root (network namespaces); run it with sudo' },
  {
    missing: { mounts: 'tmpfs /sys/fs/cgroup tmpfs rw 0 0\n' },
    expected:
      'environment: lab: cgroup v2 is not mounted; mount -t cgroup2 none /sys/fs/cgroup/unified (make the directory first)',
  },
  {
    missing: { filesystems: 'nodev\tproc\n' },
    expected: 'environment: lab: this kernel has no bpffs; use a kernel with CONFIG_BPF_SYSCALL',
  },
  {
    missing: { hasProgram: (name) => name !== 'ip' },
    expected: 'environment: lab: ip is not installed; apt-get install iproute2',
  },
  {
    missing: { hasProgram: (name) => name !== 'tcpdump' },
    expected: 'environment: lab: tcpdump is not installed; apt-get install tcpdump',
  },
])('without it: $expected', ({ missing, expected }) => {
  expect(refusal(checkMachine({ ...good, ...missing }))).toBe(expected);
});

test('a cgroup v2 mount point with a space in its name is found', () => {
  expect(findCgroupMount('none /mnt/my\\040cgroups cgroup2 rw 0 0\n')).toBe('/mnt/my cgroups');
});

const base = twoNodes('spec', { ipv6: true });
const [node1, node2] = base.nodes;
const [web1] = base.pods;
if (node1 === undefined || node2 === undefined || web1 === undefined)
  throw new Error('the usual lab has nodes and pods');

test.each<{ spec: LabSpec; expected: string }>([
  { spec: base, expected: 'none' },
  {
    spec: { ...base, name: 'a-b' },
    expected: 'usage: lab "a-b": not a name; use 1 to 16 lower-case letters and digits',
  },
  { spec: { ...base, nodes: [], pods: [] }, expected: 'input: lab spec: has no node' },
  { spec: { ...base, pods: [web1, web1] }, expected: 'input: "web1": is taken twice or reserved in this lab' },
  {
    spec: { ...base, pods: [{ ...web1, name: 'fabric' }] },
    expected: 'input: "fabric": is taken twice or reserved in this lab',
  },
  { spec: { ...base, pods: [{ ...web1, name: '../x' }] }, expected: 'input: "../x": not a name of a node or pod' },
  {
    spec: { ...base, pods: [{ ...web1, node: 'node3' }] },
    expected: 'input: pod web1: is on node node3, which the lab does not have',
  },
  {
    spec: { ...base, pods: [{ ...web1, address: '10.244.2.9' }] },
    expected: 'input: pod web1: 10.244.2.9 is not in 10.244.1.0/24',
  },
  { spec: { ...base, pods: [{ ...web1, address: 'web' }] }, expected: 'input: address "web": not an IP address' },
  {
    spec: { ...base, pods: [{ ...web1, address: '10.244.1.1' }] },
    expected: 'input: "web1": 10.244.1.1 is taken already, or a gateway\'s',
  },
  {
    spec: { ...base, pods: [{ ...web1, addressIPv6: '10.244.1.4' }] },
    expected: 'input: pod web1: 10.244.1.4 is not an IPv6 address',
  },
  {
    spec: { ...base, nodes: [node1, { ...node2, address: '10.89.0.12' }] },
    expected: 'input: node node2: is not in one range with node node1 (/24, /64)',
  },
])('a specification is judged before anything is made: $expected', ({ spec, expected }) => {
  expect(refusal(checkSpec(spec))).toBe(expected);
});

test('a capture in a namespace that is not there is a failure', async () => {
  const capture = await startCapture({
    namespacePath: '/run/netns/tandem-none',
    harness: { cgroup: '/nonexistent' },
    file: '/dev/null',
  });
  expect(refusal(capture)).toMatch(/^environment: capture \/dev\/null: .*nonexistent/);
});

test.each([
  { protocol: 'Tcp', name: 'InCsumErrors', expected: 3 },
  { protocol: 'Udp', name: 'InCsumErrors', expected: undefined },
  { protocol: 'Tcp', name: 'Tcp:', expected: undefined },
])('the counter $name of $protocol is $expected', ({ protocol, name, expected }) => {
  expect(snmpCounter('Tcp: InErrs InCsumErrors\nTcp: 9 3\nUdp: InErrs\nUdp: 1\n', protocol, name)).toBe(expected);
});
