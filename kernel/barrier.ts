// SPDX-License-Identifier: Apache-2.0
/** Waits until no BPF program still reads what was taken out of reach before. */
import { fail, ok, type Result } from '../core/result.ts';
import { libbpf } from './libbpf.ts';
import { barrier as membarrier, errnoName } from './libc.ts';

const MAP_KIND_ARRAY = 2;
const MAP_KIND_ARRAY_OF_MAPS = 12;
const INNER_MAP_FD_AT = 24;
const MAP_OPTIONS_SIZE = 64;

type MapOfMaps = { readonly outer: number; readonly inner: number };

let mapOfMaps: MapOfMaps | undefined;

/**
 * Returns after a grace period: about 8 ms by membarrier(2), else (kernels with nohz_full refuse it) by a write to an
 * array of maps, which waits for one too.
 */
export function barrier(): Result<void> {
  return membarrier().ok ? ok(undefined) : barrierByMap();
}

/** The way of kernels that refuse membarrier(2): replacing an inner map waits for all readers of the outer one. */
export function barrierByMap(): Result<void> {
  const library = libbpf();
  if (!library.ok) return library;
  const maps = mapOfMaps === undefined ? createMapOfMaps() : ok(mapOfMaps);
  if (!maps.ok) return maps;
  mapOfMaps = maps.value;
  const value = Buffer.alloc(4);
  value.writeInt32LE(mapOfMaps.inner);
  const returned = library.value.mapUpdate(mapOfMaps.outer, Buffer.alloc(4), value, 0);
  if (returned === 0) return ok(undefined);
  return fail(
    'environment',
    'barrier',
    `neither membarrier nor an array of maps: ${errnoName(-returned)}`,
    'run as root',
  );
}

function createMapOfMaps(): Result<MapOfMaps> {
  const library = libbpf();
  if (!library.ok) return library;
  const inner = library.value.mapCreate(MAP_KIND_ARRAY, 'tandem_inner', 4, 4, 1, null);
  if (inner < 0) return fail('environment', 'barrier', `map: ${errnoName(-inner)}`, 'run as root');
  const options = Buffer.alloc(MAP_OPTIONS_SIZE);
  options.writeBigUInt64LE(BigInt(MAP_OPTIONS_SIZE), 0);
  options.writeUInt32LE(inner, INNER_MAP_FD_AT);
  const outer = library.value.mapCreate(MAP_KIND_ARRAY_OF_MAPS, 'tandem_outer', 4, 4, 1, options);
  if (outer < 0) return fail('environment', 'barrier', `array of maps: ${errnoName(-outer)}`, 'run as root');
  return ok({ outer, inner });
}
