// SPDX-License-Identifier: Apache-2.0
/** Clients that a Service keeps on one backend (services E1 to E5): what binds a connection to the one before it. */
import { addressText, endpointText, type Address } from '../core/address.ts';
import { objectsOf, type ClusterEvent, type ServiceObject } from '../core/objects.ts';
import type { OracleTimeline } from '../core/oracle.ts';
import {
  isBackend,
  permits,
  permittedBackends,
  type Answer,
  type Backend,
  type Question,
} from '../core/oracle/answer.ts';

/** Kubernetes' default of `timeoutSeconds`. */
const SECONDS_DEFAULT = 10_800;

/** Of one client of one Service port; a proxy with more records than these has lost its count. */
const RECORDS_MAX = 8;

/** What a Service says from a moment on; `seconds` 0: it keeps nobody. Records are certain from `certainNs` on. */
type Setting = { readonly fromNs: number; readonly seconds: number; readonly certainNs: number };

/** By `namespace/name`, oldest first: of Services that keep their clients at some time, of others nobody asks. */
export type AffinitySettings = ReadonlyMap<string, Setting[]>;

/** Empty ones for all Services that these events tell to keep their clients. */
export function settingsFor(events: readonly ClusterEvent[]): AffinitySettings {
  const settings = new Map<string, Setting[]>();
  for (const event of events) {
    for (const service of servicesOf(event)) if (secondsOf(service) > 0) settings.set(nameOf(service), []);
  }
  return settings;
}

/**
 * Notes what an event says about affinity. Within `lateNs` after a change nobody knows by which setting a proxy chose,
 * and so whether it remembers the client.
 */
export function noteAffinity(settings: AffinitySettings, timeNs: number, event: ClusterEvent, lateNs: number): void {
  const services = servicesOf(event);
  for (const service of services) {
    const seconds = event.type === 'DELETED' ? 0 : secondsOf(service);
    noteSetting(settings, nameOf(service), { fromNs: timeNs, seconds, certainNs: timeNs + lateNs });
  }
  if (event.type !== 'LISTED' || event.kind !== 'Service') return;
  const listed = new Set(services.map(nameOf));
  for (const [name, known] of settings) {
    if (known.length === 0 || listed.has(name)) continue;
    noteSetting(settings, name, { fromNs: timeNs, seconds: 0, certainNs: timeNs + lateNs });
  }
}

function servicesOf(event: ClusterEvent): readonly ServiceObject[] {
  return objectsOf(event).filter((object): object is ServiceObject => object.kind === 'Service');
}

function nameOf({ metadata }: ServiceObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}

function secondsOf({ spec }: ServiceObject): number {
  if (spec?.sessionAffinity !== 'ClientIP') return 0;
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  return typeof seconds === 'number' && seconds > 0 ? seconds : SECONDS_DEFAULT;
}

/** A Service that was never heard of before is served as it is now, or not at all. */
function noteSetting(settings: AffinitySettings, name: string, setting: Setting): void {
  const known = settings.get(name);
  if (known === undefined) return;
  const last = known.at(-1);
  if (last === undefined) known.push({ ...setting, certainNs: setting.fromNs });
  else if (last.seconds !== setting.seconds) known.push(setting);
}

/** Of a Service that keeps its clients at some time, and so may ask for what was remembered of them. */
function isKept(settings: AffinitySettings, { servicePort }: ClientOf): boolean {
  return settings.size > 0 && settings.has(serviceName(servicePort));
}

function serviceName(servicePort: string): string {
  return servicePort.split(':', 1)[0] ?? '';
}

/** Undefined where the Service of the port keeps nobody at that time, or where several Services claim the port. */
function settingAt(settings: AffinitySettings, servicePort: string, timeNs: number): Setting | undefined {
  if (settings.size === 0 || servicePort.includes(' or ')) return undefined;
  const setting = settings.get(serviceName(servicePort))?.findLast(({ fromNs }) => fromNs <= timeNs);
  return setting === undefined || setting.seconds === 0 ? undefined : setting;
}

/** Where a client was sent, and from when on everybody could know it. */
type Given = { readonly backend: Backend; readonly atNs: number; readonly knownNs: number };

/** What one proxy gave its clients, by client address and Service port, oldest first. */
export type Ledger = Map<string, Given[]>;

/** A client of a Service port. */
export type ClientOf = { readonly client: Address; readonly servicePort: string };

function keyOf({ client, servicePort }: ClientOf): string {
  return `${addressText(client)} ${servicePort}`;
}

/** Each new connection begins the client's time anew (E2). */
export function remember(settings: AffinitySettings, ledger: Ledger, of: ClientOf, given: Given): void {
  if (!isKept(settings, of)) return;
  const key = keyOf(of);
  const others = (ledger.get(key) ?? []).filter(({ backend }) => !isBackend(backend, given.backend));
  ledger.set(key, [...others.slice(1 - RECORDS_MAX), given]);
}

/**
 * Why a client may be sent to any backend: it was not here before; its Service has just begun to keep clients; the
 * connection before it was still under way; its time is over, or within a second of that; its backend may not be chosen
 * now; that went and came back, which it begins clean; an older record of it lives, and the first in the list wins.
 */
export type Freedom = 'first' | 'changed' | 'concurrent' | 'expired' | 'gone' | 'returned' | 'several';

/** What its client's past means to a new connection. */
export type Binding = {
  readonly is: 'bound' | 'free';
  /** Undefined: it is bound. */
  readonly why: Freedom | undefined;
  /** The last connection of this client. */
  readonly last: { readonly backend: Backend; readonly ageNs: number } | undefined;
  readonly seconds: number;
};

/** A connection that is asked about. */
export type Asking = ClientOf & {
  readonly timeNs: number;
  readonly question: Question;
  readonly oracle: OracleTimeline;
};

/** Undefined: the Service keeps nobody. */
export function bindingOf(settings: AffinitySettings, ledger: Ledger, asking: Asking): Binding | undefined {
  const setting = settingAt(settings, asking.servicePort, asking.timeNs);
  if (setting === undefined) return undefined;
  const given = ledger.get(keyOf(asking))?.at(-1);
  const { seconds } = setting;
  if (given === undefined) return { is: 'free', why: 'first', last: undefined, seconds };
  const last = { backend: given.backend, ageNs: asking.timeNs - given.atNs };
  const why = whyFree(setting, given, last, asking);
  return { is: why === undefined ? 'bound' : 'free', why, last, seconds };
}

function whyFree(
  setting: Setting,
  given: Given,
  last: NonNullable<Binding['last']>,
  { oracle, question, timeNs }: Asking,
): Freedom | undefined {
  if (given.atNs < setting.certainNs) return 'changed';
  if (timeNs < given.knownNs) return 'concurrent';
  const { answer, earlier } = oracle.judge(timeNs, last.ageNs, question);
  if (!mayBe(answer, given.backend)) return 'gone';
  if (earlier.some((past) => !mayBe(past.answer, given.backend))) return 'returned';
  const permitted = permittedBackends(oracle.answerAt(timeNs, { ...question, last }));
  return permitted.every((backend) => isBackend(backend, given.backend)) ? undefined : 'expired';
}

function mayBe(answer: Answer, backend: Backend): boolean {
  return permits(answer, { kind: 'backend', ...backend });
}

/** Whether the client has a record of this backend besides its last one, whose time is not over. */
export function hasOlderRecord(
  ledger: Ledger,
  asking: ClientOf & { timeNs: number },
  binding: Binding,
  backend: Backend,
): boolean {
  const records = ledger.get(keyOf(asking)) ?? [];
  return records.some(
    (given) => isBackend(given.backend, backend) && asking.timeNs - given.atNs <= binding.seconds * 1e9,
  );
}

/** What the oracle is to know of the client's past. */
export function lastOf(binding: Binding | undefined): Pick<Question, 'last'> {
  return binding?.is === 'bound' ? { last: binding.last } : {};
}

/** Behind `permitted`: why there; behind `never permitted`: why not. Empty where nothing is to be said. */
export function bindingText({ is, last, seconds, why }: Binding, ageText: (ns: number) => string): string {
  if (last === undefined) return 'the first connection of its client';
  const before = `its client was sent to ${endpointText(last.backend.address, last.backend.port)} ${ageText(last.ageNs)} before`;
  if (is === 'bound') return `${before} and is kept for ${seconds} s`;
  return `${before}, ${FREEDOMS[why ?? 'first'](seconds)}`;
}

const FREEDOMS: Readonly<Record<Freedom, (seconds: number) => string>> = {
  first: () => 'which does not count',
  changed: () => 'when its Service had just begun to keep clients',
  concurrent: () => 'which was still under way',
  expired: (seconds) => `and is kept for ${seconds} s only`,
  gone: () => 'which is no backend now',
  returned: () => 'which was none for a while and begins clean',
  several: () => 'and elsewhere before that, which counts as well while the proxy keeps both',
};
