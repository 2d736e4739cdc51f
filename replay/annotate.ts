// SPDX-License-Identifier: Apache-2.0
/** A capture once more, with what was found of each frame as comments and with the packets as the model sends them. */
import { basename } from 'node:path';
import type { CaptureRecord } from '../formats/capture.ts';
import { LINK_ETHERNET } from '../formats/link.ts';
import { SIGHTING_WINDOW_NS } from './attribute.ts';
import type { PacketLine } from './lines.ts';
import type { Watch } from './watch.ts';

/** What a block of a file holds of them. */
const COMMENTS_MAX = 64;
/** Letters of an interface's name. */
const NAME_MAX = 60;

/** What a writer of pcapng offers. */
export type FrameWriter = {
  readonly addInterface: (described: { readonly linkType: number; readonly name?: string }) => number;
  readonly write: (frame: {
    readonly seconds: number;
    readonly nanoseconds: number;
    readonly bytes: Uint8Array;
    readonly originalLength: number;
    readonly interfaceId: number;
    readonly comments?: readonly string[];
  }) => void;
};

/** A frame that waits until nothing more can be said of it. */
type Waiting = {
  readonly timeNs: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly bytes: Uint8Array;
  readonly originalLength: number;
  readonly interfaceId: number;
  readonly comments: string[];
  /** As the model sends it, with a comment. */
  readonly translated: { readonly bytes: Uint8Array; readonly comment: string }[];
};

export type Annotator = {
  readonly watch: Watch;
  readonly line: (line: PacketLine) => void;
  /** Writes what still waits. */
  readonly finish: () => void;
};

/** Frames wait as long as a packet may be seen again: memory holds so much of a capture and no more. */
export function createAnnotator(writer: FrameWriter): Annotator {
  const waiting = new Map<string, Waiting>();
  const interfaces = new Map<string, number>();

  function interfaceOf(name: string, linkType: number): number {
    const key = `${name} ${linkType}`;
    const known = interfaces.get(key) ?? writer.addInterface({ linkType, name });
    interfaces.set(key, known);
    return known;
  }

  function take(file: string, record: CaptureRecord, timeNs: number): void {
    writeBefore(timeNs - SIGHTING_WINDOW_NS);
    const { bytes, frame, linkType, nanoseconds, originalLength, seconds } = record;
    const interfaceId = interfaceOf(basename(file).slice(0, NAME_MAX), linkType);
    const kept = { timeNs, seconds, nanoseconds, bytes: bytes.slice(), originalLength, interfaceId };
    waiting.set(keyOf(file, frame), { ...kept, comments: [], translated: [] });
  }

  function writeBefore(timeNs: number): void {
    for (const [key, frame] of waiting) {
      if (frame.timeNs >= timeNs) break;
      waiting.delete(key);
      write(frame);
    }
  }

  function write({ bytes, comments, interfaceId, nanoseconds, originalLength, seconds, translated }: Waiting): void {
    const told = comments.length === 0 ? {} : { comments: comments.slice(0, COMMENTS_MAX) };
    writer.write({ seconds, nanoseconds, bytes, originalLength, interfaceId, ...told });
    for (const { bytes: sent, comment } of translated) {
      const model = interfaceOf('model', LINK_ETHERNET);
      const frame = { seconds, nanoseconds, bytes: sent, originalLength: sent.length };
      writer.write({ ...frame, interfaceId: model, comments: [comment] });
    }
  }

  function line(told: PacketLine): void {
    const { file, frame, model, observed } = told;
    const own = waiting.get(keyOf(file, frame));
    own?.comments.push(...commentsOf(told));
    if (model.verdict === 'forward' || model.verdict === 'reply') {
      const comment = `tandem: ${nameOf(file, frame)} as the model sends it`;
      own?.translated.push({ bytes: Uint8Array.from(Buffer.from(model.bytes, 'hex')), comment });
    }
    if (observed === null || observed.frame === frame) return;
    const again = `tandem: ${nameOf(file, observed.frame)} shows frame ${frame} again, ${observed.lagMs.toFixed(3)} ms later`;
    waiting.get(keyOf(file, observed.frame))?.comments.push(again);
  }

  return {
    watch: { record: take },
    line,
    finish: () => writeBefore(Infinity),
  };
}

/** Frames are numbered anew in what is written. */
function nameOf(file: string, frame: number): string {
  return `frame ${frame} of ${basename(file)}`;
}

function keyOf(file: string, frame: number): string {
  return `${file} ${frame}`;
}

/** One line each, as Wireshark shows them above the frame. */
function commentsOf(line: PacketLine): string[] {
  const { equal, file, frame, hook, kernel, model, observed, service, unsupported, verdict } = line;
  const about = service === null ? hook : `${hook}, ${service}`;
  const comments = [`tandem: ${nameOf(file, frame)}, ${about}: the model ${sideText(model)}`];
  if (equal === false && kernel !== null) comments.push(`tandem: THE KERNEL DIFFERS: ${sideText(kernel)}`);
  if (observed !== null) {
    const to = observed.backend === null ? '' : ` ${observed.backend}`;
    comments.push(`tandem: observed ${observed.verdict}${to}, frame ${observed.frame}`);
  }
  if (verdict !== undefined) comments.push(`tandem: ${verdict}`);
  if (unsupported !== undefined) comments.push(`tandem: not judged: ${unsupported}`);
  return comments;
}

function sideText({ verdict, backend, reason }: NonNullable<PacketLine['kernel']>): string {
  return [verdict, backend, `(${reason})`].filter((word) => word !== null).join(' ');
}
