// SPDX-License-Identifier: Apache-2.0
/** One Service as text, for somebody who is asked at three in the morning why it can't be reached. */
import type { Problem } from '../../service.ts';
import type { FrontendName } from './changes.ts';
import type { CompiledBackend } from './document.ts';
import { EMPTY_WORDS, placeText, TOPOLOGY_WORDS } from './reasons.ts';
import type { ShownExclusion, ShownFrontend, ShownService, ShownSlice, ShownTopology, ShownView } from './show.ts';

/** JSON tells all; what is longer is cut here. */
const ENDPOINTS_SHOWN = 40;
const FRONTENDS_SHOWN = 12;
const BLOCKS_SHOWN = 60;
const SLICES_SHOWN = 8;
const PROBLEMS_SHOWN = 40;
/** Of names in the first column. */
const NAME_WIDTH = 16;

/** A heading, the facts that hold for all of it, then each frontend, then what is wrong. */
export function serviceLines(shown: ShownService): string[] {
  const { notServed, frontends, problems } = shown;
  const created = shown.created === null ? '' : `, made ${shown.created}`;
  const blocks = blocksOf(shown, frontends);
  return [
    `${shown.service}  ${shown.type}${created}; seen from ${nodeText(shown)}`,
    ...(notServed === null ? [] : ['', `NOT SERVED: ${notServed}`]),
    '',
    ...factLines(shown),
    ...cut(blocks, BLOCKS_SHOWN, 'frontends').flatMap((block) => ['', ...[block].flat()]),
    ...(problems.length === 0 ? [] : ['', 'PROBLEMS', ...cut(problems.map(problemText), PROBLEMS_SHOWN, 'problems')]),
  ];
}

function nodeText({ node: { name, zone } }: ShownService): string {
  const where = zone === null ? '' : ` in zone ${zone}`;
  return name === '' ? `a node without a name${where} (--node-name or --config gives one)` : `${name}${where}`;
}

function problemText({ object, field, message }: Problem): string {
  return `  ${object}${field === '' ? '' : ` ${field}`}: ${message}`;
}

/** More than `most` end with a line that counts the rest. */
function cut<T>(all: readonly T[], most: number, what: string): readonly (T | string)[] {
  const more = all.length - most;
  return more <= 1 ? all : [...all.slice(0, most), `  ... and ${more} more ${what}; -o json tells all`];
}

function fact(name: string, text: string): string {
  return `  ${name.padEnd(NAME_WIDTH)}${text}`;
}

function factLines(shown: ShownService): string[] {
  const { affinitySeconds, algorithm, healthCheck, internalPolicy, externalPolicy, slices, topology } = shown;
  const affinity =
    affinitySeconds === null
      ? 'none: each new connection is a new choice'
      : `ClientIP: a client comes back to its backend until ${secondsText(affinitySeconds)} after its last connection`;
  const facts = [
    fact('endpoints', endpointsText(slices)),
    fact('policies', `internalTrafficPolicy ${internalPolicy}, externalTrafficPolicy ${externalPolicy}`),
    fact('affinity', affinity),
    fact('choice', algorithm),
    ...topology.map((one) => fact('hints', topologyText(one, shown))),
  ];
  if (healthCheck === null) return facts;
  const { answer, localEndpoints, port } = healthCheck;
  const meaning = answer === 200 ? 'load balancers may send here' : 'load balancers should send nothing here';
  const count = `${localEndpoints} ready endpoint${localEndpoints === 1 ? '' : 's'} on this node`;
  return [...facts, fact('health check', `port ${port} answers ${answer}: ${count}, ${meaning}`)];
}

function secondsText(seconds: number): string {
  const units: readonly (readonly [number, string])[] = [
    [3600, 'h'],
    [60, 'min'],
  ];
  const unit = units.find(([size]) => seconds % size === 0);
  return unit === undefined ? `${seconds} s` : `${seconds / unit[0]} ${unit[1]}`;
}

function endpointsText(slices: readonly ShownSlice[]): string {
  if (slices.length === 0) return 'none: no EndpointSlice has the label kubernetes.io/service-name of this Service';
  const texts = slices.map(({ name, family, ready, endpoints, ports, headless }) => {
    const port = ports.length === 0 ? 'no port' : ports.slice(0, FRONTENDS_SHOWN).join(' ');
    return `${name} (${ready} of ${endpoints} ready, ${family ?? 'no family we know'}, ${port}${headless ? ', labelled headless: does not count' : ''})`;
  });
  const ready = slices.reduce((sum, slice) => sum + slice.ready, 0);
  const all = slices.reduce((sum, slice) => sum + slice.endpoints, 0);
  const indent = `\n${' '.repeat(NAME_WIDTH + 2)}`;
  return `${ready} of ${all} ready, in ${slices.length} slice${slices.length === 1 ? '' : 's'}:${indent}${cut(texts, SLICES_SHOWN, 'slices').join(indent)}`;
}

function topologyText(one: ShownTopology, { node }: ShownService): string {
  const port = `${one.portName === '' ? '' : `${one.portName}/`}${one.protocol} ${one.family}`;
  const named = one.hints.length === 0 ? '' : ` (they name ${one.hints.join(', ')})`;
  switch (one.reason) {
    case 'followed':
      return `${port}: followed, only endpoints for ${one.topology === 'zone' ? `zone ${node.zone ?? ''}` : `node ${node.name}`}`;
    case 'endpoint-without-hints': {
      const list = one.withoutHints.slice(0, SLICES_SHOWN).join(', ');
      return `${port}: not followed, since ${one.withoutHints.length} of ${one.ready} ready endpoints have none (${list}): it is all or nothing`;
    }
    case 'zone-unknown':
      return `${port}: not followed, since the zone of this node is not known: no Node object says it, nor does the configuration`;
    case 'no-hint-names-us':
      return `${port}: not followed, since none is for this node or zone ${node.zone ?? '(unknown)'}${named}`;
    case 'switched-off':
    case 'local-policy':
    case 'no-ready-endpoints':
    case 'no-hints':
      return `${port}: ${TOPOLOGY_WORDS[one.reason]}`;
  }
}

/** Frontends of which all is the same but the address stand together. */
function blocksOf(shown: ShownService, frontends: readonly ShownFrontend[]): string[][] {
  const blocks = new Map<string, { readonly headings: string[]; readonly body: string[] }>();
  for (const frontend of frontends) {
    const { kind, address, port, protocol, portName } = frontend;
    const body = bodyLines(frontend, shown);
    const heading = `${kind} ${placeText(address, port)}/${protocol}${portName === '' ? '' : ` (${portName})`}`;
    const known = blocks.get(body.join('\n'));
    if (known === undefined) blocks.set(body.join('\n'), { headings: [heading], body });
    else known.headings.push(heading);
  }
  return [...blocks.values()].map(({ headings, body }) => [
    ...cut(headings, FRONTENDS_SHOWN, 'addresses'),
    ...body.map((line) => `  ${line}`),
  ]);
}

function bodyLines(frontend: ShownFrontend, shown: ShownService): string[] {
  const { owner, rivals } = frontend;
  if (owner !== null) return [`NOT SERVED here: this address and port belong to ${ownerText(owner)}`];
  const others = rivals.map((rival) => `also claimed by ${ownerText(rival)}, which gets it when this Service goes`);
  const { internal, external, sourceRanges } = frontend;
  const ranges = sourceRanges === null ? [] : [rangesText(sourceRanges)];
  return [
    ...cut(others, FRONTENDS_SHOWN, 'rivals'),
    ...ranges,
    ...insideLines(internal, shown),
    ...outsideLines(frontend, shown, internal !== null && external !== null && sameLists(internal, external)),
  ];
}

function ownerText({ kind, service, portName }: FrontendName): string {
  return `${kind} of ${service}${portName === '' ? '' : `:${portName}`}`;
}

function rangesText(ranges: readonly string[]): string {
  return ranges.length === 0
    ? 'source ranges: none of those given can be read, so nobody is let in'
    : `source ranges: only ${ranges.join(', ')}, for clients on this node too; all others are dropped without an answer`;
}

function sameLists(left: ShownView, right: ShownView): boolean {
  const text = ({ backends, leftOut, whenEmpty }: ShownView): string => JSON.stringify([backends, leftOut, whenEmpty]);
  return text(left) === text(right);
}

/** Pods and processes of this node are served alike; only what the backend sees differs. */
function insideLines(view: ShownView | null, shown: ShownService): string[] {
  const pods = 'pods here'.padEnd(NAME_WIDTH);
  const host = 'this node'.padEnd(NAME_WIDTH);
  if (view === null) return [`${pods}not taken`, `${host}not taken`];
  const seen = view.masquerade === 'always' ? "this node's address" : "the pod's own address";
  const isEmpty = view.backends.length === 0;
  return [
    `${pods}${isEmpty ? emptyText(view, shown) : `${countText(view)}; the backend sees ${seen}`}`,
    `${host}the same${isEmpty ? '' : "; the backend sees this node's address"}`,
    ...listLines(view, shown),
  ];
}

function outsideLines(frontend: ShownFrontend, shown: ShownService, isAlike: boolean): string[] {
  const { external, kind } = frontend;
  const name = 'outside'.padEnd(NAME_WIDTH);
  if (external === null) {
    const why = kind === 'ClusterIP' ? ': a ClusterIP answers clients on this node only (see externalClusterIP)' : '';
    return [`${name}not taken${why}`];
  }
  const isEmpty = external.backends.length === 0;
  if (isAlike) return [`${name}the same${isEmpty ? '' : `; the backend sees ${outsideSource(external, shown)}`}`];
  const text = isEmpty
    ? emptyText(external, shown)
    : `${countText(external)}; the backend sees ${outsideSource(external, shown)}`;
  return [`${name}${text}`, ...listLines(external, shown)];
}

function outsideSource({ masquerade }: ShownView, { clusterCIDRs }: ShownService): string {
  switch (masquerade) {
    case 'never':
      return "the client's own address";
    case 'always':
      return "this node's address";
    case 'off-cluster':
      return `the own address of clients in ${clusterCIDRs.join(', ')}, and this node's for all others`;
  }
}

function countText({ backends }: ShownView): string {
  const fallback = backends.some(({ state }) => state === 'terminating') ? ', all terminating since none is ready' : '';
  return `${backends.length} backend${backends.length === 1 ? '' : 's'}${fallback}`;
}

function emptyText(view: ShownView, shown: ShownService): string {
  return `NO BACKEND: ${EMPTY_WORDS[view.whenEmpty]}, ${whyEmpty(view, shown)}`;
}

function listLines({ backends, leftOut }: ShownView, shown: ShownService): string[] {
  const left = leftOut.length === 0 ? [] : [`left out (${leftOut.length}):`, ...endpointTable(leftOut, shown)];
  return indented([...endpointTable(backends, shown), ...left]);
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

function whyEmpty({ leftOut, topologyReason, whenEmpty }: ShownView, { slices, node }: ShownService): string {
  if (whenEmpty === 'drop')
    return `since the policy is Local and no usable endpoint is on ${node.name === '' ? 'this node, whose name is not set' : node.name}`;
  if (slices.length === 0) return 'since no EndpointSlice belongs to this Service';
  const isLocal = topologyReason === 'local-policy' ? ', here or elsewhere' : '';
  return leftOut.length === 0 ? 'since its slices have no endpoint' : `since no endpoint is usable${isLocal}`;
}

function endpointTable(rows: readonly (CompiledBackend | ShownExclusion)[], { node }: ShownService): readonly string[] {
  const shown = rows.slice(0, rows.length - ENDPOINTS_SHOWN === 1 ? rows.length : ENDPOINTS_SHOWN);
  const cells = shown.map((row) => [
    placeText(row.address, row.port),
    row.node === null ? '-' : row.node === node.name ? 'this node' : row.node,
    'why' in row ? row.why : [row.zone === null ? '' : `zone ${row.zone}`, stateText(row)].filter(Boolean).join(', '),
  ]);
  const [first, second] = [0, 1].map((column) =>
    cells.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  const lines = cells.map(([place = '', where = '', rest = '']) =>
    `${place.padEnd(first ?? 0)}  ${where.padEnd(second ?? 0)}  ${rest}`.trimEnd(),
  );
  const more = rows.length - shown.length;
  return more === 0 ? lines : [...lines, `... and ${more} more; -o json tells all`];
}

function stateText({ state }: CompiledBackend): string {
  return state === 'terminating' ? 'terminating' : '';
}
