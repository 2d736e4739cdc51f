// SPDX-License-Identifier: Apache-2.0
/** A compiled document beside the oracle: what each says of every frontend to every kind of client. */
import { endpointText, prefixContains, protocolText, type Address, type Prefix } from '../../../core/address.ts';
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../../core/control/tell/document.ts';
import type { Oracle } from '../../../core/oracle.ts';
import { sourceSeen, type Answer, type ClientClass, type Question, type Source } from '../../../core/oracle/answer.ts';
import type { Frontend } from '../../../core/oracle/listing.ts';
import { familyOf, familyOfRange } from '../../../core/oracle/read.ts';
import { address, prefix, question } from './world.ts';

export type Client = { readonly client: ClientClass; readonly address: string };

/** Of each class some who are in pod ranges and source ranges and some who are not, a backend, and a VIP. */
export const CLIENTS: readonly Client[] = [
  ...['10.0.1.5', '10.0.1.9', '172.31.0.5', '198.51.100.7', 'fd00:1::5', 'fd00:1::9', 'fd77::5'].map(
    (text) => ({ client: 'pod', address: text }) as const,
  ),
  ...['192.0.2.10', '198.51.100.8', 'fd00:88::a', '2001:db8::7'].map(
    (text) => ({ client: 'process', address: text }) as const,
  ),
  ...['10.0.2.1', '10.0.2.9', '172.31.9.9', 'fd00:2::1', 'fd77::9'].map(
    (text) => ({ client: 'foreign-pod', address: text }) as const,
  ),
  ...['203.0.113.9', '203.0.113.200', '192.0.2.77', '10.0.2.9', '198.51.100.7', '2001:db8:1::9', '2001:db8:9::9'].map(
    (text) => ({ client: 'outside', address: text }) as const,
  ),
];

/** `service` is the one that the document names, or else the oracle. */
export type Difference = {
  readonly service: string;
  /** `count`: of local endpoints, at a health check. */
  readonly kind: 'frontend' | 'health' | 'count';
  readonly text: string;
};

/** What differs; empty where both say the same of everything. */
export function differences(document: CompiledServices, oracle: Oracle, clusterCIDRs: readonly Prefix[]): Difference[] {
  const rows = Map.groupBy(document.frontends, keyOfRow);
  const known = Map.groupBy(oracle.frontends(), keyOfFrontend);
  const found: Difference[] = [];
  for (const key of new Set([...rows.keys(), ...known.keys()])) {
    const [row, second] = rows.get(key) ?? [];
    const [frontend] = known.get(key) ?? [];
    const note = (text: string): unknown =>
      found.push({ service: row?.service ?? frontend?.service ?? '', kind: 'frontend', text: `${key} ${text}` });
    if (second !== undefined) note('has several rows');
    const said = [row && headOfRow(row), frontend && headOfFrontend(frontend)];
    if (said[0] !== said[1]) note(`document ${said[0] ?? 'has none'}; oracle ${said[1] ?? 'has none'}`);
    if (row !== undefined) for (const text of differencesOfRow(key, row, oracle, clusterCIDRs)) note(text);
  }
  return [...found, ...healthDifferences(document, oracle)];
}

function differencesOfRow(
  key: string,
  row: CompiledFrontend,
  oracle: Oracle,
  clusterCIDRs: readonly Prefix[],
): string[] {
  return CLIENTS.flatMap((client) => {
    const asked = askedBy(key, client);
    if (familyOf(asked.address) !== familyOf(address(client.address))) return [];
    const said = textOfRow(row, asked, clusterCIDRs);
    const permitted = textsOfAnswer(oracle.answer(asked), asked);
    if (permitted === undefined || permitted.includes(said)) return [];
    const who = `${client.client} ${client.address}`;
    return [`(${headOfRow(row)}) from ${who}: document ${said}; oracle ${permitted.join(' or ')}`];
  });
}

function healthDifferences({ healthChecks }: CompiledServices, oracle: Oracle): Difference[] {
  const found: Difference[] = [];
  const note = (kind: Difference['kind'], service: string, text: string): unknown =>
    found.push({ service, kind, text: `health of ${service}: document ${text}` });
  const known = new Map(oracle.healthChecks().map((check) => [check.service, check]));
  for (const { localEndpoints, port, service } of healthChecks) {
    const check = known.get(service);
    known.delete(service);
    if (check?.port !== port) note('health', service, `asks at ${port}; oracle ${check?.port ?? 'nowhere'}`);
    else if (localEndpoints < check.fewest || localEndpoints > check.most)
      note('count', service, `${localEndpoints}; oracle ${check.fewest} to ${check.most}`);
  }
  for (const service of known.keys()) note('health', service, 'has none');
  return found;
}

function askedBy(key: string, client: Client): Question {
  return { ...question(key, client.client), clientAddress: address(client.address) };
}

const keyOfRow = (row: CompiledFrontend): string => `${endpointText(address(row.address), row.port)}/${row.protocol}`;
const keyOfFrontend = (it: Frontend): string => `${endpointText(it.address, it.port)}/${protocolText(it.protocol)}`;

const headOfRow = ({ affinitySeconds, kind, portName, service }: CompiledFrontend): string =>
  `${kind} ${service} "${portName}" affinity ${affinitySeconds ?? 0}`;
const headOfFrontend = ({ affinitySeconds, kind, portName, service }: Frontend): string =>
  `${kind} ${service} "${portName}" affinity ${affinitySeconds}`;

/** What the row means for this client. */
function textOfRow(row: CompiledFrontend, asked: Question, clusterCIDRs: readonly Prefix[]): string {
  const view = asked.client === 'pod' || asked.client === 'process' ? row.internal : row.external;
  if (view === null) return 'pass';
  const client = asked.clientAddress;
  if (client === undefined) throw new Error('the client has an address');
  if (row.sourceRanges?.every((range) => !isInside(prefix(range), client)) === true) return 'drop';
  if (view.backends.length === 0) return view.whenEmpty === 'drop' ? 'drop' : 'refuse';
  const source = sourceOfView(view, asked, clusterCIDRs);
  return backendsText(
    view.backends.map((backend) => {
      const target = address(backend.address);
      return [target, backend.port, isSame(target, client) ? 'node' : source];
    }),
  );
}

/** A process of the node has the node's address, masqueraded or not. */
function sourceOfView({ masquerade }: CompiledView, asked: Question, clusterCIDRs: readonly Prefix[]): Source {
  const { client, clientAddress } = asked;
  if (client === 'process' || masquerade === 'always') return 'node';
  if (masquerade === 'never' || clientAddress === undefined) return 'client';
  return clusterCIDRs.some((range) => isInside(range, clientAddress)) ? 'client' : 'node';
}

function isInside(range: Prefix, value: Address): boolean {
  return familyOfRange(range) === familyOf(value) && prefixContains(range, value);
}

function isSame(left: Address, right: Address): boolean {
  return endpointText(left, 0) === endpointText(right, 0);
}

function backendsText(backends: readonly (readonly [Address, number, Source])[]): string {
  return backends.map(([target, number, source]) => `${endpointText(target, number)} sees ${source}`).join(', ');
}

/** Everything that the answer permits; undefined where the rules leave too much open to be judged. */
function textsOfAnswer(answer: Answer, asked: Question): readonly string[] | undefined {
  switch (answer.kind) {
    case 'permitted':
      return [backendsText(answer.backends.map((it) => [it.address, it.port, sourceSeen(answer, it, asked)] as const))];
    case 'refuse':
    case 'drop':
      return [answer.kind];
    case 'contested':
      return answer.outcomes.flatMap((outcome) => textsOfAnswer(outcome, asked) ?? []);
    case 'not-a-service':
      return ['pass'];
    case 'unsupported':
      return undefined;
    case 'refuse-unknown-port':
    case 'drop-unallocated':
      return [answer.kind];
  }
}
