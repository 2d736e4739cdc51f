// SPDX-License-Identifier: Apache-2.0
/** A trace as text: one screen. */
import type { Trace } from './card.ts';

const NAME_WIDTH = 16;

/** `command` repeats it. */
export function traceText({ answers, at, file, flow, frame, service, timeline, verdict }: Trace, more: string): string {
  const questions = answers.flatMap(({ question, lines }, index) =>
    lines.map((line, row) => {
      const head = row === 0 ? `${String(index + 1).padStart(2)} ${question}` : '';
      return `${head.padEnd(NAME_WIDTH)}${line}`;
    }),
  );
  const moments = timeline.map((moment) => {
    const time = moment.at === '' ? '' : moment.at.slice(11, 26);
    return `  ${time.padEnd(16)} ${moment.text}`;
  });
  return [
    `${service} ${flow}`,
    `decided at ${at}, ${file} frame ${frame}`,
    `verdict: ${verdict.text}`,
    '',
    ...questions,
    '',
    'time line',
    ...moments,
    '',
    `more: ${more}`,
    '',
  ].join('\n');
}
