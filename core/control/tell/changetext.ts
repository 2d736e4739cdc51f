// SPDX-License-Identifier: Apache-2.0
/** Changes as lines for people: a block for each Service port, its frontends together where they change alike. */
import type { Problem } from '../../service.ts';
import type {
  Changes,
  EndpointChange,
  FrontendChange,
  FrontendName,
  HealthCheckChange,
  OwnerChange,
  SettingChange,
  SettingValue,
  TopologyChange,
  ViewChange,
} from './changes.ts';
import { EMPTY_WORDS, EXCLUSION_WORDS, MASQUERADE_WORDS, placeText, TOPOLOGY_WORDS, VIEW_WORDS } from './reasons.ts';

/** A list of thousands of endpoints or Services is told in full by JSON; people get its beginning. */
const ENDPOINTS_SHOWN = 24;
const BLOCKS_SHOWN = 60;
const FRONTENDS_SHOWN = 12;
const PROBLEMS_SHOWN = 24;

/** No line at all where nothing changed. */
export function changeLines(changes: Changes): string[] {
  const { node, frontends, owners, topology, healthChecks, problems } = changes;
  return [
    ...node.map((one) => `this node: ${settingText(one)}`),
    ...limited(groupsOf(frontends).map(blockLines), BLOCKS_SHOWN, 'Service ports').flat(),
    ...owners.map(ownerText),
    ...topology.filter((one) => !isOfGonePort(one, frontends)).map(topologyText),
    ...healthChecks.map(healthCheckText),
    ...limited(problems.appeared.map(problemText('problem')), PROBLEMS_SHOWN, 'problems'),
    ...limited(problems.gone.map(problemText('no longer a problem')), PROBLEMS_SHOWN, 'problems gone'),
  ];
}

function limited<T>(lines: readonly T[], most: number, what: string): readonly (T | string)[] {
  const more = lines.length - most;
  return more <= 1 ? lines : [...lines.slice(0, most), `... and ${more} more ${what}; -o json and ndjson tell all`];
}

/** Frontends of one Service port whose changes are the same but for the address. */
function groupsOf(frontends: readonly FrontendChange[]): readonly (readonly FrontendChange[])[] {
  const groups = new Map<string, FrontendChange[]>();
  for (const frontend of frontends) {
    const { change, service, portName, protocol, settings, views } = frontend;
    const how = change === 'removed' ? [] : [settings, views];
    const key = JSON.stringify([service, portName, protocol, change, how]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [frontend]);
    else group.push(frontend);
  }
  return [...groups.values()];
}

const CHANGE_WORDS: { readonly [change in FrontendChange['change']]: string } = {
  added: 'new: ',
  removed: 'gone: ',
  changed: '',
};

function blockLines(group: readonly FrontendChange[]): string[] {
  const [first] = group;
  if (first === undefined) return [];
  const names = group.map((one) => `${one.kind} ${placeText(one.address, one.port)}/${one.protocol}`);
  const heading = `${CHANGE_WORDS[first.change]}${portText(first)}  ${limited(names, FRONTENDS_SHOWN, 'addresses').join(', ')}`;
  // What a row that is gone had is no news.
  if (first.change === 'removed') return [heading];
  const settings = first.settings.filter(({ from, to }) => first.change === 'changed' || (from === null && isTold(to)));
  return [heading, ...settings.map((one) => `  ${settingText(one)}`), ...viewsLines(first)];
}

/** Of a new row only what is not as usual. */
function isTold(value: SettingValue): boolean {
  return value !== null && value !== 'hash';
}

function portText({ service, portName }: Pick<FrontendName, 'service' | 'portName'>): string {
  return portName === '' ? service : `${service}:${portName}`;
}

/** Without a heading where both views change alike, or only one of them can be reached. */
function viewsLines({ change, kind, views }: FrontendChange): string[] {
  const [internal, external] = views;
  const bodies = views.map((view) => viewLines(view, change === 'added'));
  const isAlike = external !== undefined && bodies[0]?.join('\n') === bodies[1]?.join('\n');
  const [body] = bodies;
  if (
    body !== undefined &&
    (isAlike || (kind === 'ClusterIP' && internal?.view === 'internal' && external === undefined))
  )
    return body.map((line) => `  ${line}`);
  return views.flatMap((view, index) => {
    const lines = bodies[index] ?? [];
    return lines.length === 0 ? [] : [`  ${VIEW_WORDS[view.view]}:`, ...lines.map((line) => `    ${line}`)];
  });
}

function viewLines({ backends, endpoints, settings, whenEmpty }: ViewChange, isNew: boolean): string[] {
  const told = settings.filter(({ name, to }) => !isNew || (name === 'topology' && to !== 'none'));
  return [
    ...limited(endpoints.map(endpointText), ENDPOINTS_SHOWN, 'endpoints'),
    ...told.map(settingText),
    ...countLines(backends, whenEmpty, isNew),
  ];
}

function countLines(
  { from, to }: ViewChange['backends'],
  whenEmpty: ViewChange['whenEmpty'],
  isNew: boolean,
): string[] {
  if (to === 0 && whenEmpty !== null && (from > 0 || isNew))
    return [`no backend: new connections are ${EMPTY_WORDS[whenEmpty]}`];
  return from === to || isNew ? [] : [`${from} -> ${to} backends`];
}

function settingText({ name, from, to }: SettingChange): string {
  return `${SETTING_WORDS[name] ?? name}: ${valueText(name, from)} -> ${valueText(name, to)}`;
}

const SETTING_WORDS: Readonly<Record<string, string>> = {
  affinitySeconds: 'session affinity',
  sourceRanges: 'source ranges',
  whenEmpty: 'when empty',
  masquerade: 'the backend sees',
};

/** What no value means, by setting. */
const NONE_WORDS: Readonly<Record<string, string>> = {
  affinitySeconds: 'none',
  sourceRanges: 'everyone',
  whenEmpty: 'not taken',
  topology: 'not taken',
  masquerade: 'nothing',
};

function valueText(name: string, value: SettingValue): string {
  if (value === null) return NONE_WORDS[name] ?? '(none)';
  if (typeof value === 'object')
    return value.length === 0 ? (name === 'sourceRanges' ? 'nobody' : '(empty)') : value.join(' ');
  if (name === 'affinitySeconds') return `${value} s`;
  const words: Readonly<Record<string, string>> =
    name === 'whenEmpty' ? EMPTY_WORDS : name === 'masquerade' ? MASQUERADE_WORDS : {};
  return words[value] ?? String(value);
}

/** `+` may get new connections now, `-` no longer, `~` still but otherwise, `.` neither before nor now. */
function endpointText(change: EndpointChange): string {
  const { from, to, node } = change;
  const place = `${placeText(change.address, change.port)}${node === null ? '' : ` on ${node}`}`;
  const [was, is] = [isUsed(from), isUsed(to)];
  const because = (standing: EndpointChange['from']): string =>
    standing.reason === null ? '' : EXCLUSION_WORDS[standing.reason];
  if (!was && is) {
    const state = to.state === 'terminating' ? ': terminating, but none is ready' : '';
    return `+ ${place}${state}${from.reason === null ? '' : ` (was left out: ${because(from)})`}`;
  }
  if (was && !is) return `- ${place}: ${to.state === 'absent' ? 'no slice has it any more' : because(to)}`;
  if (was) return `~ ${place}: ${stayText(change)}`;
  if (to.state === 'absent') return `. ${place}: no slice has it any more (was left out: ${because(from)})`;
  return `. ${place} left out: ${because(to)}${from.reason === null ? '' : ` (before: ${because(from)})`}`;
}

function isUsed({ state }: EndpointChange['from']): boolean {
  return state === 'active' || state === 'terminating';
}

function stayText({ from, to, otherPod, node, zone }: EndpointChange): string {
  const parts = otherPod ? ['another pod has this address now'] : [];
  if (from.state !== to.state) parts.push(to.state === 'active' ? 'ready again' : 'terminating, but none is ready');
  if (parts.length === 0) parts.push(`now on node ${node ?? '(not said)'}, zone ${zone ?? '(not said)'}`);
  return parts.join('; ');
}

function ownerText({ from, to }: OwnerChange): string {
  const holder = (one: FrontendName): string => `${one.kind} of ${portText(one)}`;
  return `${placeText(to.address, to.port)}/${to.protocol} passes from ${holder(from)} to ${holder(to)}`;
}

/** Who is gone follows no hints: that is no news of its own. */
function isOfGonePort(
  { to, service, portName, protocol }: TopologyChange,
  frontends: readonly FrontendChange[],
): boolean {
  const isSamePort = (one: FrontendChange): boolean =>
    one.service === service && one.portName === portName && one.protocol === protocol;
  return to === null && frontends.some((one) => one.change === 'removed' && isSamePort(one));
}

function topologyText({ from, to, family, ...port }: TopologyChange): string {
  const said = (one: TopologyChange['from']): string => {
    if (one === null) return TOPOLOGY_WORDS['no-hints'];
    return one.topology === 'none' ? TOPOLOGY_WORDS[one.reason] : `followed by ${one.topology}`;
  };
  return `${portText(port)} ${family} hints: ${said(from)} -> ${said(to)}`;
}

function healthCheckText({ service, from, to }: HealthCheckChange): string {
  const answer = (one: NonNullable<HealthCheckChange['from']>): string =>
    `${one.localEndpoints === 0 ? 503 : 200} (${one.localEndpoints} local endpoints)`;
  if (to === null) return `${service}: health check port ${from?.port ?? 0} is closed`;
  if (from === null || from.port !== to.port) return `${service}: health check port ${to.port} answers ${answer(to)}`;
  return `${service}: health check port ${to.port}: ${answer(from)} -> ${answer(to)}`;
}

function problemText(what: string): (problem: Problem) => string {
  return ({ object, field, message }) => `${what}: ${object}${field === '' ? '' : ` ${field}`}: ${message}`;
}
