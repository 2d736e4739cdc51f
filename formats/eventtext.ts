// SPDX-License-Identifier: Apache-2.0
/** The lines of an event stream as they are written; formats/eventline.ts reads them. */
import type { ClusterEvent } from '../core/objects.ts';

import type { StreamHeader } from './eventline.ts';
import { instantText, type Instant } from './instant.ts';

/** An event, when it was heard of, and the version that it leads to (empty: none is known). */
export type HeardEvent = { readonly at: Instant; readonly event: ClusterEvent; readonly resourceVersion: string };

/** The first line of a stream, with its newline; what `more` holds is for people and ignored by readers. */
export function headerText(header: StreamHeader, more: Readonly<Record<string, unknown>> = {}): string {
  return `${JSON.stringify({ type: 'STREAM', ...header, ...more })}\n`;
}

/** One line, with its newline. */
export function eventText({ at, event, resourceVersion }: HeardEvent): string {
  return `${JSON.stringify({ at: instantText(at), ...fieldsOf(event, resourceVersion) })}\n`;
}

function fieldsOf(event: ClusterEvent, resourceVersion: string): Readonly<Record<string, unknown>> {
  switch (event.type) {
    case 'LISTED':
      return { type: event.type, kind: event.kind, resourceVersion, items: event.items };
    case 'BOOKMARK':
      return { type: event.type, object: { kind: event.kind, metadata: { resourceVersion } } };
    case 'DISCONNECTED':
      return { type: event.type, kind: event.kind, reason: event.reason };
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: event.type, object: event.object };
  }
}
