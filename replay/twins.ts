// SPDX-License-Identifier: Apache-2.0
/** Both twins side by side: each event programs both, each frame runs through both, and the outcomes are compared. */
import { endpointText } from '../core/address.ts';
import { reasonNames, VERDICT_FORWARD, verdictNames } from '../core/layout.gen.ts';
import type { ClusterEvent } from '../core/objects.ts';
import { assert, failureText, type Failure } from '../core/result.ts';
import { emptyOutcome, type Outcome, type Outside, type PacketHook, type Twin } from '../core/twin.ts';
import { compareOutcomes, compareTables, hexText, type Difference } from './compare.ts';
import { endsOf } from './frame.ts';

/** A twin and what brings an event into its maps; what could not be brought in is returned. */
export type ReplayTwin = {
  readonly twin: Twin;
  readonly program: (event: ClusterEvent) => readonly Failure[];
  /** Map writes of the last event; undefined: nobody counts them. */
  readonly writes?: () => number;
};

/** One outcome as it is printed. */
export type OutcomeRecord = {
  readonly verdict: string;
  readonly reason: string;
  readonly backend: string | null;
  readonly bytes: string;
};

/** `model` is reused by the next run: copy what must last. `difference` is undefined where nothing was compared. */
export type Ran = {
  readonly model: Outcome;
  readonly kernel: Outcome | undefined;
  readonly difference: Difference | undefined;
};

export type Twins = {
  /** Returns how many map writes it took the model's control plane, where they are counted. */
  readonly program: (event: ClusterEvent) => number;
  readonly run: (hook: PacketHook, bytes: Uint8Array, outside: Outside) => Ran;
  /** Differences of what has been written so far; undefined: none, or no kernel. */
  readonly compareTables: () => Difference | undefined;
  readonly compared: () => number;
  readonly differences: () => number;
  /** What the twins' maps could not take, by its text, with counts. */
  readonly failures: () => ReadonlyMap<string, number>;
};

export function createTwins(model: ReplayTwin, kernel: ReplayTwin | undefined): Twins {
  const modelOutcome = emptyOutcome();
  const kernelOutcome = emptyOutcome();
  const failures = new Map<string, number>();
  const ranAlone: Ran = { model: modelOutcome, kernel: undefined, difference: undefined };
  let compared = 0;
  let differences = 0;

  function note(twin: Twin, failure: Failure): void {
    const text = `${twin.name}: ${failureText(failure)}`;
    failures.set(text, (failures.get(text) ?? 0) + 1);
  }

  function program(event: ClusterEvent): number {
    for (const one of kernel === undefined ? [model] : [model, kernel]) {
      for (const failure of one.program(event)) note(one.twin, failure);
    }
    return model.writes?.() ?? 0;
  }

  function run(hook: PacketHook, bytes: Uint8Array, outside: Outside): Ran {
    const modelled = model.twin.packet(hook, bytes, outside, modelOutcome);
    assert(modelled.ok, 'the model takes every frame');
    if (kernel === undefined) return ranAlone;
    const asked = kernel.twin.packet(hook, bytes, outside, kernelOutcome);
    // A frame that the kernel's test run can't take is not compared; every other failure is a finding.
    if (!asked.ok && asked.error.kind === 'limit') {
      note(kernel.twin, asked.error);
      return { model: modelOutcome, kernel: undefined, difference: undefined };
    }
    compared += 1;
    const difference = asked.ok
      ? compareOutcomes(modelOutcome, kernelOutcome)
      : { field: 'outcome', model: nameOf(verdictNames, modelOutcome.verdict), kernel: failureText(asked.error) };
    if (difference !== undefined) differences += 1;
    return { model: modelOutcome, kernel: asked.ok ? kernelOutcome : undefined, difference };
  }

  return {
    program,
    run,
    compareTables: () => (kernel === undefined ? undefined : compareTables(model.twin, kernel.twin)),
    compared: () => compared,
    differences: () => differences,
    failures: () => failures,
  };
}

/** `10.0.0.1:8080` where the outcome forwards; undefined also where the packet shows no ports. */
export function backendOf(outcome: Outcome): string | undefined {
  if (outcome.verdict !== VERDICT_FORWARD) return undefined;
  const ends = endsOf(outcome.bytes.subarray(0, outcome.length));
  return ends && endpointText(ends.destination, ends.destinationPort);
}

export function verdictOf({ verdict }: Outcome): string {
  return nameOf(verdictNames, verdict);
}

export function reasonOf({ reason }: Outcome): string {
  return nameOf(reasonNames, reason);
}

/** A copy that lasts. `repliedBackend`: whom a reply comes from, which its bytes no longer say. */
export function recordOf(outcome: Outcome, repliedBackend: string | undefined): OutcomeRecord {
  return {
    verdict: verdictOf(outcome),
    reason: reasonOf(outcome),
    backend: backendOf(outcome) ?? repliedBackend ?? null,
    bytes: hexText(outcome.bytes.subarray(0, outcome.length)),
  };
}

function nameOf(names: readonly string[], value: number): string {
  return names[value] ?? String(value);
}
