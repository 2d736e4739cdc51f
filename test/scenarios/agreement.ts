// SPDX-License-Identifier: Apache-2.0
/** What a dump must say where a document says so: two ways from the same objects, written apart, tell the same. */
import { hostText } from '../../core/address.ts';
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../core/control/tell/document.ts';

const KINDS: Readonly<Record<CompiledFrontend['kind'], string>> = {
  ClusterIP: 'cluster-ip',
  NodePort: 'node-port',
  LoadBalancer: 'load-balancer',
  ExternalIP: 'external-ip',
  HostPort: 'host-port',
};

/** One line for each frontend, sorted: backends with their states, in the order of their text. */
export function documentLines({ frontends }: CompiledServices): string[] {
  return frontends.map(frontendLine).toSorted();
}

function frontendLine(frontend: CompiledFrontend): string {
  const { service, portName, kind, address, port, protocol, affinitySeconds, sourceRanges, internal, external } =
    frontend;
  const parts = [
    `${hostText(address)}:${port}/${protocol} ${KINDS[kind]} ${service}:${portName}/${protocol}`,
    external === null ? '' : ' outside',
    internal?.whenEmpty === 'drop' ? ' drop-internal' : '',
    external?.whenEmpty === 'drop' ? ' drop-external' : '',
    masqueradeText('internal', internal),
    masqueradeText('external', external),
    affinitySeconds === null ? '' : ` affinity=${affinitySeconds}`,
    sourceRanges === null ? '' : ` ranges=[${sourceRanges.join(' ')}]`,
    ` internal ${viewText(internal)} external ${viewText(external)}`,
  ];
  return parts.join('');
}

function masqueradeText(name: string, view: CompiledView | null): string {
  if (view === null || view.masquerade === 'never') return '';
  return ` masquerade-${name}${view.masquerade === 'always' ? '' : '-off-cluster'}`;
}

function viewText(view: CompiledView | null): string {
  const listed = (view?.backends ?? []).map(({ address, port, state }) => `${hostText(address)}:${port} ${state}`);
  return `[${listed.toSorted().join(', ')}]`;
}

/** The same of a readable dump; lines about anything else than frontends of Services and pods are left out. */
export function dumpLines(dump: string): string[] {
  const blocks = dump.split(/\n(?! )/).filter((block) => /^\S+:\d+\/\w+ /.test(block) && !/ whole-address/.test(block));
  return blocks.map(blockLine).toSorted();
}

function blockLine(block: string): string {
  const [head = '', ...views] = block.trimEnd().split('\n');
  const said = new Map(
    views.map((line) => {
      const [name = '', ...words] = line.trim().split(' ');
      return [name, words.join(' ').replace(/^maglev /, '')];
    }),
  );
  const view = (name: string): string => `${name} ${backendsText(said.get(name) ?? said.get('both') ?? '')}`;
  return `${head} ${view('internal')} ${view('external')}`;
}

/** Place and state alone. */
function backendsText(text: string): string {
  if (text === '') return '[]';
  const backends = text.split(', ').map((backend) => backend.split(' ').slice(0, 2).join(' '));
  return `[${backends.toSorted().join(', ')}]`;
}
