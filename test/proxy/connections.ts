// SPDX-License-Identifier: Apache-2.0
/** Real connections through kube-proxy's rules: what was read from them must be what clients meet. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { frontendText, type Answer, type ClientClass, type FrontendKey } from '../../proof/kubeproxy/answer.ts';
import { questionsOf, type Comparison } from '../../proof/kubeproxy/compare.ts';
import { derivedAnswer, isOwnAddress, sourceOf, type Question } from '../../proof/kubeproxy/derive.ts';
import { claimsOf } from '../../proof/kubeproxy/objects.ts';
import { foreignPods, node, otherNodes, ownPods, world } from '../../proof/kubeproxy/places.ts';
import type { Call, Called, CallResult } from '../cluster/asker.ts';
import { ended } from '../cluster/apiserver.ts';
import type { Listener } from '../cluster/backends.ts';
import { batch, type ClusterNetwork, type Place } from '../cluster/network.ts';

export type Confirmed = {
  readonly frontends: number;
  readonly connections: number;
  /** What was met and had not been read, a line each. */
  readonly surprises: readonly string[];
};

/** `group`: who asks which Service port, by whatever address; affinity remembers that (services E1). */
type Asked = { readonly question: Question; readonly answer: Answer; readonly group: string };

/** Of each question; enough to see another backend, or that it stays the same one. */
const TIMES = 4;

/** Frontends of these namespaces are asked by every kind of client; contested ones and SCTP, which not every kernel has, are not. */
export async function confirmByConnections(
  network: ClusterNetwork,
  comparison: Comparison,
  namespaces: ReadonlySet<string>,
): Promise<Confirmed> {
  const asked = questionsFor(comparison, namespaces);
  const running = await startBackends(network, asked);
  try {
    const results = await askTwice(network, asked);
    const lists = Map.groupBy(asked, ({ group }) => group);
    const surprises = asked.flatMap((each, id) => {
      const isOneList = new Set((lists.get(each.group) ?? []).map(({ answer }) => backendsText(answer))).size === 1;
      return surprisesOf(each, results.get(id) ?? [], isOneList);
    });
    const connections = [...results.values()].reduce((sum, list) => sum + list.length, 0);
    const frontends = new Set(asked.map(({ question }) => frontendText(question.frontend))).size;
    return { frontends, connections, surprises };
  } finally {
    for (const child of running) await ended(child, 'SIGKILL');
  }
}

function questionsFor(comparison: Comparison, namespaces: ReadonlySet<string>): readonly Asked[] {
  const addresses = [...node.addresses, ...node.gateways];
  const claims = claimsOf(comparison.services, comparison.slices, addresses);
  const wanted = claims.frontends.filter((frontend: FrontendKey) => {
    const [claim, ...others] = claims.of(frontend);
    const isOurs = namespaces.has(claim?.service.metadata?.namespace ?? '');
    return isOurs && others.length === 0 && frontend.protocol !== 'sctp';
  });
  return wanted.flatMap((frontend) =>
    questionsOf(comparison, frontend)
      .map((question) => ({
        question,
        answer: derivedAnswer(comparison.ruleset, question),
        group: `${question.source} ${frontend.protocol} ${claims.of(frontend)[0]?.name}`,
      }))
      .filter(({ question, answer }) => canBeAsked(question, answer)),
  );
}

/** Pods of the node live in one namespace: a backend can ask only where it is the only one of them that may answer. */
function canBeAsked({ client, source, frontend }: Question, answer: Answer): boolean {
  if (answer.kind === 'pass') return false;
  if (client !== 'backend') return source === sourceOf(client, frontend.address.includes(':'));
  if (answer.kind !== 'backends') return true;
  const here = [...answer.shares.keys()].filter((name) => placeOf(addressIn(name)) === 'pods');
  return here.every((name) => addressIn(name) === source);
}

function addressIn(name: string): string {
  return name.slice(0, name.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

function placeOf(address: string): Place {
  if (isOwnAddress(address)) return 'node';
  return ownPods.prefixes.some((prefix) => address.startsWith(prefix)) ? 'pods' : 'far';
}

/** A listener for every backend of every answer; the processes, all listening. */
async function startBackends(network: ClusterNetwork, asked: readonly Asked[]): Promise<readonly ChildProcess[]> {
  const listeners = new Map<string, Listener>();
  for (const { question, answer } of asked) {
    if (answer.kind !== 'backends') continue;
    for (const name of answer.shares.keys()) {
      const protocol = question.frontend.protocol === 'udp' ? 'udp' : 'tcp';
      const port = Number(name.slice(name.lastIndexOf(':') + 1));
      listeners.set(`${name} ${protocol}`, { address: addressIn(name), port, protocol });
    }
  }
  // An endpoint that no answer leads to asks as well.
  const asking = asked.flatMap(({ question: { client, source } }) => (client === 'backend' ? [source] : []));
  giveAddresses(network, [...[...listeners.values()].map(({ address }) => address), ...asking]);
  const running: ChildProcess[] = [];
  for (const place of ['node', 'pods', 'far'] as const) {
    const here = [...listeners.values()].filter(({ address }) => placeOf(address) === place);
    const child = network.start(place, process.execPath, [program('backends')], { stdio: ['pipe', 'pipe', 'inherit'] });
    running.push(child);
    child.stdin?.write(`${JSON.stringify(here)}\n`);
    if (child.stdout === null) throw new Error('a program without output');
    await once(child.stdout, 'data');
  }
  return running;
}

function program(name: string): string {
  return join(import.meta.dirname, '..', 'cluster', `${name}.ts`);
}

/** Clients and backends get theirs; the node has its own. Given again, it stays. */
function giveAddresses(network: ClusterNetwork, backends: readonly string[]): void {
  const lines = (addresses: Iterable<string>): readonly string[] =>
    [...new Set(addresses)].map((address) => `addr replace ${address}/${address.includes(':') ? 128 : 32} dev eth0`);
  const of = (place: Place): readonly string[] => backends.filter((address) => placeOf(address) === place);
  batch(network, 'client', lines(ownPods.clients));
  batch(network, 'world', lines([...world.clients, ...foreignPods.clients]));
  batch(network, 'pods', lines(of('pods')));
  batch(
    network,
    'far',
    lines([...of('far'), ...otherNodes.flatMap(({ address, addressSix }) => [address, addressSix])]),
  );
}

const places: Readonly<Record<ClientClass, Place>> = {
  pod: 'client',
  process: 'node',
  'foreign-pod': 'world',
  outside: 'world',
  backend: 'pods',
};

/** A busy machine may be silent where it should not be: whoever got no answer but was to get one asks once more. */
async function askTwice(
  network: ClusterNetwork,
  asked: readonly Asked[],
): Promise<ReadonlyMap<number, readonly CallResult[]>> {
  const results = new Map(await ask(network, asked.map(callOf)));
  const again = asked.map(callOf).filter(({ id }) => {
    const isSilent = (results.get(id) ?? []).some((result) => 'ended' in result && result.ended === 'silent');
    return isSilent && asked[id]?.answer.kind !== 'drop';
  });
  for (const [id, second] of await ask(network, again)) results.set(id, second);
  return results;
}

type PlacedCall = Call & { readonly place: Place };

/** By the number of the question. */
async function ask(
  network: ClusterNetwork,
  calls: readonly PlacedCall[],
): Promise<ReadonlyMap<number, readonly CallResult[]>> {
  const results = new Map<number, readonly CallResult[]>();
  await Promise.all(
    [...Map.groupBy(calls, ({ place }) => place)].map(async ([place, list]) => {
      const child = network.start(place, process.execPath, [program('asker')], { stdio: ['pipe', 'pipe', 'inherit'] });
      if (child.stdout === null || child.stdin === null) throw new Error('a program without input and output');
      child.stdin.end(JSON.stringify(list));
      for (const line of (await text(child.stdout)).split('\n').filter((each) => each !== '')) {
        const called = JSON.parse(line) as Called;
        results.set(called.id, called.results);
      }
    }),
  );
  return results;
}

function callOf({ question, answer, group }: Asked, id: number): PlacedCall {
  const { client, source, frontend } = question;
  const { address, port } = frontend;
  const protocol = frontend.protocol === 'udp' ? 'udp' : 'tcp';
  const times = answer.kind === 'backends' ? TIMES : 1;
  return {
    id,
    source: client === 'process' ? null : source,
    address,
    port,
    protocol,
    times,
    group,
    place: places[client],
  };
}

function backendsText(answer: Answer): string {
  return answer.kind === 'backends' ? [...answer.shares.keys()].toSorted().join() : answer.kind;
}

/** `isOneList`: all frontends of the Service port lead this client to the same backends; else one may lead it from another. */
function surprisesOf(
  { question, answer }: Asked,
  results: readonly CallResult[],
  isOneList: boolean,
): readonly string[] {
  const head = `${question.client} ${question.source} -> ${frontendText(question.frontend)}`;
  const backends = new Set<string>();
  const found = results.flatMap((result) => {
    const surprise = surpriseOf(question, answer, result, backends);
    return surprise === undefined ? [] : [`${head}: ${surprise}`];
  });
  const affinitySeconds = answer.kind === 'backends' ? answer.affinitySeconds : null;
  const isSticky = isOneList && affinitySeconds !== null && affinitySeconds > TIMES;
  if (isSticky && backends.size > 1) found.push(`${head}: with affinity it came to ${[...backends].join(', ')}`);
  return results.length === 0 ? [`${head}: not asked`] : found;
}

function seesItself(answer: Extract<Answer, { kind: 'backends' }>, source: string): boolean {
  return [...answer.shares].some(([name, { sees }]) => addressIn(name) === source && sees === 'client');
}

/** What was met against what the rules say; undefined: as read. */
function surpriseOf(
  { client, source }: Question,
  answer: Answer,
  result: CallResult,
  backends: Set<string>,
): string | undefined {
  if ('ended' in result) {
    const read = answer.kind === 'refuse' ? 'refused' : answer.kind === 'drop' ? 'silent' : answer.kind;
    // Who hears from its own address does not answer: what the masquerade of hairpins is for.
    const hearsItself = client === 'backend' && answer.kind === 'backends' && seesItself(answer, source);
    const isAsRead = result.ended === (hearsItself ? 'silent' : read);
    return isAsRead ? undefined : `${result.ended}, but the rules say ${read}`;
  }
  if (answer.kind !== 'backends') return `${result.words}, but the rules say ${answer.kind}`;
  const { backend, source: seen } = JSON.parse(result.words) as { readonly backend: string; readonly source: string };
  backends.add(backend);
  const share = answer.shares.get(backend);
  if (share === undefined) return `${backend} answered, but the rules lead to ${[...answer.shares.keys()].join(', ')}`;
  const sees = isOwnAddress(seen) ? 'node' : seen === source ? 'client' : seen;
  // Where a process asks and where the client is the node, the two are one.
  const isAsRead = sees === share.sees || (client === 'process' && sees === 'node');
  return isAsRead ? undefined : `${backend} sees ${seen}, but by the rules the address of the ${share.sees}`;
}
