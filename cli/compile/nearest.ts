// SPDX-License-Identifier: Apache-2.0
/** Which Services somebody may have meant who gave a name that there is not. */

/** Names longer than that are cut before they are compared: the work is the product of two lengths. */
const LETTERS_MAX = 128;

/** Those with the fewest changed letters; the right name in another namespace comes first. */
export function nearestNames(asked: string, names: readonly string[], most: number): readonly string[] {
  const [, name = asked] = asked.split('/', 2);
  const ranked = names.map((key) => {
    const own = key.slice(key.indexOf('/') + 1);
    const isInside = own.includes(name) || name.includes(own);
    return {
      key,
      distance: own === name ? 0 : Math.min(distance(asked, key), distance(name, own) + (isInside ? 0 : 1)),
    };
  });
  ranked.sort((left, right) => left.distance - right.distance || (left.key < right.key ? -1 : 1));
  return ranked.slice(0, most).map(({ key }) => key);
}

/** Levenshtein: letters to insert, delete or change, without regard to case. */
function distance(one: string, other: string): number {
  const left = one.slice(0, LETTERS_MAX).toLowerCase();
  const right = other.slice(0, LETTERS_MAX).toLowerCase();
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let from = 1; from <= left.length; from += 1) {
    const next = [from];
    for (let to = 1; to <= right.length; to += 1) {
      const change = (row[to - 1] ?? 0) + (left[from - 1] === right[to - 1] ? 0 : 1);
      next.push(Math.min(change, (row[to] ?? 0) + 1, (next[to - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
