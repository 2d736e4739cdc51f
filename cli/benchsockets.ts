// SPDX-License-Identifier: Apache-2.0
/** `tandem bench sockets`: what hooks add to socket calls, beside no hook and hooks that do next to nothing. */
import {
  benchSockets,
  variants,
  type BenchCall,
  type CallFigure,
  type SocketFigures,
  type Variant,
  type VariantFigure,
} from '../bench/sockets.ts';
import type { Spread } from '../bench/statistics.ts';
import type { CommandOptions } from './commands.ts';
import { exitCode, printJson, printText, reportFailure, startProgress } from './output.ts';

const ROUNDS = 61;
const GOALS = { transactionRatio: 0.97 };

const CALL_TEXT: { readonly [call in BenchCall]: string } = {
  transaction: 'TCP exchange, all Services in turn',
  'transaction-one': 'TCP exchange, one Service',
  'tcp-connect': 'TCP connect(), new socket',
  'udp-connect': 'UDP connect(), new socket',
  'udp-reconnect': 'UDP connect(), the same socket again',
  'udp-send-first': 'UDP sendto(), new socket',
  'udp-send': 'UDP sendto(), the same socket again',
  'udp-receive': 'UDP recvfrom() of the answer',
  'tcp-peer': 'getpeername() of TCP',
  'udp-peer': 'getpeername() of UDP',
};

const VARIANT_TEXT: { readonly [variant in Variant]: string } = {
  none: 'to the backend, no hook',
  empty: 'to the backend, empty hook',
  lookup: 'to the backend, hook with one hash lookup',
  stranger: "to the backend, tandem's hooks (no Service)",
  service: "to the Service, tandem's hooks",
};

function whole({ median, low, high }: Spread): string {
  return `${Math.round(median)} (${Math.round(low)} to ${Math.round(high)})`;
}

function ratioLine(call: BenchCall, variant: Variant, { ns, ratio }: VariantFigure): string {
  const verdict = ratio.median >= GOALS.transactionRatio ? 'met' : 'MISSED';
  const quarters = `${ratio.low.toFixed(3)} to ${ratio.high.toFixed(3)}`;
  const judged = variant === 'service' ? [String(GOALS.transactionRatio), verdict] : ['', ''];
  const cells = [CALL_TEXT[call], VARIANT_TEXT[variant], whole(ns), ratio.median.toFixed(3), quarters, ...judged];
  return `| ${cells.join(' | ')} |`;
}

function ratioLines({ call, variants: figures }: CallFigure): readonly string[] {
  return call === 'transaction' || call === 'transaction-one'
    ? variants.map((variant) => ratioLine(call, variant, figures[variant]))
    : [];
}

function callLine({ call, variants: figures }: CallFigure): string {
  const { none, empty, lookup, stranger, service } = figures;
  const cells = [whole(none.ns), ...[empty, lookup, stranger, service].map(({ priceNs }) => whole(priceNs))];
  return `| ${CALL_TEXT[call]} | ${cells.join(' | ')} |`;
}

/** The tables, with goals beside figures. */
export function socketsText({ rounds, services, calls, trouble }: SocketFigures): string {
  const { retransmissions, listenDrops, timeWaits } = trouble;
  return [
    `${services.toLocaleString('en-US')} Services, TCP and UDP, IPv4, on the loopback device of a network namespace; client and`,
    `backends are processes on one CPU, the client alone in the cgroup. Medians of ${rounds} rounds, in each of which every line and`,
    'column has its turn; in parentheses the quarter and three-quarter points.',
    '',
    '| socket, connect, request, answer, close | to | ns | ratio to no hook, paired | quarters | goal | |',
    '|---|---|---|---|---|---|---|',
    ...calls.flatMap(ratioLines),
    '',
    '| ns a call | no hook | + empty hook | + one lookup | + tandem, no Service | + tandem, Service |',
    '|---|---|---|---|---|---|',
    ...calls.map(callLine),
    '',
    "+: the difference to no hook in the same round. Every answer was checked to be a backend's.",
    `TCP: ${retransmissions} retransmissions, ${listenDrops} connections dropped by listeners, ${timeWaits} ports in TIME_WAIT.`,
  ].join('\n');
}

/** Measures and prints. */
export async function reportSockets(object: string, services: number, options: CommandOptions): Promise<number> {
  const { rounds: wanted } = options;
  const rounds = typeof wanted === 'number' ? Math.max(1, wanted) : ROUNDS;
  const progress = startProgress();
  const figures = await benchSockets({
    object,
    services,
    rounds,
    onRound: (round) => progress.update(round < 0 ? 'warming up' : `round ${round + 1} of ${rounds}`),
  });
  progress.done();
  if (!figures.ok) return reportFailure(figures.error);
  if (options['output'] === 'json') printJson({ kind: 'BenchSockets', goals: GOALS, ...figures.value });
  else printText(socketsText(figures.value));
  return exitCode.agreed;
}
