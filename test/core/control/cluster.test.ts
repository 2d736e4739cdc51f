// SPDX-License-Identifier: Apache-2.0
/** The fold of watches: what an event may have changed, and what it surely has not. */
import { describe, expect, test } from 'vitest';
import {
  applyEvent,
  emptyCluster,
  everyOwner,
  type Changed,
  type ClusterState,
} from '../../../core/control/cluster.ts';
import type { ClusterObject, ObjectKind } from '../../../core/objects.ts';
import { added, deleted, endpoint, modified, node, pod, service, slice } from './objects.ts';

const port = { containerPort: 80, hostPort: 8080 };
const OBJECTS: readonly (readonly [ObjectKind, ClusterObject, owner: string])[] = [
  ['Service', service('web', '10.96.0.1'), 'shop/web'],
  ['EndpointSlice', slice('web', [endpoint('10.0.0.1')]), 'shop/web'],
  ['Pod', pod('web-0', ['10.0.0.1'], [port]), 'Pod shop/web-0'],
  ['Node', node('node-a', 'z1', ['192.0.2.10']), 'node-a'],
];

function names({ owners, nodes }: Changed): string[] {
  return [...owners, ...nodes];
}

/** What the second of two events changed. */
function second(events: readonly Parameters<typeof applyEvent>[1][]): string[] {
  let state: ClusterState = emptyCluster();
  let changed: string[] = [];
  for (const event of events) {
    const applied = applyEvent(state, event);
    state = applied.state;
    changed = names(applied.changed);
  }
  return changed;
}

describe.each(OBJECTS)('a %s', (kind, object, name) => {
  test('that comes, changes or goes names whom it concerns', () => {
    expect(second([added(object)])).toEqual([name]);
    expect(second([added(object), deleted(object)])).toEqual([name]);
  });

  test('that is heard again, the same in memory, concerns nobody, nor does the end of one that is not there', () => {
    expect(second([added(object), modified(object)])).toEqual([]);
    expect(second([added(object), { type: 'LISTED', kind, items: [object] }])).toEqual([]);
    expect(second([deleted(object)])).toEqual([]);
  });

  test('that a list no longer has concerns those whom it did, and one of another kind in a list nobody', () => {
    expect(second([added(object), { type: 'LISTED', kind, items: [] }])).toEqual([name]);
    const other = kind === 'Service' ? 'Pod' : 'Service';
    expect(second([{ type: 'LISTED', kind: other, items: [object] }])).toEqual([]);
  });
});

test('objects without a name are told up to a limit, and change nothing', () => {
  let state = emptyCluster();
  for (let round = 0; round < 150; round += 1) {
    const applied = applyEvent(state, added({ kind: 'Service', metadata: { name: 'lost' } }));
    state = applied.state;
    expect(names(applied.changed)).toEqual([]);
  }
  expect(state.nameless).toHaveLength(100);
  state = applyEvent(emptyCluster(), added({ kind: 'Node', metadata: {} })).state;
  expect(state.nameless).toEqual([{ object: 'Node', field: 'metadata', message: 'no name: the object is ignored' }]);
});

test('owners are Services and pods with host ports', () => {
  let state = emptyCluster();
  for (const [, object] of OBJECTS) state = applyEvent(state, added(object)).state;
  expect(everyOwner(state)).toEqual(['shop/web', 'Pod shop/web-0']);
});
