// SPDX-License-Identifier: Apache-2.0
/** `tandem replay --emit-case FILE`: what the twins were fed, kept while a recording is replayed, as a case. */
import { writeFileSync } from 'node:fs';
import type { ClusterEvent } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { isAbout } from '../replay/clusterat.ts';
import { isEmptyFilter, isLineWanted, type Filter } from '../replay/filter.ts';
import { momentOf } from '../replay/lines.ts';
import type { Finding, PacketPlace, Tally } from '../replay/tally.ts';
import type { Watch } from '../replay/watch.ts';
import { instantText } from '../formats/instant.ts';
import type { PacketStep } from '../proof/traffic/packets.ts';
import { errorName } from '../formats/input.ts';
import type { RecordedCase, RecordedStep } from './recordedcase.ts';
import type { ReplayFiles } from './replayfiles.ts';

/** More make no case that somebody reads or runs again and again. */
export const CASE_PACKETS_MAX = 50_000;

type Fed = { readonly place: PacketPlace; readonly packet: PacketStep } | { readonly event: ClusterEvent };

export type CaseRecorder = {
  readonly watch: Watch;
  /** Writes what was fed; the note says what it holds. */
  readonly write: (path: string, files: ReplayFiles, tally: Tally) => Promise<Result<string>>;
};

/** Keeps what the filter asks for. */
export function recordCase(filter: Filter): CaseRecorder {
  const fed: Fed[] = [];
  let packets = 0;
  const timeless = { ...filter, from: undefined, to: undefined };
  const watch: Watch = {
    event: ({ event }) => void fed.push({ event }),
    asked: ({ bytes, outside, place }) => {
      if (!isLineWanted({ flow: place.flow, service: place.service, at: '' }, timeless)) return;
      packets += 1;
      if (packets > CASE_PACKETS_MAX) return;
      fed.push({ place, packet: { hook: place.hook, frame: bytes.slice(), outside: { ...outside } } });
    },
  };
  return {
    watch,
    write: async (path, files, tally) => {
      if (packets > CASE_PACKETS_MAX) {
        const what = `${packets} packets, a case holds ${CASE_PACKETS_MAX}`;
        return fail('limit', `--emit-case ${path}`, what, 'choose with --service or --flow');
      }
      const { recordedText } = await import('./recordedcase.ts');
      const steps = stepsOf(fed, filter, tally);
      const { asNode, config, facts, seed } = files;
      const node = { ...config, nodeName: asNode ?? facts.name, addresses: facts.addresses };
      const recorded: RecordedCase = { seed, node, steps };
      return writeText(path, recordedText(recorded), steps);
    },
  };
}

function writeText(path: string, text: string, steps: readonly RecordedStep[]): Result<string> {
  try {
    writeFileSync(path, text);
  } catch (error) {
    return fail('usage', `--emit-case ${path}`, `cannot be written: ${errorName(error)}`);
  }
  const count = steps.filter((step) => 'frame' in step).length;
  return ok(
    `${path}: ${count} packets and ${steps.length - count} rounds of events; run it: ./tandem verify --case ${path}`,
  );
}

/** Events that follow each other are one step; nothing follows the packet that showed a difference. */
function stepsOf(fed: readonly Fed[], filter: Filter, tally: Tally): readonly RecordedStep[] {
  const wanted = fed.filter((one) => 'event' in one || isWithin(one.place, filter, tally));
  const end = tally.firstDifference === undefined ? -1 : wanted.findIndex((one) => isAt(one, tally.firstDifference));
  const last = end < 0 ? wanted.findLastIndex((one) => 'packet' in one) : end;
  const kept = wanted.slice(0, last + 1);
  const isTold = isEmptyFilter(filter) ? (): boolean => true : eventsFor(kept);
  const steps: RecordedStep[] = [];
  let events: ClusterEvent[] = [];
  for (const one of kept) {
    if ('event' in one) {
      const event = reduced(one.event, isTold);
      if (event !== undefined) events.push(event);
      continue;
    }
    if (events.length > 0) steps.push({ events });
    events = [];
    steps.push(one.packet);
  }
  return steps;
}

function isWithin({ flow, service, timeNs }: PacketPlace, filter: Filter, { origin }: Tally): boolean {
  return isLineWanted({ flow, service, at: instantText(momentOf(origin, timeNs)) }, filter);
}

function isAt(one: Fed, finding: Finding | undefined): boolean {
  if (!('place' in one) || finding === undefined) return false;
  return one.place.file === finding.file && one.place.frame === finding.frame && one.place.hook === finding.hook;
}

type IsTold = (event: ClusterEvent) => boolean;

/** What a filter leaves is about few Services: the rest of the cluster is not needed, nodes are. */
function eventsFor(kept: readonly Fed[]): IsTold {
  const names = new Set(kept.flatMap((one) => ('place' in one ? (one.place.service ?? '').split(' or ') : [])));
  const services = [...names].map((name) => name.split(':')[0] ?? name);
  return (event) => {
    const isNode = 'object' in event ? event.object.kind === 'Node' : event.type === 'LISTED' && event.kind === 'Node';
    return isNode || services.some((service) => isAbout(event, service));
  };
}

/** A list stays one, of what is told; nothing is programmed before there is one. */
function reduced(event: ClusterEvent, isTold: IsTold): ClusterEvent | undefined {
  if (event.type === 'LISTED') {
    const items = event.items.filter((object) => isTold({ type: 'ADDED', object }));
    return { ...event, items };
  }
  if (!('object' in event)) return event.type === 'BOOKMARK' ? undefined : event;
  return isTold(event) ? event : undefined;
}
