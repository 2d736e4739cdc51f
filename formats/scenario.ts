// SPDX-License-Identifier: Apache-2.0
/** Scenarios: text files of objects, steps and what is expected after each of them, in sections of `-- title --`. */
import type { ClusterEvent, ClusterObject } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { readConfiguration, type TandemConfiguration } from './config.ts';
import { isObjectKind, isRecord, readObject } from './object.ts';
import { parseDocuments, type TextDocument } from './yaml.ts';

/** What happens, and what should then be so. */
export type ScenarioStep = {
  /** In words; of the first step `objects`. */
  readonly title: string;
  readonly events: readonly ClusterEvent[];
  /** Expected; undefined: not said. */
  readonly table: string | undefined;
  readonly dump: string | undefined;
};

export type Scenario = {
  readonly name: string;
  /** One sentence: what it shows. */
  readonly what: string;
  /** The rules it is about, such as `A1`. */
  readonly rules: readonly string[];
  readonly config: TandemConfiguration;
  /** The first brings the objects, the others change them. */
  readonly steps: readonly ScenarioStep[];
};

/** A piece of the file; its body ends with a line break, or is empty. `line`: of its title. */
export type Section = { readonly title: string; readonly body: string; readonly line: number };

/** A file in pieces; what was cut can be put together again, byte by byte. */
export type ScenarioText = { readonly head: string; readonly sections: readonly Section[] };

const TITLE = /^-- (.+) --$/;
const STEP = 'step: ';
const CONFIG_HEAD = 'apiVersion: tandem/v1alpha1\nkind: TandemConfiguration\n';
const CONFIG_HEAD_LINES = 2;
/** As `kubectl apply` would have it. */
const DEFAULT_NAMESPACE = 'default';

/** Cuts a file at the lines that are titles. */
export function cutScenario(text: string): ScenarioText {
  const lines = text.split('\n');
  const titles = lines.flatMap((line, index) => {
    const title = TITLE.exec(line)?.[1];
    return title === undefined ? [] : [{ title, index }];
  });
  const between = (from: number, to: number | undefined): string =>
    lines.slice(from, to).join('\n') + (to === undefined || from === to ? '' : '\n');
  const sections = titles.map(({ title, index }, place) => ({
    title,
    line: index + 1,
    body: between(index + 1, titles[place + 1]?.index),
  }));
  return { head: between(0, titles[0]?.index), sections };
}

/** The file of these pieces. */
export function joinScenario({ head, sections }: ScenarioText): string {
  return head + sections.map(({ title, body }) => `-- ${title} --\n${body}`).join('');
}

/** `name` is what failures call the file; anything unexpected is one that names the line. */
export function readScenario(name: string, text: string): Result<Scenario> {
  const { head, sections } = cutScenario(text);
  const described = readHead(name, head);
  if (!described.ok) return described;
  const [first, ...rest] = sections;
  if (first?.title !== 'config') return fail('input', name, 'the first section is not "config"');
  const lines = '\n'.repeat(Math.max(0, first.line - CONFIG_HEAD_LINES));
  const source = { name, bytes: new TextEncoder().encode(lines + CONFIG_HEAD + first.body) };
  const config = readConfiguration(source);
  if (!config.ok) return config;
  const steps = readSteps(name, rest);
  return steps.ok ? ok({ name, ...described.value, config: config.value, steps: steps.value }) : steps;
}

function readHead(name: string, head: string): Result<Pick<Scenario, 'what' | 'rules'>> {
  const lines = head.trim().split('\n');
  const rules = /^rules: (.+)$/.exec(lines.at(-1) ?? '')?.[1]?.split(', ');
  const what = lines.slice(0, -1).join(' ').trim();
  if (rules === undefined || what === '') return fail('input', name, 'does not begin with a sentence and "rules: ..."');
  return ok({ what, rules });
}

function readSteps(name: string, sections: readonly Section[]): Result<ScenarioStep[]> {
  const steps: ScenarioStep[] = [];
  for (const { title, body, line } of sections) {
    const where = `${name} line ${line}`;
    const last = steps.at(-1);
    if (title === 'table' || title === 'dump') {
      if (last === undefined) return fail('input', where, `"${title}" before any objects`);
      if (last[title] !== undefined) return fail('input', where, `a second "${title}" of one step`);
      steps[steps.length - 1] = { ...last, [title]: body };
      continue;
    }
    const isStep = title.startsWith(STEP);
    if (!isStep && title !== 'objects') return fail('input', where, `no such section: ${title}`);
    if (isStep === (last === undefined)) return fail('input', where, '"objects" comes first, and once');
    const events = readEvents(name, line, body, isStep);
    if (!events.ok) return events;
    const named = isStep ? title.slice(STEP.length) : title;
    steps.push({ title: named, events: events.value, table: undefined, dump: undefined });
  }
  return steps.length === 0 ? fail('input', name, 'no section "objects"') : ok(steps);
}

function readEvents(name: string, line: number, body: string, isStep: boolean): Result<ClusterEvent[]> {
  // What is said of a line is said of the line of the file.
  const { documents, failures } = parseDocuments(name, '\n'.repeat(line) + body);
  const [failure] = failures;
  if (failure !== undefined) return { ok: false, error: failure };
  const events: ClusterEvent[] = [];
  for (const document of documents) {
    const event = readEvent(document, isStep);
    if (typeof event === 'string') return fail('input', `${name} line ${document.lineOf([])}`, event);
    events.push(event);
  }
  return ok(events);
}

/** A text says what is wrong. Objects that are there from the beginning need no `event`. */
function readEvent({ value }: TextDocument, isStep: boolean): ClusterEvent | string {
  if (!isRecord(value)) return 'not an object';
  const { event, ...object } = value;
  const type = isStep ? event : 'ADDED';
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      const read = readClusterObject(object);
      return typeof read === 'string' ? read : { type, object: read };
    }
    case 'LISTED':
      return readList(value);
    case 'DISCONNECTED': {
      const { kind, reason } = value;
      if (typeof kind !== 'string' || !isObjectKind(kind)) return 'a kind that is not read';
      return { type, kind, reason: typeof reason === 'string' ? reason : '' };
    }
    default:
      return `event is not one of ADDED, MODIFIED, DELETED, LISTED, DISCONNECTED: ${JSON.stringify(event)}`;
  }
}

function readList({ kind, items }: Readonly<Record<string, unknown>>): ClusterEvent | string {
  if (typeof kind !== 'string' || !isObjectKind(kind)) return 'a list of a kind that is not read';
  if (!Array.isArray(items)) return '"items" is not a list';
  const objects: ClusterObject[] = [];
  for (const item of items) {
    const read = readClusterObject(isRecord(item) ? { kind, ...item } : item);
    if (typeof read === 'string') return read;
    objects.push(read);
  }
  return { type: 'LISTED', kind, items: objects };
}

function readClusterObject(value: unknown): ClusterObject | string {
  const read = readObject(value);
  if (read.is === 'bad') return read.message;
  if (read.is === 'unknown') return `a kind that is not read: ${read.kind}`;
  const { object } = read;
  if (object.kind === 'Node' || object.metadata?.namespace !== undefined) return object;
  return { ...object, metadata: { ...object.metadata, namespace: DEFAULT_NAMESPACE } };
}
