// SPDX-License-Identifier: Apache-2.0
/** What of a recording is put on the wire again: the packets of its clients and the answers to them, in order of time. */
import { TCP, UDP } from '../../core/address.ts';
import { CHECKSUM_MODE_PARTIAL, VERDICT_REPLY } from '../../core/layout.gen.ts';
import { fail, ok, type Result } from '../../core/result.ts';
import { addNanoseconds, instantText, type Instant } from '../../formats/instant.ts';
import { isKnownLinkType, KNOWN_LINK_TYPES } from '../../formats/link.ts';
import { isEmptyFilter, isLineWanted, type Filter } from '../../replay/filter.ts';
import { ETHERNET_BYTES } from '../../replay/frame.ts';
import { readHeaders, type Headers } from '../../replay/headers.ts';
import { momentOf } from '../../replay/lines.ts';
import type { PacketPlace } from '../../replay/tally.ts';
import type { Asked, Watch } from '../../replay/watch.ts';
import type { PartialChecksum } from '../../lab/inject.ts';

/** A frame that is sent, and where it stands in the recording. */
export type Shot = {
  readonly file: string;
  readonly frame: number;
  readonly timeNs: number;
  readonly service: string;
  readonly flow: string;
  /** `answer`: what the backend that the model has chosen would have sent. */
  readonly is: 'request' | 'answer';
  readonly bytes: Uint8Array;
  readonly headers: Headers;
  /** Of an answer: what the model makes of it for the client. */
  readonly translated: Uint8Array | undefined;
  /** Left to whoever sends the packet on, as in the recording. */
  readonly checksum: PartialChecksum | undefined;
};

export type Script = {
  /** Of the times. */
  readonly origin: Instant;
  readonly shots: readonly Shot[];
  /** A device of the lab would not take them. */
  readonly tooLarge: { readonly count: number; readonly first: string };
};

/** All of them are kept in memory, with what is captured of them. */
export const SHOTS_MAX = 100_000;
/** Of the lab's devices. */
export const MTU = 1500;

const CHECKSUM_IN_TCP = 16;
const CHECKSUM_IN_UDP = 6;

export type Scribe = {
  /** Looks on while a recording is replayed. */
  readonly watch: Watch;
  readonly finish: (files: readonly string[]) => Result<Script>;
};

export function createScribe(filter: Filter): Scribe {
  const shots: Shot[] = [];
  const tooLarge = { count: 0, first: '' };
  let origin: Instant | undefined;
  let wanted = 0;
  let unknownLink: { readonly file: string; readonly linkType: number } | undefined;

  function take({ bytes, outside, place, ran }: Asked): void {
    const { file, flow, frame, hook, service, timeNs } = place;
    const isReply = ran.model.verdict === VERDICT_REPLY;
    if (service === null || flow === null || (hook !== 'from-pod' && !isReply)) return;
    if (origin === undefined || !isShotWanted(place, origin, filter)) return;
    const headers = readHeaders(bytes, ETHERNET_BYTES);
    if (headers === undefined) return;
    if (outside.gsoSize > 0 || bytes.length > MTU + ETHERNET_BYTES) {
      tooLarge.count += 1;
      if (tooLarge.count === 1) tooLarge.first = `${file} frame ${frame}: ${headers.length} bytes`;
      return;
    }
    wanted += 1;
    if (wanted > SHOTS_MAX) return;
    const checksum = outside.checksumMode === CHECKSUM_MODE_PARTIAL ? partialOf(headers) : undefined;
    const is = isReply ? 'answer' : 'request';
    const { bytes: given, length } = ran.model;
    const translated = isReply ? Uint8Array.from(given.subarray(0, length)) : undefined;
    shots.push({
      file,
      frame,
      timeNs,
      service,
      flow,
      is,
      bytes: Uint8Array.from(bytes),
      headers,
      translated,
      checksum,
    });
  }

  function finish(files: readonly string[]): Result<Script> {
    const name = files.join(' ');
    if (wanted > SHOTS_MAX) {
      const message = `${wanted} packets of Services are more than the ${SHOTS_MAX} that are injected at once`;
      return fail('input', name, message, 'choose with --service, --flow, --from and --to');
    }
    if (shots.length === 0 && unknownLink !== undefined) {
      const { file, linkType } = unknownLink;
      return fail('input', file, `link type ${linkType} is not known`, `known are ${KNOWN_LINK_TYPES}`);
    }
    if (shots.length === 0 || origin === undefined) {
      const why = tooLarge.count > 0 ? `, but for ${tooLarge.count} that are too large` : '';
      const remedy = isEmptyFilter(filter)
        ? 'capture the devices of pods, where clients are'
        : 'look again at the filters';
      return fail('input', name, `holds no packet of a client to a Service that could be sent again${why}`, remedy);
    }
    return ok({ origin, shots, tooLarge });
  }

  return {
    watch: {
      record: (file, record, timeNs) => {
        origin ??= addNanoseconds(record, -timeNs);
        if (!isKnownLinkType(record.linkType)) unknownLink ??= { file, linkType: record.linkType };
      },
      asked: take,
    },
    finish,
  };
}

function isShotWanted({ flow, service, timeNs }: PacketPlace, origin: Instant, filter: Filter): boolean {
  if (isEmptyFilter(filter)) return true;
  return isLineWanted({ at: instantText(momentOf(origin, timeNs)), flow, service }, filter);
}

function partialOf({ protocol, transportOffset }: Headers): PartialChecksum | undefined {
  if (protocol !== TCP && protocol !== UDP) return undefined;
  const offset = protocol === TCP ? CHECKSUM_IN_TCP : CHECKSUM_IN_UDP;
  return { start: ETHERNET_BYTES + transportOffset, offset };
}
