// SPDX-License-Identifier: Apache-2.0
/** Edits of kube-proxy's rules, each a fault that the comparison must tell: on the text that nft printed, before it is read. */
import type { FrontendKey } from './answer.ts';

/** What nft printed, decoded. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Members = { [key: string]: Json };

/** Of one family: its maps, sets and chains as they were printed, to be changed in place. */
type Printed = { readonly items: readonly Members[]; readonly family: string };

export type Fault = {
  readonly name: string;
  /** What kind of frontend shows it. */
  readonly needs: FaultNeeds;
  /** Changes the printed rules; false: this frontend has nothing of the kind. */
  readonly plant: (printed: Json, frontend: FrontendKey) => boolean;
};

export type FaultNeeds = 'cluster' | 'external' | 'refusing' | 'refusing-external' | 'ranges' | 'affinity';

function printedOf(printed: Json, { address }: FrontendKey): Printed {
  const document = membersOf(printed)['nftables'];
  const family = address.includes(':') ? 'ip6' : 'ip';
  const items = (Array.isArray(document) ? document : []).map(membersOf);
  return { items, family };
}

function membersOf(value: Json | undefined): Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

function listOf(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

function named({ items, family }: Printed, kind: 'map' | 'set', name: string): Members {
  const found = items
    .map((item) => membersOf(item[kind]))
    .find((one) => one['family'] === family && one['name'] === name);
  return found ?? {};
}

/** The expressions of a chain, rule by rule. */
function rulesOf({ items, family }: Printed, chain: string): readonly Json[][] {
  return items
    .map((item) => membersOf(item['rule']))
    .filter((rule) => rule['family'] === family && rule['chain'] === chain)
    .map((rule) => listOf(rule['expr']));
}

function keyOf(element: Json): string {
  const value = membersOf(membersOf(element)['elem'])['val'] ?? element;
  const parts = listOf(membersOf(value)['concat']);
  return parts.map((part) => (typeof part === 'string' || typeof part === 'number' ? part : '?')).join(' . ');
}

function frontendKey({ address, protocol, port }: FrontendKey): string {
  return `${address} . ${protocol} . ${port}`;
}

/** The pair of a map that is about the frontend, and where it stands. */
function pairOf(map: Members, key: string): { readonly pairs: Json[]; readonly index: number } {
  const pairs = listOf(map['elem']);
  return { pairs, index: pairs.findIndex((pair) => keyOf(listOf(pair)[0] ?? null) === key) };
}

function dropElement(map: string): Fault['plant'] {
  return (printed, frontend) => {
    const { pairs, index } = pairOf(named(printedOf(printed, frontend), 'map', map), frontendKey(frontend));
    if (index >= 0) pairs.splice(index, 1);
    return index >= 0;
  };
}

/** The chain to which a map leads for the frontend. */
function chainOf(rules: Printed, map: string, frontend: FrontendKey): string {
  const { pairs, index } = pairOf(named(rules, 'map', map), frontendKey(frontend));
  return textOf(membersOf(membersOf(listOf(pairs[index])[1])['goto'])['target']);
}

function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** All faults; each is planted on its own. */
export const faults: readonly Fault[] = [
  { name: 'an element of the verdict map is gone', needs: 'cluster', plant: dropElement('service-ips') },
  { name: 'a refusal is gone', needs: 'refusing-external', plant: dropElement('no-endpoint-services') },
  { name: 'the firewall of a load balancer is gone', needs: 'ranges', plant: dropElement('firewall-ips') },
  { name: 'a masquerade is gone', needs: 'external', plant: withoutMasquerade },
  { name: 'a ClusterIP is masqueraded for nobody', needs: 'cluster', plant: withoutClusterIP },
  { name: 'an endpoint is gone', needs: 'cluster', plant: withoutEndpoint },
  { name: 'one endpoint is chosen twice as often', needs: 'cluster', plant: withLoadedDice },
  { name: 'an endpoint has another port', needs: 'cluster', plant: withOtherPort },
  { name: 'a source range is gone', needs: 'ranges', plant: withoutRange },
  { name: 'a refusal is silent', needs: 'refusing', plant: withSilence },
  { name: 'an affinity lasts longer', needs: 'affinity', plant: withOtherTimeout },
];

function withoutMasquerade(printed: Json, frontend: FrontendKey): boolean {
  const rules = printedOf(printed, frontend);
  const found = rulesOf(rules, chainOf(rules, 'service-ips', frontend)).find(([first]) => 'mangle' in membersOf(first));
  found?.splice(0, 1);
  return found !== undefined;
}

function withoutClusterIP(printed: Json, frontend: FrontendKey): boolean {
  const elements = listOf(named(printedOf(printed, frontend), 'set', 'cluster-ips')['elem']);
  const index = elements.indexOf(frontend.address);
  if (index >= 0) elements.splice(index, 1);
  return index >= 0;
}

/** The random choice of the frontend's chain: its random number and what it chooses from. */
function choiceOf(
  printed: Json,
  frontend: FrontendKey,
): { readonly random: Members; readonly choices: Json[] } | undefined {
  const rules = printedOf(printed, frontend);
  const statements = rulesOf(rules, chainOf(rules, 'service-ips', frontend))
    .flat()
    .map(membersOf);
  const target = statements
    .map((one) => membersOf(membersOf(membersOf(one['dnat'])['addr'])['map']))
    .find((map) => 'key' in map);
  const random = membersOf(membersOf(target?.['key'])['numgen']);
  const choices = listOf(membersOf(target?.['data'])['set']);
  return choices.length > 1 ? { random, choices } : undefined;
}

function withoutEndpoint(printed: Json, frontend: FrontendKey): boolean {
  const choice = choiceOf(printed, frontend);
  if (choice === undefined) return false;
  choice.choices.pop();
  choice.random['mod'] = choice.choices.length;
  return true;
}

function withLoadedDice(printed: Json, frontend: FrontendKey): boolean {
  const choice = choiceOf(printed, frontend);
  const [, target] = listOf(choice?.choices[0]);
  if (choice === undefined || target === undefined) return false;
  choice.choices.push([choice.choices.length, target]);
  choice.random['mod'] = choice.choices.length;
  return true;
}

function withOtherPort(printed: Json, frontend: FrontendKey): boolean {
  const [first] = choiceOf(printed, frontend)?.choices ?? [];
  const target = listOf(membersOf(listOf(first)[1])['concat']);
  if (target.length === 2) target[1] = 1;
  return target.length === 2;
}

function withoutRange(printed: Json, frontend: FrontendKey): boolean {
  const rules = printedOf(printed, frontend);
  for (const [first] of rulesOf(rules, chainOf(rules, 'firewall-ips', frontend))) {
    const ranges = listOf(membersOf(membersOf(membersOf(first)['match'])['right'])['set']);
    if (ranges.length > 1) return ranges.shift() !== undefined;
  }
  return false;
}

function withSilence(printed: Json, frontend: FrontendKey): boolean {
  const map = named(printedOf(printed, frontend), 'map', 'no-endpoint-services');
  const { pairs, index } = pairOf(map, frontendKey(frontend));
  const pair = listOf(pairs[index]);
  if (!('goto' in membersOf(pair[1]))) return false;
  pair[1] = { drop: null };
  return true;
}

/** Of one of the sets that remember clients of the frontend's chain. */
function withOtherTimeout(printed: Json, frontend: FrontendKey): boolean {
  const rules = printedOf(printed, frontend);
  const [first] = rulesOf(rules, chainOf(rules, 'service-ips', frontend));
  const name = textOf(membersOf(membersOf(first?.[0])['match'])['right']).replace('@', '');
  const set = named(rules, 'set', name);
  if (typeof set['timeout'] !== 'number') return false;
  set['timeout'] += 1;
  return true;
}
