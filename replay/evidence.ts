// SPDX-License-Identifier: Apache-2.0
/** Which of the three is wrong with one connection, datapath, control plane or neither, and what shows it. */
import { endpointText } from '../core/address.ts';
import type { TimedEvent } from '../formats/events.ts';
import { retransmissionsText, type Connection } from './connections.ts';
import { choiceText, eventText, spanText, STALE_WINDOW_NS, verdictText } from './judge.ts';
import type { Path } from './path.ts';
import type { Blame } from './summary.ts';
import type { Finding } from './tally.ts';

export type TraceVerdict = { readonly blame: Blame; readonly text: string };

/** `difference`: of the twins, somewhere in the recording. */
export function verdictOf(
  connection: Connection,
  events: readonly TimedEvent[],
  path: Path,
  difference: Finding | undefined,
): TraceVerdict {
  const { kernel, model, notJudged, verdict } = connection;
  if (kernel !== undefined && model !== undefined && choiceText(kernel) !== choiceText(model)) {
    const text = `datapath wrong: model ${choiceText(model)}, kernel ${choiceText(kernel)} for the same packet and maps`;
    return { blame: 'datapath-wrong', text };
  }
  if (difference !== undefined && difference.flow === connection.flow) {
    const { field, frame, model: mine, other } = difference;
    return {
      blame: 'datapath-wrong',
      text: `datapath wrong: frame ${frame}, ${field}: model ${mine}, kernel ${other}`,
    };
  }
  if (notJudged !== undefined || verdict === undefined) {
    return { blame: 'not-judged', text: `none: ${verdictText(connection, events)}` };
  }
  const went = wentText(connection);
  switch (verdict.kind) {
    case 'never': {
      if (connection.isOwnSource) {
        return { blame: 'datapath-wrong', text: `datapath wrong: ${went}; ${verdictText(connection, events)}` };
      }
      const why = verdictText(connection, events);
      const dead = `datapath wrong, or its control plane dead for ${STALE_WINDOW_NS / 1e9} s`;
      return { blame: 'datapath-wrong', text: `${dead}: ${went}; ${why}` };
    }
    case 'stale': {
      const ended = events[verdict.endedBy];
      const event = ended === undefined ? 'an event' : eventText(ended);
      const what = `${went}, which ${event} had ended ${spanText(verdict.staleNs)} before`;
      const { applied } = connection;
      if (applied !== undefined) {
        const proof = `the node had acted on that by frame ${applied.frame}`;
        return { blame: 'datapath-wrong', text: `datapath wrong: ${what}; ${proof}` };
      }
      const text = `control plane late: ${what}`;
      return { blame: 'control-plane-late', text };
    }
    default:
      return { blame: 'neither', text: `neither datapath nor control plane: ${went}, ${restText(connection, path)}` };
  }
}

function wentText({ backend, reply }: Connection): string {
  if (backend !== undefined) return `sent to ${endpointText(backend.address, backend.port)}`;
  return reply === 'refused' ? 'refused' : 'let go unanswered';
}

function restText(connection: Connection, { passages }: Path): string {
  const { datagrams, reply } = connection;
  switch (reply) {
    case 'answered': {
      const errors = datagrams === undefined ? 0 : datagrams.unreachable + datagrams.refused;
      const rest = errors === 0 ? '' : `; ${errors} ICMP errors as well: look at the application`;
      const repeated = retransmissionsText(connection);
      const network = repeated === '' ? '' : `; ${repeated}: look at the network`;
      return `which was permitted, and answered${rest}${network}`;
    }
    case 'refused':
      return 'rightly: nobody was eligible';
    case 'reset':
      return 'which was permitted; whoever answered there reset it: look at the application, or at who has that address now';
    case 'unreachable':
      return 'which was permitted; an ICMP error came back: look at the network';
    case 'none': {
      const replies = passages.filter(({ direction }) => direction === 'reply').length;
      const seen = replies === 0 ? 'no reply reached this node' : `${replies} replies got lost on this node`;
      return `which was permitted; ${seen}: look at the network or the application`;
    }
  }
}
