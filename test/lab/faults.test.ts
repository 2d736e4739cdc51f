// SPDX-License-Identifier: Apache-2.0
/** Faults planted into the datapath of a lab node: the checks on real connections find each of them. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startNode } from '../../cli/demo/node.ts';
import type { Family } from '../../cli/demo/stream.ts';
import { startVisitors, stopVisitors, visit, type Road, type Visitor } from '../../cli/demo/visitors.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import type { Outcome } from '../../lab/wire.ts';
import { buildObject } from '../../tools/build.ts';
import { programStart, selectionKey, target, value, wrongChecksums } from './nodes.ts';

/** A fault of the C: a text of one file and what stands in its place; who connects to what, and how that ends. */
type Fault = {
  readonly what: string;
  readonly file: string;
  readonly text: string;
  readonly instead: string;
  readonly family?: Family;
  readonly from: Road;
  readonly to?: string;
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
];

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

  function build(index: number, { file, text, instead }: Fault): Uint8Array {
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
    programStart([node]);
    const from = visitors.find(({ road }) => road === fault.from) ?? expect.unreachable(fault.from);
    const { report } = await visit(from, target(fault.to ?? 'shop/near:http', fault.family));
    expect(report.result).toBe(fault.result);
    expect(counted() > before).toBe(fault.counted);
  });
});
