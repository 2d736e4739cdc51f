// SPDX-License-Identifier: Apache-2.0
/** What an API server would send, in short: objects, lists, lines of a watch, refusals. */
import type { ClusterNews } from '../../watch/watch.ts';

export function service(name: string, version: number): Record<string, unknown> {
  const metadata = { name, namespace: 'default', resourceVersion: String(version) };
  return { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1' } };
}

/** A ServiceList; `next` is the token of the page that follows. */
export function serviceList(version: number, names: readonly string[], next = ''): string {
  const items = names.map((name) => ({ ...service(name, version), kind: undefined, apiVersion: undefined }));
  const metadata = { resourceVersion: String(version), ...(next === '' ? {} : { continue: next }) };
  return JSON.stringify({ kind: 'ServiceList', apiVersion: 'v1', metadata, items });
}

/** A line of a watch with its newline. */
export function line(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

export function bookmark(version: number): string {
  return line('BOOKMARK', { kind: 'Service', apiVersion: 'v1', metadata: { resourceVersion: String(version) } });
}

export function status(code: number, message: string): Record<string, unknown> {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code };
}

/** One line for people: `ADDED web @7`. */
export function newsText({ event, resourceVersion }: ClusterNews): string {
  switch (event.type) {
    case 'LISTED':
      return `LISTED ${event.items.map(({ metadata }) => metadata?.name).join(' ')} @${resourceVersion}`;
    case 'DISCONNECTED':
      return `DISCONNECTED ${event.reason}`;
    case 'BOOKMARK':
      return `BOOKMARK @${resourceVersion}`;
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return `${event.type} ${event.object.metadata?.name ?? ''} @${resourceVersion}`;
  }
}

/** What differs between requests: `list`, `list continue=x`, `watch 7`. */
export function requestText(path: string): string {
  const query = new URL(path, 'http://server').searchParams;
  if (query.get('watch') === '1') return `watch ${query.get('resourceVersion')}`;
  const limit = query.get('limit') === null ? ' whole' : '';
  const next = query.get('continue');
  const version = query.get('resourceVersion');
  const match = query.get('resourceVersionMatch');
  return `list${limit}${next === null ? '' : ` continue=${next}`}${version === null ? '' : ` ${match} ${version}`}`;
}
