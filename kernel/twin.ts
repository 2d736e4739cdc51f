// SPDX-License-Identifier: Apache-2.0
/** Twin over BPF_PROG_TEST_RUN: the loaded TC programs, asked about single frames. */
import {
  maps,
  OUTSIDE_AFFINITY_RESULT_AT,
  OUTSIDE_CHECKSUM_MODE_AT,
  OUTSIDE_GSO_SIZE_AT,
  OUTSIDE_NETNS_COOKIE_AT,
  OUTSIDE_NOW_AT,
  OUTSIDE_PEER_RESULT_AT,
  OUTSIDE_PULL_RESULT_AT,
  OUTSIDE_ROOM_RESULT_AT,
  OUTSIDE_SOCKET_COOKIE_AT,
  OUTSIDE_STORAGE_RESULT_AT,
  OUTSIDE_TAIL_RESULT_AT,
  TEST_CONTROL_BACKEND_AT,
  TEST_CONTROL_MARKS_AT,
  TEST_CONTROL_OUTSIDE_AT,
  TEST_CONTROL_REASON_AT,
  TEST_CONTROL_SERVICE_PORT_AT,
  TEST_CONTROL_SIZE,
  TEST_CONTROL_TRACE_AT,
  TEST_CONTROL_TRACE_LENGTH_AT,
  TEST_CONTROL_VERDICT_AT,
  TEST_CONTROL_WRITES_AT,
  TEST_CONTROL_WRITES_LENGTH_AT,
  MARK_MAX,
  REASON_HAIRPIN,
  VERDICT_DROP,
  VERDICT_REFUSE,
  verdictNames,
} from '../core/layout.gen.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';
import type { Outcome, Outside, PacketHook, Twin } from '../core/twin.ts';
import { addressOf, libbpf, type Libbpf } from './libbpf.ts';
import { errnoName } from './libc.ts';
import type { LoadedObject } from './object.ts';
import { KernelStore } from './store.ts';

/** What packets need; the socket programs take longer to load. */
export const packetPrograms: readonly string[] = ['tc_from_pod', 'tc_to_pod'];

/** The largest frame a test run accepts (one page less the room for an skb), in bytes. */
export const FRAME_BYTES_MAX = 3712;

/** `checksumComplete`: skb->ip_summed really is CHECKSUM_COMPLETE (BPF_F_TEST_SKB_CHECKSUM_COMPLETE). */
export type KernelTwinOptions = { readonly object: LoadedObject; readonly checksumComplete?: boolean };

/** Members of struct bpf_test_run_opts (libbpf 1.x). */
const RUN = { size: 80, input: 8, output: 16, inputSize: 24, outputSize: 28, returned: 56, repeat: 60, flags: 68 };
const FLAG_CHECKSUM_COMPLETE = 4;
const OUTPUT_BYTES = 4096;
const EINVAL = 22;
/** A program left skb->csum of a CHECKSUM_COMPLETE packet as it was, or changed it wrongly. */
const EBADMSG = 74;
const TC_ACT_UNSPEC = -1;
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;

/** A twin over an object that was loaded with `testMode: 1` and both TC programs. */
export function createKernelTwin({ object, checksumComplete = false }: KernelTwinOptions): Result<KernelTwin> {
  const library = libbpf();
  if (!library.ok) return library;
  const store = new KernelStore(object);
  if (object.map(maps.testControl.name) === undefined) {
    return fail('usage', object.name, 'was not loaded in test mode', 'load it with testMode: 1');
  }
  const control = store.map(maps.testControl);
  if (!control.ok) return control;
  const flows = store.map(maps.flows);
  if (!flows.ok) return flows;
  assert(control.value.mapped !== undefined && flows.value.mapped !== undefined, 'test_control and flows are mapped');
  const flowBytes = flows.value.mapped.strideBytes * flows.value.capacity;
  const flowMemory = new Uint8Array(flows.value.mapped.memory, 0, flowBytes);
  return ok(
    new KernelTwin(library.value, object, store, {
      control: control.value.mapped.memory,
      flowMemory,
      checksumComplete,
    }),
  );
}

type TwinMemory = {
  readonly control: ArrayBuffer;
  readonly flowMemory: Uint8Array;
  readonly checksumComplete: boolean;
};

export class KernelTwin implements Twin {
  readonly name = 'kernel' as const;
  readonly store: KernelStore;
  private readonly bpf: Libbpf;
  private readonly fromPod: number;
  private readonly toPod: number;
  private readonly control: DataView;
  private readonly controlBytes: Uint8Array;
  private readonly writes: Uint32Array;
  private readonly flows: Uint8Array;
  private readonly input: Buffer = Buffer.alloc(OUTPUT_BYTES);
  private readonly output: Buffer = Buffer.alloc(OUTPUT_BYTES);
  private readonly options: Buffer = Buffer.alloc(RUN.size);
  private readonly optionsView: DataView;

  constructor(bpf: Libbpf, object: LoadedObject, store: KernelStore, memory: TwinMemory) {
    this.bpf = bpf;
    this.store = store;
    this.fromPod = object.programFd('tc_from_pod');
    this.toPod = object.programFd('tc_to_pod');
    this.control = new DataView(memory.control, 0, TEST_CONTROL_SIZE);
    this.controlBytes = new Uint8Array(memory.control, 0, TEST_CONTROL_SIZE);
    this.writes = new Uint32Array(
      memory.control,
      TEST_CONTROL_WRITES_AT,
      (TEST_CONTROL_MARKS_AT - TEST_CONTROL_WRITES_AT) / 4,
    );
    this.flows = memory.flowMemory;
    this.options.writeBigUInt64LE(BigInt(RUN.size), 0);
    this.options.writeBigUInt64LE(addressOf(this.input), RUN.input);
    this.options.writeBigUInt64LE(addressOf(this.output), RUN.output);
    this.options.writeUInt32LE(1, RUN.repeat);
    this.options.writeUInt32LE(memory.checksumComplete ? FLAG_CHECKSUM_COMPLETE : 0, RUN.flags);
    this.optionsView = new DataView(this.options.buffer, this.options.byteOffset, this.options.byteLength);
  }

  /**
   * Runs one frame of 14 to 3,712 bytes (IPv4: at least 34) with the given answers from outside. The frame goes to
   * the kernel as a copy. A return code that contradicts the reported verdict is a Failure.
   */
  packet(hook: PacketHook, frame: Uint8Array, outside: Outside, outcome: Outcome): Result<void> {
    if (frame.length > FRAME_BYTES_MAX) return refusedFrame(frame.length);
    this.pose(outside);
    this.input.set(frame);
    this.optionsView.setUint32(RUN.inputSize, frame.length, true);
    this.optionsView.setUint32(RUN.outputSize, OUTPUT_BYTES, true);
    const done = this.bpf.programTestRun(hook === 'from-pod' ? this.fromPod : this.toPod, this.options);
    if (done === -EBADMSG) return fail('environment', `hook ${hook}`, 'left a sum that is not that of the packet');
    if (done < 0)
      return done === -EINVAL ? refusedFrame(frame.length) : fail('environment', 'test run', errnoName(-done));
    this.read(outcome);
    return checkReturned(hook, this.optionsView.getInt32(RUN.returned, true), outcome);
  }

  /** Verdict and reason are set to what no program reports, so that a silent program can't pass for the last one. */
  private pose(outside: Outside): void {
    const { control } = this;
    const at = TEST_CONTROL_OUTSIDE_AT;
    control.setBigUint64(at + OUTSIDE_SOCKET_COOKIE_AT, outside.socketCookie, true);
    control.setBigUint64(at + OUTSIDE_NETNS_COOKIE_AT, outside.netnsCookie, true);
    control.setUint32(at + OUTSIDE_NOW_AT, outside.now, true);
    control.setUint32(at + OUTSIDE_CHECKSUM_MODE_AT, outside.checksumMode, true);
    control.setUint32(at + OUTSIDE_GSO_SIZE_AT, outside.gsoSize, true);
    control.setInt32(at + OUTSIDE_PULL_RESULT_AT, outside.pullResult, true);
    control.setInt32(at + OUTSIDE_ROOM_RESULT_AT, outside.roomResult, true);
    control.setInt32(at + OUTSIDE_TAIL_RESULT_AT, outside.tailResult, true);
    control.setInt32(at + OUTSIDE_PEER_RESULT_AT, outside.peerResult, true);
    control.setInt32(at + OUTSIDE_AFFINITY_RESULT_AT, outside.affinityResult, true);
    control.setInt32(at + OUTSIDE_STORAGE_RESULT_AT, outside.storageResult, true);
    control.setUint32(TEST_CONTROL_VERDICT_AT, verdictNames.length, true);
    control.setUint32(TEST_CONTROL_TRACE_LENGTH_AT, 0, true);
    control.setUint32(TEST_CONTROL_WRITES_LENGTH_AT, 0, true);
  }

  private read(outcome: Outcome): void {
    const { control } = this;
    outcome.verdict = control.getUint32(TEST_CONTROL_VERDICT_AT, true);
    outcome.reason = control.getUint32(TEST_CONTROL_REASON_AT, true);
    outcome.servicePort = control.getUint32(TEST_CONTROL_SERVICE_PORT_AT, true);
    outcome.backend = control.getUint32(TEST_CONTROL_BACKEND_AT, true);
    outcome.length = this.optionsView.getUint32(RUN.outputSize, true);
    outcome.bytes.set(this.output.subarray(0, outcome.length));
    outcome.traceLength = control.getUint32(TEST_CONTROL_TRACE_LENGTH_AT, true);
    const trace = TEST_CONTROL_TRACE_AT;
    for (let at = 0; at < outcome.traceLength; at++) outcome.trace[at] = this.controlBytes[trace + at] ?? 0;
    outcome.writesLength = control.getUint32(TEST_CONTROL_WRITES_LENGTH_AT, true);
    for (let at = 0; at < outcome.writesLength * 4; at++) outcome.writes[at] = this.writes[at] ?? 0;
  }

  flowMemory(): Uint8Array {
    return this.flows;
  }

  clearFlows(): void {
    this.flows.fill(0);
  }

  /** How often each branch mark was passed since the object was loaded, by MARK_*. */
  markCounts(): readonly number[] {
    return Array.from({ length: MARK_MAX }, (_, mark) =>
      this.control.getUint32(TEST_CONTROL_MARKS_AT + mark * 4, true),
    );
  }
}

function refusedFrame(length: number): Result<never> {
  const limits = `14 to ${FRAME_BYTES_MAX}, IPv4 at least 34`;
  return fail('limit', 'test run', `the kernel takes frames of ${limits} bytes, not this one of ${length}`);
}

/** What the hook hands to the traffic control for a verdict; a hairpin goes back past the stack. */
function expectedReturn(verdict: number, reason: number): number {
  if (verdict === VERDICT_DROP) return TC_ACT_SHOT;
  return verdict === VERDICT_REFUSE || reason === REASON_HAIRPIN ? TC_ACT_REDIRECT : TC_ACT_UNSPEC;
}

function checkReturned(hook: PacketHook, returned: number, { verdict, reason }: Outcome): Result<void> {
  const name = verdictNames[verdict];
  if (name === undefined) return fail('environment', `hook ${hook}`, 'reported no verdict', 'is every path reported?');
  const expected = expectedReturn(verdict, reason);
  if (returned === expected) return ok(undefined);
  return fail('environment', `hook ${hook}`, `returned ${returned} with verdict ${name}, which goes with ${expected}`);
}
