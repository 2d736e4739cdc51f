// SPDX-License-Identifier: Apache-2.0
/** What differs between two outcomes of the compiler, in the words of its document: rows, endpoints, owners, problems. */
import { addressText, compareAddresses, prefixText, protocolText } from '../../address.ts';
import type {
  Backend,
  BackendState,
  Exclusion,
  ExclusionReason,
  Frontend,
  Problem,
  ViewName,
  WhenEmpty,
} from '../../service.ts';
import { compareFrontends, compareProblems, type CompiledHealthCheck, type CompiledTopology } from './document.ts';
import { compareTexts, isOtherPod, keyText, servicePortText, serviceText } from '../names.ts';

/** An outcome of the compiler, or the part of it that something touched. */
export type Situation = {
  readonly settings: Settings;
  /** Those that somebody owns. */
  readonly frontends: readonly Frontend[];
  readonly healthChecks: readonly CompiledHealthCheck[];
  readonly topology: readonly CompiledTopology[];
  readonly problems: readonly Problem[];
};

export type SettingValue = string | number | readonly string[] | null;
/** Of the node, by name. */
export type Settings = Readonly<Record<string, SettingValue>>;
/** null: there was none, or there is none. */
export type SettingChange = { readonly name: string; readonly from: SettingValue; readonly to: SettingValue };

/** What an endpoint is to a view; `reason`: why it is left out. */
export type Standing = {
  readonly state: BackendState | 'left-out' | 'absent';
  readonly reason: ExclusionReason | null;
};

/** `port` null: its slice has no such port; node and zone null: not said. */
export type EndpointChange = {
  readonly address: string;
  readonly port: number | null;
  readonly node: string | null;
  readonly zone: string | null;
  readonly from: Standing;
  readonly to: Standing;
  /** The same address and port, but surely another pod. */
  readonly otherPod: boolean;
};

export type ViewChange = {
  readonly view: ViewName;
  /** How many may get a new connection. */
  readonly backends: { readonly from: number; readonly to: number };
  /** What a new connection meets where none is left; null: nobody can reach the view any more. */
  readonly whenEmpty: WhenEmpty | null;
  readonly endpoints: readonly EndpointChange[];
  /** whenEmpty, topology, masquerade; all from null: nobody could reach the view before. */
  readonly settings: readonly SettingChange[];
};

/** An address, port and protocol of a Service port. */
export type FrontendName = {
  readonly kind: string;
  readonly service: string;
  readonly portName: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
};

export type FrontendChange = FrontendName & {
  readonly change: 'added' | 'removed' | 'changed';
  /** affinitySeconds, sourceRanges, algorithm. */
  readonly settings: readonly SettingChange[];
  readonly views: readonly ViewChange[];
};

/** An address, port and protocol that went from one Service port, or one kind of frontend, to another. */
export type OwnerChange = { readonly from: FrontendName; readonly to: FrontendName };

/** `from` and `to` null: it was or is not told. */
export type TopologyChange = Omit<CompiledTopology, 'topology' | 'reason'> & {
  readonly from: Pick<CompiledTopology, 'topology' | 'reason'> | null;
  readonly to: Pick<CompiledTopology, 'topology' | 'reason'> | null;
};

export type HealthCheckChange = {
  readonly service: string;
  readonly from: Omit<CompiledHealthCheck, 'service'> | null;
  readonly to: Omit<CompiledHealthCheck, 'service'> | null;
};

export type Changes = {
  readonly node: readonly SettingChange[];
  readonly frontends: readonly FrontendChange[];
  readonly owners: readonly OwnerChange[];
  readonly topology: readonly TopologyChange[];
  readonly healthChecks: readonly HealthCheckChange[];
  readonly problems: { readonly appeared: readonly Problem[]; readonly gone: readonly Problem[] };
};

/** Whether nothing differs. */
export function isUnchanged({ node, frontends, owners, topology, healthChecks, problems }: Changes): boolean {
  const all = [node, frontends, owners, topology, healthChecks, problems.appeared, problems.gone];
  return all.every(({ length }) => length === 0);
}

/** Pure. Lists are in the order of the document. */
export function changesBetween(before: Situation, after: Situation): Changes {
  return {
    node: settingChanges(before.settings, after.settings),
    frontends: frontendChanges(before.frontends, after.frontends),
    owners: ownerChanges(before.frontends, after.frontends),
    topology: topologyChanges(before.topology, after.topology),
    healthChecks: healthCheckChanges(before.healthChecks, after.healthChecks),
    problems: problemChanges(before.problems, after.problems),
  };
}

const NO_SETTINGS: Settings = {};

function settingChanges(before: Settings, after: Settings): SettingChange[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => {
    const [from, to] = [before[name] ?? null, after[name] ?? null];
    return sameValue(from, to) ? [] : [{ name, from, to }];
  });
}

function sameValue(left: SettingValue, right: SettingValue): boolean {
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return left === right;
  return left.length === right.length && left.every((one, index) => one === right[index]);
}

function rowText(frontend: Frontend): string {
  return `${servicePortText(frontend.servicePort)} ${frontend.kind} ${keyText(frontend)}`;
}

function frontendChanges(before: readonly Frontend[], after: readonly Frontend[]): FrontendChange[] {
  const known = new Map(before.map((frontend) => [rowText(frontend), frontend]));
  const pairs: { readonly row: Frontend; readonly from: Frontend | undefined; readonly to: Frontend | undefined }[] =
    [];
  for (const to of after) {
    const text = rowText(to);
    const from = known.get(text);
    known.delete(text);
    if (from !== to) pairs.push({ row: to, from, to });
  }
  for (const from of known.values()) pairs.push({ row: from, from, to: undefined });
  pairs.sort((left, right) => compareFrontends(left.row, right.row));
  return pairs.flatMap(({ row, from, to }) => {
    const settings = settingChanges(frontendSettings(from), frontendSettings(to));
    const views = (['internal', 'external'] as const).flatMap((view) => viewChanges(view, from, to));
    const change = from === undefined ? 'added' : to === undefined ? 'removed' : 'changed';
    if (change === 'changed' && settings.length === 0 && views.length === 0) return [];
    return [{ change, ...nameOf(row), settings, views }];
  });
}

/** An address, port and protocol with their owner, as text. */
export function nameOf({ kind, servicePort, address, port, protocol }: Frontend): FrontendName {
  const service = serviceText(servicePort.namespace, servicePort.name);
  const { portName } = servicePort;
  return { kind, service, portName, address: addressText(address), port, protocol: protocolText(protocol) };
}

function frontendSettings(frontend: Frontend | undefined): Settings {
  if (frontend === undefined) return NO_SETTINGS;
  const { affinitySeconds, sourceRanges, algorithm } = frontend;
  return { affinitySeconds, sourceRanges: sourceRanges?.map(prefixText) ?? null, algorithm };
}

function viewChanges(name: ViewName, from: Frontend | undefined, to: Frontend | undefined): ViewChange[] {
  const [before, after] = [from?.[name] ?? null, to?.[name] ?? null];
  const settingsOf = (view: typeof before): Settings =>
    view === null ? NO_SETTINGS : { whenEmpty: view.whenEmpty, topology: view.topology, masquerade: view.masquerade };
  const settings = settingChanges(settingsOf(before), settingsOf(after));
  const endpoints = endpointChanges(name, from, to);
  if (settings.length === 0 && endpoints.length === 0) return [];
  const backends = { from: before?.backends.length ?? 0, to: after?.backends.length ?? 0 };
  return [{ view: name, backends, whenEmpty: after?.whenEmpty ?? null, endpoints, settings }];
}

type Place = { readonly standing: Standing; readonly backend: Backend | null; readonly exclusion: Exclusion | null };

const ABSENT: Standing = { state: 'absent', reason: null };
const NO_BACKENDS: readonly Backend[] = [];
const NO_EXCLUSIONS: readonly Exclusion[] = [];

/** Equal beginnings and ends are passed over: of a thousand endpoints an event changes one or two. */
function endpointChanges(name: ViewName, from: Frontend | undefined, to: Frontend | undefined): EndpointChange[] {
  const backends = middles(from?.[name]?.backends ?? NO_BACKENDS, to?.[name]?.backends ?? NO_BACKENDS, sameBackend);
  const excluded = middles(from?.excluded ?? NO_EXCLUSIONS, to?.excluded ?? NO_EXCLUSIONS, sameExclusion);
  const before = placesOf(name, backends.left, excluded.left);
  const after = placesOf(name, backends.right, excluded.right);
  const changes: EndpointChange[] = [];
  for (const [text, place] of after) {
    const change = endpointChange(before.get(text), place);
    if (change !== undefined) changes.push(change);
  }
  for (const [text, place] of before) {
    const change = after.has(text) ? undefined : endpointChange(place, undefined);
    if (change !== undefined) changes.push(change);
  }
  return changes.sort(compareEndpointChanges);
}

function middles<T>(
  left: readonly T[],
  right: readonly T[],
  same: (left: T, right: T) => boolean,
): { readonly left: readonly T[]; readonly right: readonly T[] } {
  if (left === right) return { left: [], right: [] };
  const isSame = (one: T | undefined, other: T | undefined): boolean =>
    one !== undefined && other !== undefined && same(one, other);
  let start = 0;
  while (isSame(left[start], right[start])) start += 1;
  let [leftEnd, rightEnd] = [left.length, right.length];
  while (leftEnd > start && rightEnd > start && isSame(left[leftEnd - 1], right[rightEnd - 1])) {
    leftEnd -= 1;
    rightEnd -= 1;
  }
  return { left: left.slice(start, leftEnd), right: right.slice(start, rightEnd) };
}

function sameBackend(left: Backend, right: Backend): boolean {
  if (left === right) return true;
  return (
    left.text === right.text &&
    left.state === right.state &&
    left.node === right.node &&
    left.zone === right.zone &&
    !isOtherPod(left.identity, right.identity)
  );
}

function sameExclusion(left: Exclusion, right: Exclusion): boolean {
  return (
    left.address === right.address &&
    left.port === right.port &&
    left.view === right.view &&
    left.reason === right.reason
  );
}

/** A duplicate stands beside the endpoint that is used in its place. */
function placesOf(
  name: ViewName,
  backends: readonly Backend[],
  excluded: readonly Exclusion[],
): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  for (const exclusion of excluded) {
    const { address, port, reason, view } = exclusion;
    if (view !== name) continue;
    const text = `${address} ${port ?? ''}${reason === 'duplicate' ? ' duplicate' : ''}`;
    places.set(text, { standing: { state: 'left-out', reason }, backend: null, exclusion });
  }
  for (const backend of backends) {
    const standing = { state: backend.state, reason: null };
    places.set(`${addressText(backend.address)} ${backend.port}`, { standing, backend, exclusion: null });
  }
  return places;
}

function endpointChange(before: Place | undefined, after: Place | undefined): EndpointChange | undefined {
  const [from, to] = [before?.standing ?? ABSENT, after?.standing ?? ABSENT];
  const [was, is] = [before?.backend ?? null, after?.backend ?? null];
  if (from.state === to.state && from.reason === to.reason && (was === null || is === null || sameBackend(was, is)))
    return undefined;
  const told = is ?? was;
  const { address, port } = after?.exclusion ?? before?.exclusion ?? { address: '', port: null };
  return {
    address: told === null ? address : addressText(told.address),
    port: told?.port ?? port,
    node: told === null || told.node === '' ? null : told.node,
    zone: told === null || told.zone === '' ? null : told.zone,
    from,
    to,
    otherPod: was !== null && is !== null && isOtherPod(was.identity, is.identity),
  };
}

function compareEndpointChanges(left: EndpointChange, right: EndpointChange): number {
  return compareTexts(left.address, right.address) || (left.port ?? 0) - (right.port ?? 0);
}

/** In the order of addresses. */
function ownerChanges(before: readonly Frontend[], after: readonly Frontend[]): OwnerChange[] {
  const known = new Map(before.map((frontend) => [keyText(frontend), frontend]));
  const moved = after.flatMap((to) => {
    const from = known.get(keyText(to));
    return from === undefined || rowText(from) === rowText(to) ? [] : [{ from, to }];
  });
  moved.sort(
    (left, right) =>
      compareAddresses(left.to.address, right.to.address) ||
      left.to.port - right.to.port ||
      left.to.protocol - right.to.protocol,
  );
  return moved.map(({ from, to }) => ({ from: nameOf(from), to: nameOf(to) }));
}

function topologyChanges(before: readonly CompiledTopology[], after: readonly CompiledTopology[]): TopologyChange[] {
  const text = ({ service, portName, protocol, family }: CompiledTopology): string =>
    `${service} ${portName} ${protocol} ${family}`;
  return pairsOf(before, after, text).flatMap(({ from, to, either }) => {
    if (from?.topology === to?.topology && from?.reason === to?.reason) return [];
    const { service, portName, protocol, family } = either;
    const said = (one: CompiledTopology | undefined): TopologyChange['from'] =>
      one === undefined ? null : { topology: one.topology, reason: one.reason };
    return [{ service, portName, protocol, family, from: said(from), to: said(to) }];
  });
}

function healthCheckChanges(
  before: readonly CompiledHealthCheck[],
  after: readonly CompiledHealthCheck[],
): HealthCheckChange[] {
  return pairsOf(before, after, ({ service }) => service).flatMap(({ from, to, either }) => {
    if (from?.port === to?.port && from?.localEndpoints === to?.localEndpoints) return [];
    const said = (one: CompiledHealthCheck | undefined): HealthCheckChange['from'] =>
      one === undefined ? null : { port: one.port, localEndpoints: one.localEndpoints };
    return [{ service: either.service, from: said(from), to: said(to) }];
  });
}

type Pair<T> = { readonly text: string; readonly from: T | undefined; readonly to: T | undefined; readonly either: T };

/** By what `textOf` says, in that order. */
function pairsOf<T>(before: readonly T[], after: readonly T[], textOf: (one: T) => string): Pair<T>[] {
  const known = new Map(before.map((one) => [textOf(one), one]));
  const pairs: Pair<T>[] = [];
  for (const to of after) {
    const text = textOf(to);
    pairs.push({ text, from: known.get(text), to, either: to });
    known.delete(text);
  }
  for (const [text, from] of known) pairs.push({ text, from, to: undefined, either: from });
  return pairs.sort((left, right) => compareTexts(left.text, right.text));
}

/** The same problem may be told several times; only what is left over differs. */
function problemChanges(before: readonly Problem[], after: readonly Problem[]): Changes['problems'] {
  const counts = new Map<string, number>();
  const text = ({ object, field, message }: Problem): string => JSON.stringify([object, field, message]);
  const leftOver = (some: readonly Problem[]): Problem[] =>
    some
      .filter((problem) => {
        const key = text(problem);
        const count = counts.get(key) ?? 0;
        counts.set(key, count - 1);
        return count <= 0;
      })
      .toSorted(compareProblems);
  const count = (some: readonly Problem[]): void => {
    counts.clear();
    for (const problem of some) counts.set(text(problem), (counts.get(text(problem)) ?? 0) + 1);
  };
  count(before);
  const appeared = leftOver(after);
  count(after);
  return { appeared, gone: leftOver(before) };
}
