// SPDX-License-Identifier: Apache-2.0
/** Asking the programs in the kernel about single frames: what is posed arrives, what is reported comes back. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { maps, REASON_NOT_IP, REASON_NOT_SERVICE, VERDICT_PASS } from '../../core/layout.gen.ts';
import { failureText } from '../../core/result.ts';
import { emptyOutcome, quietOutside, type Outside } from '../../core/twin.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { createKernelTwin, FRAME_BYTES_MAX, packetPrograms, type KernelTwin } from '../../kernel/twin.ts';
import { buildObject } from '../../tools/build.ts';

/** Programs that report what was posed instead of deciding; the second says drop and returns something else. */
const ECHO = `
SEC("tc") int tc_from_pod(struct __sk_buff *skb)
{
	if (!config.test_mode)
		return 0;
	__u32 zero = 0;
	struct test_control *control = bpf_map_lookup_elem(&test_control, &zero);
	if (!control)
		return 0;
	void *data = (void *)(long)skb->data;
	if (data + 14 <= (void *)(long)skb->data_end)
		*(__u8 *)data = 0xee;
	control->verdict = VERDICT_PASS;
	control->reason = control->outside.now;
	control->service_port = control->outside.gso_size + control->outside.checksum_mode;
	control->backend = -control->outside.pull_result - control->outside.room_result - control->outside.tail_result -
			   control->outside.peer_result + (control->outside.socket_cookie >> 40);
	control->trace[0] = 7;
	control->trace[1] = 9;
	control->trace_length += 2;
	control->writes[0] = (struct write){ 1, 2, 3, 4 };
	control->writes_length += 1;
	control->marks[7]++;
	return -1;
}
SEC("tc") int tc_to_pod(struct __sk_buff *skb)
{
	if (!config.test_mode)
		return 0;
	__u32 zero = 0;
	struct test_control *control = bpf_map_lookup_elem(&test_control, &zero);
	if (control && skb->len > 100)
		control->verdict = VERDICT_DROP;
	return -1;
}`;

const root = resolve(import.meta.dirname, '../..');
const loadedObjects: LoadedObject[] = [];
let folder = '';
let echo: KernelTwin;
let real: KernelTwin;

function twinOf(object: Uint8Array, name: string): KernelTwin {
  const options = { settings: { testMode: 1 }, maxEntries: { flows: 64 }, programs: packetPrograms };
  const loaded = loadObject({ object, name, ...options });
  if (!loaded.ok) throw new Error(failureText(loaded.error));
  loadedObjects.push(loaded.value);
  const twin = createKernelTwin({ object: loaded.value });
  if (!twin.ok) throw new Error(failureText(twin.error));
  return twin.value;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-twin-'));
  const source = join(folder, 'echo.bpf.c');
  const header = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include "layout.h"\n';
  writeFileSync(source, `${header}${ECHO}\nchar _license[] SEC("license") = "GPL";\n`);
  const built = buildObject({ defines: [], output: join(folder, 'echo.o'), source });
  if (!built.ok) throw new Error(failureText(built.error));
  echo = twinOf(built.value, 'echo.o');
  real = twinOf(readFileSync(join(root, 'bpf/tandem.bpf.o')), 'tandem.bpf.o');
});

afterAll(() => {
  for (const loaded of loadedObjects) loaded[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

describe('one run', () => {
  test('poses every answer from outside and brings back all that is reported', () => {
    const outside: Outside = {
      socketCookie: 5n << 40n,
      now: 20,
      checksumMode: 3,
      gsoSize: 1400,
      pullResult: -12,
      roomResult: -22,
      tailResult: -100,
      peerResult: -1000,
      netnsCookie: 0n,
      affinityResult: 0,
      storageResult: 0,
    };
    const frame = new Uint8Array(64).fill(1);
    const outcome = emptyOutcome();
    // Twice: logs begin anew each time.
    expect(echo.packet('from-pod', frame, outside, outcome)).toEqual({ ok: true, value: undefined });
    expect(echo.packet('from-pod', frame, outside, outcome)).toEqual({ ok: true, value: undefined });
    expect(outcome).toMatchObject({ verdict: VERDICT_PASS, reason: 20, servicePort: 1403, backend: 1139 });
    expect([...outcome.trace.subarray(0, outcome.traceLength)]).toEqual([7, 9]);
    expect([...outcome.writes.subarray(0, outcome.writesLength * 4)]).toEqual([1, 2, 3, 4]);
    expect(echo.markCounts()[7]).toBe(2);
    expect(outcome.length).toBe(64);
    expect([...outcome.bytes.subarray(0, 3)]).toEqual([0xee, 1, 1]);
    expect(frame[0]).toBe(1);
  });

  test('takes frames up to 3,712 bytes and names the limit beyond', () => {
    const outcome = emptyOutcome();
    expect(echo.packet('from-pod', new Uint8Array(FRAME_BYTES_MAX), quietOutside(0), outcome).ok).toBe(true);
    expect(outcome.length).toBe(FRAME_BYTES_MAX);
    const limit = { ok: false, error: { kind: 'limit', object: 'test run' } };
    expect(echo.packet('from-pod', new Uint8Array(FRAME_BYTES_MAX + 1), quietOutside(0), outcome)).toMatchObject(limit);
    expect(echo.packet('from-pod', new Uint8Array(13), quietOutside(0), outcome)).toMatchObject(limit);
  });

  test('notices a program that reports nothing, and one whose return code is not its verdict', () => {
    const outcome = emptyOutcome();
    const silent = echo.packet('to-pod', new Uint8Array(64), quietOutside(0), outcome);
    expect(silent.ok ? '' : silent.error.message).toBe('reported no verdict');
    const lying = echo.packet('to-pod', new Uint8Array(128), quietOutside(0), outcome);
    expect(lying.ok ? '' : failureText(lying.error)).toBe(
      'hook to-pod: returned -1 with verdict drop, which goes with 2',
    );
  });
});

describe('the real programs', () => {
  test.each(['from-pod', 'to-pod'] as const)('%s leaves what is not for a Service byte-identical', (hook) => {
    const arp = new Uint8Array(60).map((_, index) => index);
    arp.set([0x08, 0x06], 12);
    const outcome = emptyOutcome();
    expect(real.packet(hook, arp, quietOutside(1000), outcome)).toEqual({ ok: true, value: undefined });
    expect([outcome.verdict, outcome.reason]).toEqual([VERDICT_PASS, REASON_NOT_IP]);
    const tcp = Uint8Array.from(
      Buffer.from(
        '0202030405060708090a0b0c0800450000280001000040060000' +
          '0a0000010a000002' +
          '30390050000000010000000050020000' +
          '00000000',
        'hex',
      ),
    );
    expect(real.packet(hook, tcp, quietOutside(1000), outcome)).toEqual({ ok: true, value: undefined });
    expect([outcome.verdict, outcome.reason]).toEqual([VERDICT_PASS, REASON_NOT_SERVICE]);
    expect(outcome.bytes.subarray(0, outcome.length)).toEqual(tcp);
    expect(real.flowMemory().every((byte) => byte === 0)).toBe(true);
  });
});

describe('the flow table', () => {
  test('is seen live through its memory and can be forgotten', () => {
    const memory = real.flowMemory();
    expect(memory).toHaveLength(maps.flows.value.size * 64);
    memory[130] = 9;
    const flows = real.store.map(maps.flows);
    if (!flows.ok) throw new Error(failureText(flows.error));
    const bucket = flows.value.get(0);
    expect(bucket.ok && bucket.value?.flows[0]?.key.source.a).toBe(0x0900);
    real.clearFlows();
    const cleared = real.store.entries(maps.flows);
    expect(cleared).toEqual({ ok: true, value: [] });
  });
});

describe('a twin', () => {
  test('is refused over an object that was loaded without test mode', () => {
    const object = readFileSync(join(folder, 'echo.o'));
    const loaded = loadObject({ object, name: 'echo.o', programs: packetPrograms });
    if (!loaded.ok) throw new Error(failureText(loaded.error));
    loadedObjects.push(loaded.value);
    expect(createKernelTwin({ object: loaded.value })).toMatchObject({ ok: false, error: { kind: 'usage' } });
  });
});
