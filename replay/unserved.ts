// SPDX-License-Identifier: Apache-2.0
/** Which frontends this build has no hooks for, remembered between two events: the same few are asked for all the time. */
import { addressEquals, port, type Address } from '../core/address.ts';
import type { Answer, Question } from '../core/oracle/answer.ts';
import type { NotJudged } from './connections.ts';
import type { Headers } from './headers.ts';

type Reason = NotJudged | undefined;
type Known = {
  readonly destination: Address;
  readonly port: number;
  readonly protocol: number;
  readonly reason: Reason;
};

export type Unserved = {
  readonly reasonOf: (headers: Headers, answerTo: (question: Question) => Answer) => Reason;
  /** Something has changed. */
  readonly forget: () => void;
};

/** A power of two. */
const ANSWERS_KEPT = 1024;

export function createUnserved(): Unserved {
  let kept: (Known | undefined)[] = [];

  function forget(): void {
    if (kept.length > 0) kept = [];
  }

  function reasonOf(headers: Headers, answerTo: (question: Question) => Answer): Reason {
    const { destination, destinationPort, protocol } = headers;
    const at = (destination.d ^ destination.c ^ Math.imul(destinationPort, 31) ^ protocol) & (ANSWERS_KEPT - 1);
    const known = kept[at];
    if (known !== undefined && known.port === destinationPort && known.protocol === protocol)
      if (addressEquals(known.destination, destination)) return known.reason;
    const answer = answerTo({ client: 'pod', address: destination, protocol, port: port(destinationPort) });
    const reason = answer.kind === 'unsupported' ? answer.reason : undefined;
    if (kept.length === 0) kept = Array.from({ length: ANSWERS_KEPT }, () => undefined);
    kept[at] = { destination, port: destinationPort, protocol, reason };
    return reason;
  }

  return { reasonOf, forget };
}
