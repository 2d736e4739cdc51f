// SPDX-License-Identifier: Apache-2.0
/** Faults in the order of what is written and in the room for it: reserve, plan, entries, adopt, space, classifier. `law`: one of the maps. */
import type { ControlFault } from '../fault.ts';

export const roomFaults: readonly ControlFault[] = [
  {
    name: 'rows-are-not-given-back',
    file: 'reserve.ts',
    find: 'returnId(image.rows, row);',
    replace: '',
    rule: 'law',
    meaning: 'what did not fit takes rows with it',
    killer:
      'test/core/control/views.property.test.ts › what did not fit leaves no room behind: everything fits again afterwards',
  },
  {
    name: 'blocks-are-not-given-back',
    file: 'reserve.ts',
    find: 'for (const { pair, ids } of reservation.blocks) returnBlock(image.pairs, pair, pairsOf(ids));',
    replace: '',
    rule: 'law',
    meaning: 'what did not fit takes slots with it',
    killer:
      'test/core/control/views.property.test.ts › what did not fit leaves no room behind: everything fits again afterwards',
  },
  {
    name: 'rows-for-changes-are-given-out',
    file: 'reserve.ts',
    find: 'return isNew && idsLeft(image.rows) <= rowsForChanges(image) ? undefined : takeId(image.rows);',
    replace: 'return takeId(image.rows);',
    rule: 'law',
    meaning: 'in a full map nobody can change any more',
    killer: 'test/core/control/entries.test.ts › limits › in a full map of rows every Service can still change',
  },
  {
    name: 'id-of-a-service-port-is-used-twice',
    file: 'reserve.ts',
    find: 'const id = known?.id ?? takeId(image.portIds);',
    replace: 'const id = known?.id ?? 1;',
    rule: 'law',
    meaning: 'two Service ports share an id',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › B4: the rest of a cluster address is refused, until its last port is gone',
  },
  {
    name: 'ended-backend-is-not-marked-reused',
    file: 'plan.ts',
    find: 'liveWord(generationOf(record.live), isReused ? BACKEND_REUSED : 0);',
    replace: 'liveWord(generationOf(record.live), 0);',
    rule: 'law',
    meaning: 'connections to an address that passed to another pod are not reset',
    killer:
      'test/core/control/entries.test.ts › what a change writes › an address listed for another pod is another backend, and the old one is marked as reused',
  },
  {
    name: 'generation-stays',
    file: 'plan.ts',
    find: 'liveWord(nextGeneration(unretire(image, id)), wanted.bits);',
    replace: 'liveWord(unretire(image, id), wanted.bits);',
    rule: 'law',
    meaning: 'a backend id that is used again looks like the one before',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › a ClusterIP resolves to its ready endpoints, in the order of address:port',
  },
  {
    name: 'views-are-taken-away-at-once',
    file: 'plan.ts',
    find: 'const views = (before | bits) & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL);',
    replace: 'const views = bits & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL);',
    rule: 'law',
    meaning: 'a backend leaves a view before the row that names it',
    killer:
      'test/agent/loop.test.ts › an event computes one Service again, our node those that its zone or addresses can affect, another node none',
  },
  {
    name: 'second-slot-of-a-pair',
    file: 'plan.ts',
    find: 'const words = block.ids.length % 2 === 0 ? block.ids : [...block.ids, 0];',
    replace:
      'const words = block.ids.map((_, index) => block.ids[index & ~1] ?? 0); if (words.length % 2 === 1) words.push(0);',
    rule: 'B3',
    meaning: 'every second slot repeats the one before',
    killer: 'algorithm-by-annotation',
  },
  {
    name: 'given-up-keys-stay',
    file: 'plan.ts',
    find: 'if (entry !== undefined && entry.port === port) removeFrontend(image, segment, text, entry);',
    replace: '',
    rule: 'B16',
    meaning: 'a frontend that a Service gave up stays in the map',
    killer: 'contested-address-of-an-owner-that-is-no-longer-served',
  },
  {
    name: 'whole-addresses-come-first',
    file: 'plan.ts',
    find: 'segment.publishWhole.push(setOperation(maps.frontends, key, row));',
    replace: 'segment.prepare.push(setOperation(maps.frontends, key, row));',
    rule: 'law',
    meaning: 'an address is refused before its ports are there',
    killer:
      'test/core/control/entries.test.ts › limits › an address is not owned before what has to wait for room on it',
  },
  {
    name: 'rows-before-their-slots',
    file: 'entries.ts',
    find: 'segment.prepare, segment.publish, segment.publishWhole,',
    replace: 'segment.publish, segment.prepare, segment.publishWhole,',
    rule: 'law',
    meaning: 'frontends before backends',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › a ClusterIP resolves to its ready endpoints, in the order of address:port',
  },
  {
    name: 'no-barrier-before-the-end',
    file: 'entries.ts',
    find: "lists.push([{ op: 'barrier' }], segment.withdraw);",
    replace: 'lists.push(segment.withdraw);',
    rule: 'law',
    meaning: 'what packets may still read is freed without waiting',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › A6: of two Services with one address and port the first by name owns it, the other takes over',
  },
  {
    name: 'classifier-comes-last',
    file: 'entries.ts',
    find: 'classifierOperations(image.classifier), segment.prepare, segment.publish, segment.publishWhole,',
    replace: 'segment.prepare, segment.publish, segment.publishWhole, classifierOperations(image.classifier),',
    rule: 'law',
    meaning: 'for a moment the filter passes over a frontend that is there',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › a ClusterIP resolves to its ready endpoints, in the order of address:port',
  },
  {
    name: 'backend-ids-are-free-at-once',
    file: 'entries.ts',
    find: 'for (const { id } of segment.ended) releaseId(image.backendIds, id);',
    replace: '',
    rule: 'law',
    meaning: 'ids of ended backends are lost',
    killer: 'test/core/control/entries.test.ts › what a change writes › a backend id used again has another generation',
  },
  {
    name: 'rest-is-not-taken-out',
    file: 'entries.ts',
    find: 'if (change.isComplete) planTheRest(image, segment, change, names);',
    replace: '',
    rule: 'law',
    meaning: 'after a restart what nobody wants any more stays',
    killer:
      'test/agent/loop.test.ts › I1: nothing is programmed, and nothing removed, until Services and EndpointSlices have been listed',
  },
  {
    name: 'addresses-owned-before-their-ports',
    file: 'entries.ts',
    find: 'if (wanted.isOwned && hosts.has(addressText(wanted.address))) {',
    replace: 'if (false) {',
    rule: 'law',
    meaning: 'an address is refused while its ports wait for room',
    killer:
      'test/core/control/entries.test.ts › limits › an address is not owned before what has to wait for room on it',
  },
  {
    name: 'ids-are-adopted-as-free',
    file: 'adopt.ts',
    find: 'fillPool(image.rows, new Set(held.frontends.map(([, row]) => row)));',
    replace: 'fillPool(image.rows, new Set());',
    rule: 'law',
    meaning: 'after a restart rows in use are given out again',
    killer:
      'test/agent/loop.test.ts › I1: nothing is programmed, and nothing removed, until Services and EndpointSlices have been listed',
  },
  {
    name: 'orphans-stay',
    file: 'adopt.ts',
    find: 'if (port === undefined || !adoptBackend(held, port, id, record)) image.orphans.push(entry);',
    replace: 'if (port !== undefined) adoptBackend(held, port, id, record);',
    rule: 'law',
    meaning: 'backends that a crash left behind live on',
    killer: 'test/agent/loop.test.ts › a resync repairs what somebody else changed in the maps',
  },
  {
    name: 'first-barrier-is-left-out',
    file: 'adopt.ts',
    find: 'image.needsBarrier = !isEmpty;',
    replace: 'image.needsBarrier = false;',
    rule: 'law',
    meaning: 'a process that starts frees what the one before may have left unread',
    killer: 'test/core/control/entries.test.ts › what a change writes › an event that changes nothing writes nothing',
  },
  {
    name: 'released-ids-are-free-at-once',
    file: 'space.ts',
    find: 'pool.cooling.push(id);',
    replace: 'pool.waiting.push(id);',
    rule: 'law',
    meaning: 'an id is used again before packets that saw it are gone',
    killer:
      'test/core/control/entries.test.ts › what a change writes › a backend that left is marked as reused when its address comes back with another pod, in any Service',
  },
  {
    name: 'blocks-overlap-by-one',
    file: 'space.ts',
    find: 'hole.start += length; hole.length -= length;',
    replace: 'hole.start += length - 1; hole.length -= length - 1;',
    rule: 'law',
    meaning: 'two blocks share a pair of slots',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › A6: of two Services with one address and port the first by name owns it, the other takes over',
  },
  {
    name: 'quarantine-is-ignored',
    file: 'space.ts',
    find: 'if (waiting <= pool.quarantine && pool.next < pool.limit) {',
    replace: 'if (waiting === 0 && pool.next < pool.limit) {',
    rule: 'law',
    meaning: 'the oldest id is used again although fresh ones are left',
    killer:
      'test/core/control/space.test.ts › fresh ids go before released ones while fewer wait than the quarantine asks for',
  },
  {
    name: 'classifier-with-one-bit',
    file: 'classifier.ts',
    find: 'addBit(classifier, word, (hash >>> 26) & 63);',
    replace: '',
    rule: 'law',
    meaning: 'the filter passes over Services that are there',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › a ClusterIP resolves to its ready endpoints, in the order of address:port',
  },
  {
    name: 'classifier-protocol-left-out',
    file: 'classifier.ts',
    find: 'port | (protocol << 16)',
    replace: 'port',
    rule: 'law',
    meaning: 'the filter knows another key than the datapath asks for',
    killer:
      'test/core/control/entries.test.ts › what a Service becomes › a ClusterIP resolves to its ready endpoints, in the order of address:port',
  },
  {
    name: 'ranges-end-with-the-endpoints',
    file: 'reserve.ts',
    find: "{ sourceRanges }: Frontend): RangeSet | undefined | 'full' { if (sourceRanges === null) return undefined;",
    replace:
      "{ sourceRanges, external }: Frontend): RangeSet | undefined | 'full' { if (sourceRanges === null || external?.backends.length === 0) return undefined;",
    rule: 'B11',
    meaning: 'who is not let in hears a refusal where there are no endpoints',
    killer: 'source-ranges-hold-without-endpoints',
  },
];
