// SPDX-License-Identifier: Apache-2.0
/** Which Services somebody may have meant who gave a name that there is not. */
import { editDistance } from '../../formats/distance.ts';

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

/** Without regard to case. */
function distance(one: string, other: string): number {
  return editDistance(one.slice(0, LETTERS_MAX).toLowerCase(), other.slice(0, LETTERS_MAX).toLowerCase());
}
