// SPDX-License-Identifier: Apache-2.0
/** What would have changed, as text. */
import type { Otherwise } from './whatif.ts';

const ROWS_MAX = 30;

export type WhatIf = {
  readonly kind: 'WhatIf';
  /** `EndpointSlice shop/web-1 MODIFIED (line 16) had not been heard`. */
  readonly changes: readonly string[];
  /** The verdict on the recording as a whole. */
  readonly verdict: { readonly was: string; readonly wouldBe: string };
  readonly connections: number;
  readonly otherwise: readonly Otherwise[];
};

export function whatIfText({ changes, connections, otherwise, verdict }: WhatIf): string {
  const isMoved = ({ choice }: Otherwise): boolean => choice.was !== choice.wouldBe;
  const isJudged = ({ permission }: Otherwise): boolean => permission.was !== permission.wouldBe;
  return [
    `what if ${changes.join(', and ')}`,
    `  verdict now:  ${verdict.was}`,
    `  verdict then: ${verdict.wouldBe}`,
    '',
    `connections          ${String(connections).padStart(7)}`,
    `  otherwise chosen   ${String(otherwise.filter(isMoved).length).padStart(7)}  by the model`,
    `  otherwise judged   ${String(otherwise.filter(isJudged).length).padStart(7)}  of what was observed`,
    '',
    ...(otherwise.length === 0 ? ['nothing would have changed'] : otherwise.slice(0, ROWS_MAX).map(rowText)),
    ...(otherwise.length > ROWS_MAX ? [`  and ${otherwise.length - ROWS_MAX} more`] : []),
    '',
  ].join('\n');
}

function rowText({ at, choice, file, flow, frame, permission, service }: Otherwise): string {
  const lines = [`  ${at.slice(11, 26)} ${service} ${flow} (${file} frame ${frame})`];
  if (choice.was !== choice.wouldBe) lines.push(`    model: ${choice.was}; then: ${choice.wouldBe}`);
  if (permission.was !== permission.wouldBe) lines.push(`    ${permission.was}; then: ${permission.wouldBe}`);
  return lines.join('\n');
}
