// SPDX-License-Identifier: Apache-2.0
/** `tandem lab up|down|list`: a cluster of network namespaces to try things in. */
import { fail, type Result } from '../core/result.ts';
import { listLabs, removeLab } from '../lab/guardian.ts';
import type { Lab } from '../lab/lab.ts';
import { checkMachine, thisMachine } from '../lab/requirements.ts';
import { twoNodes } from '../lab/twonodes.ts';
import type { CommandRun } from './commands.ts';
import { exitCode, printJson, printText, reportFailure } from './output.ts';

const defaultName = 'demo';

export const run: CommandRun = async ([action, name = defaultName], options) => {
  const json = options['output'] === 'json';
  const machine = checkMachine(thisMachine());
  if (!machine.ok) return reportFailure(machine.error);
  const { cgroupMount } = machine.value;
  switch (action) {
    case 'up':
      return up(name, json);
    case 'down':
      return down(name, cgroupMount, json);
    case 'list': {
      const labs = listLabs(cgroupMount);
      if (json) printJson({ labs });
      else printText(labs.length === 0 ? 'no labs' : labs.join('\n'));
      return exitCode.agreed;
    }
    default:
      throw new Error(`unknown action ${action}`);
  }
};

async function up(name: string, json: boolean): Promise<number> {
  const { startLab } = await import('../lab/lab.ts');
  const lab = await startLab(twoNodes(name), { lasting: true });
  if (!lab.ok) return reportFailure(lab.error);
  const kept: Result<null> = await lab.value.keep();
  if (!kept.ok) return reportFailure(kept.error);
  if (json) printJson(labDocument(lab.value));
  else printText(labText(lab.value));
  return exitCode.agreed;
}

async function down(name: string, cgroupMount: string, json: boolean): Promise<number> {
  if (!listLabs(cgroupMount).includes(name)) {
    const known = listLabs(cgroupMount).join(', ') || 'none';
    return reportFailure(fail('usage', `lab "${name}"`, 'is not up', `labs: ${known}`).error);
  }
  const removed = await removeLab(name, cgroupMount);
  if (!removed.ok) return reportFailure(removed.error);
  if (json) printJson({ removed: name });
  else printText(`lab ${name} is gone`);
  return exitCode.agreed;
}

function labDocument({ spec, cgroup, node, pod }: Lab): unknown {
  return {
    name: spec.name,
    cgroup,
    nodes: spec.nodes.map(({ name }) => {
      const { namespacePath, cgroup, bpffs, stateDirectory } = node(name);
      return { ...node(name).spec, namespacePath, cgroup, bpffs, stateDirectory };
    }),
    pods: spec.pods.map(({ name }) => ({ ...pod(name).spec, ...pod(name).place, device: pod(name).device })),
  };
}

function labText({ spec, node, pod }: Lab): string {
  const rows = spec.nodes.flatMap(({ name, address }) => [
    [name, address, node(name).namespace, ''],
    ...spec.pods
      .filter((candidate) => candidate.node === name)
      .map((own) => [
        `  ${own.name}`,
        own.address,
        pod(own.name).namespace,
        (own.servers ?? []).map(({ port }) => `:${port}`).join(' '),
      ]),
  ]);
  const lines = rows.map(([name = '', address = '', namespace = '', ports = '']) =>
    `${name.padEnd(12)}${address.padEnd(16)}${namespace.padEnd(26)}${ports}`.trimEnd(),
  );
  const first = spec.pods[0]?.name ?? '';
  return [
    ...lines,
    '',
    `enter:  nsenter --net=/run/netns/tandem-${spec.name}-${first}`,
    `end:    ./tandem lab down ${spec.name}`,
  ].join('\n');
}
