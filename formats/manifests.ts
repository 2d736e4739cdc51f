// SPDX-License-Identifier: Apache-2.0
/** Manifests: files of YAML or JSON with one or many documents, and Lists, to the Kubernetes objects that we read. */
import type { ClusterObject, ObjectKind } from '../core/objects.ts';
import { fail, type Failure } from '../core/result.ts';

import { parseJson } from './eventline.ts';
import { readText, type InputSource } from './input.ts';
import { isObjectKind, isRecord, readObject } from './object.ts';
import { parseDocuments, type TextDocument } from './yaml.ts';

/** An object, and where it stands. */
export type ManifestObject = { readonly object: ClusterObject; readonly file: string; readonly line: number };

export type Manifests = {
  /** In order of files and lines. */
  readonly objects: readonly ManifestObject[];
  /** What could not be read: files, documents, objects; everything else has been read. */
  readonly failures: readonly Failure[];
  /** Kinds that we do not read, with the count of objects. */
  readonly skipped: ReadonlyMap<string, number>;
};

/** A cluster of 10,000 Services with 100,000 endpoints is about 60 MB. */
const FILE_BYTES_MAX = 512 * 1024 * 1024;

/** Larger JSON is parsed ten times faster without lines; its failures name the item instead. */
const JSON_WITH_LINES_BYTES_MAX = 1024 * 1024;

/** As `kubectl apply` would have it; the API server then fills in what manifests leave out. */
const DEFAULT_NAMESPACE = 'default';

type Gathering = {
  readonly objects: ManifestObject[];
  readonly failures: Failure[];
  readonly skipped: Map<string, number>;
  readonly withoutKind: 'fail' | 'skip';
};

/**
 * Never throws for what a file holds. `withoutKind`: what a document that names no kind is; in folders there are other
 * things beside manifests.
 */
export function readManifests(sources: readonly InputSource[], withoutKind: 'fail' | 'skip' = 'fail'): Manifests {
  const gathered: Gathering = { objects: [], failures: [], skipped: new Map(), withoutKind };
  for (const source of sources) {
    const text = readText(source, FILE_BYTES_MAX);
    if (text.ok) readFile(typeof source === 'string' ? source : source.name, text.value, gathered);
    else gathered.failures.push(text.error);
  }
  return gathered;
}

function readFile(file: string, text: string, into: Gathering): void {
  const json = text.length > JSON_WITH_LINES_BYTES_MAX && text.startsWith('{') ? parseJson(text) : undefined;
  if (json?.ok === true) {
    readDocument(file, { value: json.value, lineOf: () => 1 }, into);
    return;
  }
  const { documents, failures } = parseDocuments(file, text);
  for (const document of documents) readDocument(file, document, into);
  into.failures.push(...failures);
}

function readDocument(file: string, document: TextDocument, into: Gathering): void {
  const { value } = document;
  const kind = isRecord(value) ? value['kind'] : undefined;
  const items = isRecord(value) ? value['items'] : undefined;
  if (typeof kind !== 'string' || !kind.endsWith('List') || items === undefined) {
    if (kind === undefined && into.withoutKind === 'skip') countSkipped('(none)', into);
    else readOne(value, { file, path: [], document }, into);
    return;
  }
  if (!Array.isArray(items)) {
    into.failures.push(fail('input', `${file} line ${document.lineOf(['items'])}`, '"items" is not a list').error);
    return;
  }
  const kindOfItems = kind.slice(0, -'List'.length);
  const listKind = isObjectKind(kindOfItems) ? kindOfItems : undefined;
  for (const [index, item] of items.entries())
    readOne(item, { file, path: ['items', index], document }, into, listKind);
}

type Place = { readonly file: string; readonly path: readonly (string | number)[]; readonly document: TextDocument };

function readOne(value: unknown, { file, path, document }: Place, into: Gathering, listKind?: ObjectKind): void {
  const read = readObject(value, listKind);
  const line = document.lineOf(path);
  switch (read.is) {
    case 'object':
      into.objects.push({ object: withNamespace(read.object), file, line });
      return;
    case 'unknown':
      countSkipped(read.kind, into);
      return;
    case 'bad': {
      const item = path.length === 0 ? '' : ` (${path[0]}[${path[1]}])`;
      into.failures.push(fail('input', `${file} line ${line}${item}`, read.message).error);
    }
  }
}

function countSkipped(kind: string, into: Gathering): void {
  into.skipped.set(kind, (into.skipped.get(kind) ?? 0) + 1);
}

function withNamespace(object: ClusterObject): ClusterObject {
  if (object.kind === 'Node' || object.metadata?.namespace !== undefined) return object;
  return { ...object, metadata: { ...object.metadata, namespace: DEFAULT_NAMESPACE } };
}
