// SPDX-License-Identifier: Apache-2.0
/** One Kubernetes object from JSON or YAML: is it of a kind that we read, and does it have a name. */
import type { ClusterObject, ObjectKind } from '../core/objects.ts';

/** The API group and version that each kind must have, should it have one. */
const VERSIONS: Readonly<Record<ObjectKind, string>> = {
  Node: 'v1',
  Service: 'v1',
  EndpointSlice: 'discovery.k8s.io/v1',
  Pod: 'v1',
};

/** What a value turned out to be. Fields below metadata are not looked at: who uses one checks it. */
export type ReadObject =
  | { readonly is: 'object'; readonly object: ClusterObject }
  | { readonly is: 'unknown'; readonly kind: string }
  | { readonly is: 'bad'; readonly message: string };

/** Whether a decoded value is an object in the sense of JSON, so that its fields can be asked for. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isObjectKind(kind: string): kind is ObjectKind {
  return Object.hasOwn(VERSIONS, kind);
}

/** `listKind` is the kind of the list that the object was found in: items of API lists do not repeat it. */
export function readObject(value: unknown, listKind?: ObjectKind): ReadObject {
  if (!isRecord(value)) return { is: 'bad', message: 'not an object' };
  const kind = value['kind'] ?? listKind;
  if (typeof kind !== 'string' || kind === '') return { is: 'bad', message: 'an object without a kind' };
  if (listKind !== undefined && kind !== listKind) return { is: 'bad', message: `a ${kind} in a list of ${listKind}` };
  const version = value['apiVersion'];
  if (version !== undefined && typeof version !== 'string')
    return { is: 'bad', message: `a ${kind} whose apiVersion is not text` };
  if (!isObjectKind(kind)) return { is: 'unknown', kind };
  if (version !== undefined && version !== VERSIONS[kind]) return { is: 'unknown', kind: `${kind} (${version})` };
  const metadata = value['metadata'];
  const name = isRecord(metadata) ? metadata['name'] : undefined;
  if (typeof name !== 'string' || name === '') return { is: 'bad', message: `a ${kind} without metadata.name` };
  // What was checked is what ClusterObject promises: the kind; all else may be missing or wrong by its definition.
  return { is: 'object', object: { ...value, kind } as ClusterObject };
}
