// SPDX-License-Identifier: Apache-2.0
/** `tandem compile --watch-stream`: what each event of a stream changed, in order. */
import { changeLines } from '../../core/control/tell/changetext.ts';
import { isUnchanged } from '../../core/control/tell/changes.ts';
import type { DocumentConfig } from '../../core/control/tell/document.ts';
import { createFollower } from '../../core/control/tell/follow.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import type { TimedEvent } from '../../formats/events.ts';
import { instantText } from '../../formats/instant.ts';
import { printNdjson, printText } from '../output.ts';
import type { ClusterInput } from './inputs.ts';

type Told = { readonly type: string; readonly kind: string; readonly object: string | null };

/** Manifests are what there is before the first event; they are not told. */
export function watchStream({ manifests, events }: ClusterInput, config: DocumentConfig, format: string): void {
  const follower = createFollower(config);
  for (const { object } of manifests) follower.event({ type: 'ADDED', object });
  let changed = 0;
  for (const timed of events) {
    const changes = follower.event(timed.event);
    if (isUnchanged(changes)) continue;
    changed += 1;
    const at = atText(timed);
    const told = toldOf(timed.event);
    const { file, line } = timed;
    if (format === 'ndjson') printNdjson({ kind: 'EventChanges', at, file, line, event: told, changes });
    else printText(blockText(timed, told, changeLines(changes)));
  }
  const { services, frontends } = follower.totals();
  const unchanged = events.length - changed;
  if (format === 'ndjson')
    printNdjson({ kind: 'ChangesSummary', events: events.length, changed, unchanged, services, frontends });
  else
    printText(
      `+ may get new connections now, - no longer, ~ as before but changed, . neither before nor now
${events.length} events: ${changed} changed something, ${unchanged} nothing; at the end ${services} Services with ${frontends} frontends`,
    );
}

/** null: nothing says when. */
function atText({ seconds, nanoseconds }: TimedEvent): string | null {
  return seconds === 0 && nanoseconds === 0 ? null : instantText({ seconds, nanoseconds });
}

function toldOf(event: ClusterEvent): Told {
  if (!('object' in event)) return { type: event.type, kind: event.kind, object: null };
  const { kind, metadata } = event.object;
  const name = metadata?.name ?? '';
  const object = kind === 'Node' ? name : `${metadata?.namespace ?? ''}/${name}`;
  return { type: event.type, kind, object };
}

function blockText(timed: TimedEvent, { type, kind, object }: Told, lines: readonly string[]): string {
  const { event, file, line } = timed;
  const many = event.type === 'LISTED' ? ` (${event.items.length} objects)` : '';
  const why = event.type === 'DISCONNECTED' && event.reason !== '' ? `: ${event.reason}` : '';
  const heading = `${atText(timed) ?? '(no time)'}  ${type} ${kind}${object === null ? '' : ` ${object}`}${many}${why}`;
  return [`${heading}  [${file} line ${line}]`, ...lines.map((one) => `  ${one}`), ''].join('\n');
}
