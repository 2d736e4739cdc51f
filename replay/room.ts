// SPDX-License-Identifier: Apache-2.0
/** Bytes for frames: new ones each time, or the same ones again and again. */

/** So many bytes, whose values nobody knows. */
export type Room = (length: number) => Uint8Array;

export const newRoom: Room = (length) => new Uint8Array(length);

/** Longer frames are rare. */
const SAME_BYTES_MAX = 4096;

/** What it gave before is overwritten; a view of each length is kept, for they cost as much as what is done with them. */
export function sameRoom(): Room {
  const bytes = new Uint8Array(SAME_BYTES_MAX);
  const views = new Map<number, Uint8Array>();
  return (length) => {
    const known = views.get(length);
    if (known !== undefined) return known;
    if (length > SAME_BYTES_MAX) return newRoom(length);
    const view = bytes.subarray(0, length);
    views.set(length, view);
    return view;
  };
}
