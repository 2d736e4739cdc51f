// SPDX-License-Identifier: Apache-2.0
/** Faults planted into the datapath of a lab node: the checks on real connections find each of them. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createJudge, type Judged } from '../../cli/demo/judge.ts';
import { startNode } from '../../cli/demo/node.ts';
import { applyEvent, longestInFlightNs, type Applied, type Family, type Scheduled } from '../../cli/demo/stream.ts';
import {
  ask,
  startVisitors,
  stopVisitors,
  visit,
  type Call,
  type Road,
  type Visit,
  type Visitor,
} from '../../cli/demo/visitors.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import type { Outcome } from '../../lab/wire.ts';
import { buildObject } from '../../tools/build.ts';
import { programStart, schedule, selectionKey, target, value, wrongChecksums } from './nodes.ts';

/** A fault of the C: a text of one file and what stands in its place; who connects to what, and how that ends. */
type Fault = {
  readonly what: string;
  readonly file: string;
  readonly text: string;
  readonly instead: string;
  readonly family?: Family;
  readonly from: Road;
  readonly to?: string;
  /** To a Service of UDP. */
  readonly call?: Call;
  readonly result: Outcome;
  /** Whether some pod counts a wrong checksum. */
  readonly counted: boolean;
};

const faults: readonly Fault[] = [
  {
    what: 'a pending checksum is mended as if it were complete',
    file: 'checksum.h',
    text: 'return checksum_fold((__u32)check + address_delta);',
    instead: 'return checksum_replace(check, address_delta + port_delta);',
    from: 'packet',
    result: 'timeout',
    counted: true,
  },
  {
    what: 'answers keep the address of the backend',
    file: 'verdict.h',
    text: 'delta += write_ipv4_address(ip, &ip->source, &translation->source);',
    instead:
      '{ __be32 old = ip->source; delta += write_ipv4_address(ip, &ip->source, &translation->source); ip->source = old; }',
    from: 'packet',
    result: 'timeout',
    // The header's own checksum is wrong then, and that is not the transport's to count.
    counted: false,
  },
  {
    what: 'a socket is sent to the right port of the wrong address',
    file: 'hook_sock.h',
    text: 'context->user_ip4 = address->words[3];',
    instead: '',
    from: 'socket',
    result: 'refused',
    counted: false,
  },
  {
    what: 'the four words of an IPv6 address are mended as if they were one',
    file: 'verdict.h',
    text: 'delta += checksum_address_delta(place->words[word], address->words[word]);',
    instead: 'delta = checksum_address_delta(place->words[word], address->words[word]);',
    family: 'IPv6',
    from: 'packet',
    result: 'timeout',
    counted: true,
  },
  {
    what: 'an ICMPv6 answer is summed without its pseudo-header',
    file: 'answer.h',
    text: 'icmp->check = ~checksum_fold(type + pseudo + sum);',
    instead: 'icmp->check = ~checksum_fold(type + (pseudo & 0) + sum);',
    family: 'IPv6',
    from: 'packet',
    to: 'shop/empty:http',
    result: 'timeout',
    counted: true,
  },
  {
    what: 'an IPv6 socket is sent to an address of which one word is the Service’s',
    file: 'hook_sock.h',
    text: 'context->user_ip6[3] = address->words[3];',
    instead: '',
    family: 'IPv6',
    from: 'socket',
    result: 'timeout',
    counted: false,
  },
  {
    what: 'a datagram’s checksum is one bit off',
    file: 'verdict.h',
    text: 'udp->check = checksum_datagram(udp->check, delta, ports, mode);',
    instead: 'udp->check = checksum_datagram(udp->check, delta, ports, mode) ^ 1;',
    from: 'packet',
    to: 'shop/dns:dns',
    call: 'unconnected',
    result: 'timeout',
    counted: true,
  },
  {
    what: 'a datagram is sent to the right port of the wrong address',
    file: 'hook_sock.h',
    text: 'context->user_ip4 = address->words[3];',
    instead: '',
    from: 'socket',
    to: 'shop/dns:dns',
    call: 'unconnected',
    result: 'timeout',
    counted: false,
  },
  {
    what: 'an answer shows the address of the backend',
    file: 'hook_sock.h',
    text: 'int sock_recvmsg4(struct bpf_sock_addr *context)\n{\n\treturn run_answer(context, false);',
    instead: 'int sock_recvmsg4(struct bpf_sock_addr *context)\n{\n\t(void)context;\n\treturn SOCK_GO_ON;',
    from: 'socket',
    to: 'shop/dns:dns',
    call: 'connected',
    result: 'answered',
    counted: false,
  },
];

/** The sweep finds sockets whose backend is gone, and leaves them as they are. */
const idleSweep: Pick<Fault, 'file' | 'text' | 'instead'> = {
  file: 'hook_iter.h',
  text: 'bpf_sock_destroy((struct sock_common *)udp);',
  instead: '',
};

/** Later than any change is in flight. */
const settledMs = 200;

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A change of the IPv4 slice of shop/dns. */
function isOfDns({ event }: Scheduled): boolean {
  return event.type === 'MODIFIED' && event.object.metadata?.name === 'dns-demo1';
}

describe('a datapath with a planted fault', () => {
  let folder = '';
  let lab: Lab;
  let visitors: Visitor[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tandem-node-test-'));
    lab = value(await startLab(twoNodes('labfault', { ipv6: true })));
    visitors = value(await startVisitors(lab, ['client1'], 1));
  });
  afterAll(async () => {
    await stopVisitors(visitors);
    rmSync(folder, { recursive: true });
    expect(await lab.stop()).toEqual({ ok: true, value: null });
  });

  function visitor(wanted: Road): Visitor {
    return visitors.find(({ road }) => road === wanted) ?? expect.unreachable(wanted);
  }

  function judged(visits: readonly Visit[], applied: readonly Applied[]): readonly Judged[] {
    const originNs = applied[0]?.beganNs ?? 0n;
    const judge = createJudge(lab.spec, applied, { originNs, inFlightNs: longestInFlightNs(applied) });
    return visits.map((one) => judge.judge(one));
  }

  function build(index: number, { file, text, instead }: Pick<Fault, 'file' | 'text' | 'instead'>): Uint8Array {
    const copy = join(folder, String(index));
    cpSync(join(import.meta.dirname, '../../bpf'), copy, { recursive: true });
    const source = readFileSync(join(copy, file), 'utf8');
    expect(source.split(text)).toHaveLength(2);
    writeFileSync(join(copy, file), source.replace(text, instead));
    return value(buildObject({ defines: [], output: join(copy, 'fault.o'), source: join(copy, 'tandem.bpf.c') }));
  }

  test.each(faults.map((fault, index) => ({ ...fault, index })))('is found where $what', async (fault) => {
    using node = value(startNode(lab, 'node1', { selectionKey, object: build(fault.index, fault) }));
    const counted = (): number => Object.values(wrongChecksums(lab)).reduce((sum, packets) => sum + packets, 0);
    const before = counted();
    const applied = programStart([node]);
    await sleep(settledMs);
    const one = await visit(visitor(fault.from), target(fault.to ?? 'shop/near:http', fault.family), fault.call);
    expect(one.report.result).toBe(fault.result);
    expect(counted() > before).toBe(fault.counted);
    expect(judged([one], applied).map(({ verdict }) => verdict)).toEqual(['wrong']);
  });

  test.each([
    { what: 'are ended, and that is found right', object: (): Uint8Array | undefined => undefined, isEnded: true },
    {
      what: 'live on, and that is found wrong',
      object: (): Uint8Array | undefined => build(faults.length, idleSweep),
      isEnded: false,
    },
  ])('connected sockets whose backend is gone $what', async ({ object, isEnded }) => {
    const built = object();
    using node = value(startNode(lab, 'node1', { selectionKey, ...(built === undefined ? {} : { object: built }) }));
    const applied = programStart([node]);
    const dns = target('shop/dns:dns');
    const asking = (last: readonly (Visit | undefined)[]): Promise<readonly Visit[]> =>
      Promise.all(last.map((one) => ask(visitor('socket'), dns, 'connected', one)));
    await sleep(settledMs);
    const first = await asking(Array.from({ length: 16 }, () => undefined));
    const bereft = first.filter(({ report }) => report.by === 'web1').length;
    expect(bereft).toBeGreaterThan(0);
    expect(bereft).toBeLessThan(first.length);
    // Until web1 has terminated.
    for (const { event } of schedule.filter(isOfDns).slice(0, 2)) applied.push(value(applyEvent(node, event)));
    await sleep(settledMs);
    const next = await asking(first);
    expect(next.filter((one) => one.isEnded)).toHaveLength(isEnded ? bereft : 0);
    const verdicts = judged([...first, ...next], applied).map(({ verdict }) => verdict);
    expect(verdicts.filter((verdict) => verdict === 'wrong')).toHaveLength(isEnded ? 0 : bereft);
    const again = await asking(next);
    expect(judged(again, applied).filter(({ verdict }) => verdict === 'permitted')).toHaveLength(
      isEnded ? first.length : first.length - bereft,
    );
  });
});
