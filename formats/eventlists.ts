// SPDX-License-Identifier: Apache-2.0
/** The list that a watch begins with: its ADDED events as one LISTED, and none of those that come later. */
import { kindOf, type ClusterObject, type ObjectKind } from '../core/objects.ts';

import type { TimedEvent } from './events.ts';
import { nanosecondsBetween, type Instant } from './instant.ts';

/** ADDED lines of a kind that follow each other faster than this are the list that a watch begins with. */
const LIST_GAP_NS = 1_000_000_000;

/** The leading ADDED events of a kind, as far as they have been seen. */
type Leading = {
  last: TimedEvent;
  readonly members: Set<TimedEvent>;
  readonly items: Map<string, ClusterObject>;
  isOpen: boolean;
};

/** They become one LISTED, in the place of the last of them: only then was the list whole. */
export function gatherLists(
  events: readonly TimedEvent[],
  note: (place: string, message: string) => void,
): readonly TimedEvent[] {
  const lists = new Map<ObjectKind, Leading>();
  for (const timed of events) {
    const kind = kindOf(timed.event);
    const list = lists.get(kind) ?? { last: timed, members: new Set(), items: new Map(), isOpen: true };
    if (!lists.has(kind) && (timed.event.type === 'MODIFIED' || timed.event.type === 'DELETED')) {
      note(`${timed.file} line ${timed.line}`, `no list of ${kind} stands before its first ${timed.event.type}`);
    }
    lists.set(kind, list);
    list.isOpen &&= timed.event.type === 'ADDED' && nanosecondsBetween(list.last, timed) < LIST_GAP_NS;
    if (!list.isOpen || timed.event.type !== 'ADDED') continue;
    list.items.set(nameOf(timed.event.object), timed.event.object);
    list.members.add(timed);
    list.last = timed;
  }
  return events.flatMap((timed) => {
    const kind = kindOf(timed.event);
    const list = lists.get(kind);
    if (list === undefined || !list.members.has(timed)) return [timed];
    if (timed !== list.last) return [];
    return [{ ...timed, event: { type: 'LISTED', kind, items: [...list.items.values()] } }];
  });
}

/** As the API server sorts a list: by namespace, then by name. */
function isAfter(left: ClusterObject, right: ClusterObject): boolean {
  const [one = '', other = ''] = [left.metadata?.namespace, right.metadata?.namespace];
  if (one !== other) return one > other;
  return (left.metadata?.name ?? '') > (right.metadata?.name ?? '');
}

/** The list of one kind in a stream without times of arrival, while it grows. */
type Growing = {
  readonly items: ClusterObject[];
  readonly timed: { -readonly [Key in keyof TimedEvent]: TimedEvent[Key] };
};

/** The lists of one file whose events tell nothing about when they came. */
export type UntimedLists = {
  /** Takes an ADDED into its list; the list itself where it is new, 'taken' where it is not, 'later' after its end. */
  readonly take: (
    timed: Instant & { file: string; line: number },
    object: ClusterObject,
  ) => TimedEvent | 'taken' | 'later';
  /** Anything else of a kind ends its list. */
  readonly end: (kind: ObjectKind) => void;
};

/** Times say nothing here, but the API server sorts a list: the first ADDED that is out of order is a later one. */
export function createUntimedLists(): UntimedLists {
  const lists = new Map<ObjectKind, Growing | 'ended'>();
  return {
    take: (timed, object) => {
      const list = lists.get(object.kind);
      if (list === 'ended') return 'later';
      if (list === undefined) {
        const items = [object];
        const grown = { ...timed, event: { type: 'LISTED' as const, kind: object.kind, items } };
        lists.set(object.kind, { items, timed: grown });
        return grown;
      }
      const last = list.items.at(-1);
      if (last !== undefined && !isAfter(object, last)) {
        lists.set(object.kind, 'ended');
        return 'later';
      }
      list.items.push(object);
      Object.assign(list.timed, timed);
      return 'taken';
    },
    end: (kind) => void lists.set(kind, 'ended'),
  };
}

export function nameOf(object: ClusterObject): string {
  return `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`;
}
