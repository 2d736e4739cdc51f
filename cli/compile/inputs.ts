// SPDX-License-Identifier: Apache-2.0
/** The files of a command about a cluster's state: manifests, event streams, folders of both, and standard input. */
import { readdirSync, readFileSync, statSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import { applyEvent, emptyCluster, type ClusterState } from '../../core/control/cluster.ts';
import { fail, failureText, type Failure } from '../../core/result.ts';
import type { TimedEvent } from '../../formats/events.ts';
import { errorName, type InputSource } from '../../formats/input.ts';
import type { ManifestObject } from '../../formats/manifests.ts';

/** What the files say; what could not be read is told beside it, and all else is there. */
export type ClusterInput = {
  readonly manifests: readonly ManifestObject[];
  /** In order of time. */
  readonly events: readonly TimedEvent[];
  readonly failures: readonly Failure[];
  readonly notes: readonly string[];
};

const STANDARD_INPUT = '-';
/** As formats/manifests.ts counts documents that name none. */
const WITHOUT_KIND = '(none)';
const MANIFEST_NAME = /\.(ya?ml|json)$/;
const STREAM_NAME = /\.ndjson$/;
/** As a watch writes its first line, whether in one line or as kubectl prints it. */
const STREAM_BEGINNING = /^\s*\{\s*"(type|at)"\s*:/;
/** More of them are hardly read by anybody. */
const REPEATED_TOLD = 20;
/** A folder that holds more is hardly one of manifests. */
const FOLDER_FILES_MAX = 100_000;

type Sources = {
  readonly streams: InputSource[];
  readonly manifests: InputSource[];
  /** Found in folders, where other things may lie beside manifests. */
  readonly found: InputSource[];
  readonly failures: Failure[];
};

/** Reads everything; what YAML and streams need is loaded only where there is some. */
export async function readInputs(files: readonly string[]): Promise<ClusterInput> {
  const sources = sourcesOf(files);
  const failures = [...sources.failures];
  const notes: string[] = [];
  const skipped = new Map<string, number>();
  const manifests: ManifestObject[] = [];
  let events: readonly TimedEvent[] = [];
  if (sources.streams.length > 0) {
    const { readEventStreams } = await import('../../formats/events.ts');
    const read = readEventStreams(sources.streams);
    events = read.events;
    failures.push(...read.failures);
    notes.push(...read.problems.map(failureText));
    countAll(skipped, read.skipped);
  }
  if (sources.manifests.length + sources.found.length > 0) {
    const { readManifests } = await import('../../formats/manifests.ts');
    for (const read of [readManifests(sources.manifests), readManifests(sources.found, 'skip')]) {
      for (const object of read.objects) manifests.push(object);
      failures.push(...read.failures);
      countAll(skipped, read.skipped);
    }
  }
  for (const [kind, count] of skipped) {
    const what = kind === WITHOUT_KIND ? `${count} documents without a kind` : `${count} of kind ${kind}`;
    notes.push(`${what} not read: not a part of Services`);
  }
  notes.push(...repeated(manifests));
  return { manifests, events, failures, notes };
}

/** Objects that stand in several places: the last word counts, which may not be what was meant. */
function repeated(manifests: readonly ManifestObject[]): readonly string[] {
  const places = new Map<string, string>();
  const notes: string[] = [];
  for (const { object, file, line } of manifests) {
    const { namespace = '', name = '' } = object.metadata ?? {};
    const key = `${object.kind} ${object.kind === 'Node' ? '' : `${namespace}/`}${name}`;
    const place = `${file} line ${line}`;
    const before = places.get(key);
    if (before !== undefined && notes.length < REPEATED_TOLD)
      notes.push(`${key} stands twice, ${before} and ${place}: the last one counts`);
    places.set(key, place);
  }
  return notes;
}

function countAll(into: Map<string, number>, counts: ReadonlyMap<string, number>): void {
  for (const [kind, count] of counts) into.set(kind, (into.get(kind) ?? 0) + count);
}

/** What is worth knowing where both are given. */
export function orderNotes({ events, manifests }: ClusterInput): readonly string[] {
  if (events.length === 0 || manifests.length === 0) return [];
  return ['manifests come after event streams: of what both tell, manifests have the last word'];
}

/** The cluster after everything: streams first, then what manifests say. */
export function clusterOf({ events, manifests }: ClusterInput): ClusterState {
  let cluster = emptyCluster();
  for (const { event } of events) cluster = applyEvent(cluster, event).state;
  for (const { object } of manifests) cluster = applyEvent(cluster, { type: 'ADDED', object }).state;
  return cluster;
}

function sourcesOf(files: readonly string[]): Sources {
  const sources: Sources = { streams: [], manifests: [], found: [], failures: [] };
  for (const file of new Set(files)) {
    if (file === STANDARD_INPUT) addStandardInput(sources);
    else if (isFolder(file)) addFolder(file, sources);
    else (STREAM_NAME.test(file) ? sources.streams : sources.manifests).push(file);
  }
  return sources;
}

/** What can't be asked for is read as a file, which says why. */
function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function addStandardInput(into: Sources): void {
  const name = 'standard input';
  try {
    const bytes = readFileSync(0);
    const beginning = bytes.toString('latin1', 0, 256);
    (STREAM_BEGINNING.test(beginning) ? into.streams : into.manifests).push({ name, bytes });
  } catch (error) {
    into.failures.push(fail('input', name, `cannot be read: ${errorName(error)}`).error);
  }
}

/** All below it but what begins with a dot; links to folders are not followed, so there is an end. */
function addFolder(folder: string, into: Sources): void {
  const pending = [folder];
  let count = 0;
  for (let path = pending.shift(); path !== undefined; path = pending.shift()) {
    const entries = entriesOf(path, into.failures);
    for (const entry of entries) {
      const below = join(path, entry.name);
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
      if (entry.isDirectory()) pending.push(below);
      const isStream = STREAM_NAME.test(entry.name);
      if (!(isStream || MANIFEST_NAME.test(entry.name)) || entry.isDirectory() || isFolder(below)) continue;
      count += 1;
      if (count > FOLDER_FILES_MAX) {
        const remedy = 'name the folders with manifests';
        into.failures.push(fail('limit', folder, `more than ${FOLDER_FILES_MAX} files`, remedy).error);
        return;
      }
      (isStream ? into.streams : into.found).push(below);
    }
  }
  if (count === 0)
    into.failures.push(fail('input', folder, 'no *.yaml, *.yml, *.json or *.ndjson in this folder').error);
}

/** In the order of names, so that the outcome doesn't depend on the file system. */
function entriesOf(folder: string, failures: Failure[]): readonly Dirent[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.sort((left, right) => (left.name < right.name ? -1 : 1));
  } catch (error) {
    failures.push(fail('input', folder, `cannot be read: ${errorName(error)}`).error);
    return [];
  }
}
