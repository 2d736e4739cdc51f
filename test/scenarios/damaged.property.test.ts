// SPDX-License-Identifier: Apache-2.0
/** Scenarios with anything in place of one of their words: nothing throws, and every way still comes to the same. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createStream, type Stream } from '../../core/random.ts';
import { readScenario } from '../../formats/scenario.ts';
import { playScenario, ways } from './expand.ts';
import { scenarioFiles } from './files.ts';

const WORD = /[\w.:/-]+|"[^"]*"|\[[^[\]]*\]|\{[^{}]*\}/g;
const ODD: readonly string[] = ['null', '[]', '{}', '-1', '1.5', '""', 'true', '99999', '[null]', '[[]]', 'x', '0'];

// Tables of Maglev take most of the time and have nothing to do with it.
const texts = scenarioFiles().flatMap(({ text }) => (text.includes('maglev') ? [] : [text]));
const words = texts.flatMap((text) => text.match(WORD) ?? []);

/** Another word at one place; places are drawn from all but the head. */
function damaged(stream: Stream): string {
  const text = stream.pick(texts);
  const from = text.indexOf('-- objects --');
  const place = stream.pick([...text.matchAll(WORD)].filter(({ index }) => index > from));
  const word = stream.chance(0.5) ? stream.pick(ODD) : stream.pick(words);
  return text.slice(0, place.index) + word + text.slice(place.index + place[0].length);
}

test('what stands in objects may be anything', () => {
  let played = 0;
  const property = fc.property(fc.nat(), (seed) => {
    const stream = createStream(seed, 8);
    const read = readScenario('damaged', damaged(stream));
    if (!read.ok) return;
    played += 1;
    const told = playScenario(read.value);
    const [name, way] = stream.pick(Object.entries(ways));
    for (const [index, there] of way(read.value).entries())
      if (there !== undefined) expect(there, name).toEqual(told[index]);
  });
  const runs = 200;
  fc.assert(property, { numRuns: runs });
  expect(played).toBeGreaterThan(runs / 10);
});
