// SPDX-License-Identifier: Apache-2.0
/** The options that choose connections of a recording, as they were written. */
import type { FilterWords } from '../replay/filter.ts';
import type { CommandOptions } from './commands.ts';

export function filterWords(options: CommandOptions): FilterWords {
  const wordOf = (name: string): string | undefined => {
    const word = options[name];
    return typeof word === 'string' ? word : undefined;
  };
  return { service: wordOf('service'), flow: wordOf('flow'), from: wordOf('from'), to: wordOf('to') };
}
