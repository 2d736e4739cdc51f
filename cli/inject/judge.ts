// SPDX-License-Identifier: Apache-2.0
/** What came out of the kernel for each packet that was sent, beside what the model makes of it: verdict, backend, bytes. */
import type { Sighting } from '../../replay/attribute.ts';
import { flowText, type Headers } from '../../replay/headers.ts';
import type { ObservedRecord, PacketLine } from '../../replay/lines.ts';
import type { Watch } from '../../replay/watch.ts';
import type { Shot } from './script.ts';
import { createWires, type Wires } from './wire.ts';

/** One packet that was sent. */
export type InjectedPacket = {
  /** Where it stands in the recording. */
  readonly file: string;
  readonly frame: number;
  readonly is: Shot['is'];
  readonly service: string;
  readonly flow: string;
  /** What the model says of it, in the lab; null: its devices never showed it. */
  readonly model: { readonly verdict: string; readonly reason: string; readonly backend: string | null } | null;
  /** What the kernel sent on; null: nothing came out. */
  readonly wire: Pick<ObservedRecord, 'verdict' | 'backend' | 'lagMs'> | null;
  /** null: nothing tells. */
  readonly equal: boolean | null;
  /** What is not equal, in words. */
  readonly difference: string | null;
  /** Of packets that ask for a connection: whether the oracle permits it, and its verdict with the event. */
  readonly permitted: boolean | null;
  readonly verdict: string | null;
};

export type Bench = {
  readonly watch: Watch;
  readonly line: (line: PacketLine) => void;
  /** In the order of the recording. */
  readonly finish: () => readonly InjectedPacket[];
};

export function createBench(shots: readonly Shot[]): Bench {
  const waiting = new Map<string, number[]>();
  for (const [index, shot] of shots.entries()) {
    const key = keyOf(shot.headers);
    const same = waiting.get(key);
    if (same === undefined) waiting.set(key, [index]);
    else same.push(index);
  }
  const byFrame = new Map<number, number>();
  const wires = createWires();
  const seen = new Set<number>();
  const told = new Map<number, InjectedPacket>();

  /** Each packet comes in once: equal ones are told apart by their order. */
  function note({ frame, headers, place }: Sighting, isFirst: boolean): void {
    if (place.direction === 'outgoing') {
      if (isFirst && place.role === 'pod') wires.noteOwn(frame);
      return;
    }
    const index = waiting.get(keyOf(headers))?.shift();
    if (index === undefined) return;
    seen.add(index);
    byFrame.set(frame, index);
  }

  function tell(line: PacketLine): void {
    const index = byFrame.get(line.frame);
    const shot = index === undefined ? undefined : shots[index];
    if (index === undefined || shot === undefined) return;
    // The pod's own device meets an answer first, and lets it pass; a client's packet is decided there.
    if (shot.is === 'request' && told.has(index)) return;
    const { backend, reason, verdict } = line.model;
    told.set(index, {
      ...aboutOf(shot),
      model: { verdict, reason, backend },
      ...compare(shot, line, wires),
      permitted: line.permitted,
      verdict: line.verdict ?? null,
    });
  }

  return {
    watch: {
      record: (_file, record, timeNs) => wires.keep(record, timeNs),
      frame: (sighting, packet) => note(sighting, packet.first === sighting),
    },
    line: tell,
    finish: () => shots.map((shot, index) => told.get(index) ?? untold(shot, seen.has(index))),
  };
}

/** What no hook changes on the way to it. */
function keyOf(headers: Headers): string {
  const { digest, flags, fragmentOffset, identification, payloadLength, sequence } = headers;
  return [flowText(headers), sequence, flags, payloadLength, identification, fragmentOffset, digest].join(' ');
}

function aboutOf({
  file,
  flow,
  frame,
  is,
  service,
}: Shot): Pick<InjectedPacket, 'file' | 'flow' | 'frame' | 'is' | 'service'> {
  return { file, frame, is, service, flow };
}

/** No hook met it on its way out. */
function untold(shot: Shot, isSeen: boolean): InjectedPacket {
  const nothing = { model: null, wire: null, permitted: null, verdict: null };
  const judged = isSeen
    ? { equal: false, difference: 'it came in, and no pod got it' }
    : { equal: null, difference: 'not seen on any device of the lab' };
  return { ...aboutOf(shot), ...nothing, ...judged };
}

type Compared = Pick<InjectedPacket, 'wire' | 'equal' | 'difference'>;

function compare(shot: Shot, { model, observed }: PacketLine, wires: Wires): Compared {
  const wire = observed && { verdict: observed.verdict, backend: observed.backend, lagMs: observed.lagMs };
  const bytes = Buffer.from(model.bytes, 'hex');
  const unequal = (difference: string): Compared => ({ wire, equal: false, difference });
  const equal = { wire, equal: true, difference: null };
  if (model.verdict === 'refuse') {
    // Of packets that open nothing the replay does not look for the refusal.
    if (wires.takeOwn(bytes)) return { ...equal, wire: wire ?? { verdict: 'refuse', backend: null, lagMs: 0 } };
    return unequal(
      `the model refuses, the kernel ${wire === null ? 'sends no such refusal' : `has made it ${wire.verdict}`}`,
    );
  }
  if (model.verdict === 'drop') return observed === null ? equal : unequal(`the model drops it, the kernel does not`);
  if (observed === null) {
    // What passes may be for the node itself, but for answers.
    if (model.verdict === 'pass' && shot.is === 'request') return { wire, equal: null, difference: null };
    return unequal(`the model makes it ${model.verdict}, nothing came out of the kernel`);
  }
  if (model.verdict !== 'pass' && model.verdict !== observed.verdict) {
    return unequal(`the model makes it ${model.verdict}, the kernel ${observed.verdict}`);
  }
  if (model.verdict === 'forward' && model.backend !== null && model.backend !== observed.backend) {
    return unequal(`the model sends it to ${model.backend}, the kernel to ${observed.backend ?? 'nobody'}`);
  }
  // A replay reads an answer from what came out: what went in is in the script alone.
  const wanted = model.verdict === 'reply' ? (shot.translated ?? bytes) : bytes;
  const difference = wires.differenceAt(observed.frame, wanted);
  return difference === undefined ? equal : unequal(difference);
}
