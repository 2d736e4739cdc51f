// SPDX-License-Identifier: Apache-2.0
/** A tap device: frames that enter the kernel with a checksum state and a shape of our choosing, and what leaves it. */
import { closeSync, openSync, readSync, writevSync } from 'node:fs';
import { constants } from 'node:os';
import { fail, ok, type Result } from '../core/result.ts';
import { ioctl } from './libc.ts';

const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NAPI = 0x0010;
const IFF_NAPI_FRAGS = 0x0020;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const DEVICE_NAME_BYTES = 16;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** struct virtio_net_hdr { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset } */
const HEADER_BYTES = 10;
const NEEDS_CHECKSUM = 1;
const DATA_VALID = 2;
/** linux/virtio_net.h: VIRTIO_NET_HDR_GSO_*. */
const segmentations = { tcp4: 1, 'udp-fragments': 3, tcp6: 4, udp: 5 } as const;

export type Segmentation = keyof typeof segmentations;

/** What the kernel is told of a frame beside its bytes; nothing said: the checksum is as it stands, whole and unproved. */
export type FrameState = {
  /** CHECKSUM_PARTIAL: where the summed part begins, and where in it the checksum stands; in bytes. */
  readonly partial?: { readonly start: number; readonly offset: number };
  /** CHECKSUM_UNNECESSARY: a device has verified it. */
  readonly isVerified?: boolean;
  /** To be cut into segments of `sizeBytes` of payload on the way out; needs `partial`. */
  readonly segments?: { readonly kind: Segmentation; readonly sizeBytes: number };
  /** Length of the headers; of a frame longer than a page no more than this is linear. */
  readonly headerBytes?: number;
  /** Where the frame is cut: what lies behind the first cut is in fragments of pages. Needs a device with `fragments`. */
  readonly cutsAt?: readonly number[];
};

export type TapOptions = {
  /** The frame is taken in pieces (IFF_NAPI_FRAGS), so that headers may lie outside the linear part. */
  readonly fragments?: boolean;
};

/** A frame that left the device. `isPartial`: its checksum was left to us, which no device without offloads may do. */
export type LeftFrame = { readonly bytes: Uint8Array; readonly isPartial: boolean; readonly isGso: boolean };

/**
 * Makes a tap device in the caller's network namespace; it lives until it is disposed of. It offers no transmit
 * offload, so the kernel completes checksums and cuts segments before a frame leaves.
 */
export function openTap(name: string, { fragments = false }: TapOptions = {}): Result<Tap> {
  if (Buffer.byteLength(name) >= DEVICE_NAME_BYTES) return fail('input', `device ${name}`, 'name too long');
  let fd: number;
  try {
    fd = openSync('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC);
  } catch (error) {
    return fail('environment', '/dev/net/tun', error instanceof Error ? error.message : String(error), 'modprobe tun');
  }
  // struct ifreq { name, flags }
  const request = Buffer.alloc(40);
  request.write(name, 0);
  const shape = fragments ? IFF_NAPI | IFF_NAPI_FRAGS : 0;
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | shape, DEVICE_NAME_BYTES);
  const made = ioctl(fd, TUNSETIFF, request, `make tap ${name}`);
  if (made.ok) return ok(new Tap(fd));
  closeSync(fd);
  return made;
}

export class Tap implements Disposable {
  private fd: number;
  private readonly buffer: Buffer = Buffer.alloc(HEADER_BYTES + 65_550);

  constructor(fd: number) {
    this.fd = fd;
  }

  /** The frame arrives on the device. A frame that the kernel refuses is an error with its errno's name. */
  send(frame: Uint8Array, state: FrameState = {}): Result<number> {
    const cuts = [0, ...(state.cutsAt ?? []), frame.length];
    const pieces = cuts.slice(1).map((end, index) => frame.subarray(cuts[index], end));
    try {
      return ok(writevSync(this.fd, [headerOf(state), ...pieces]));
    } catch (error) {
      return fail('environment', `frame of ${frame.length} bytes`, codeOf(error));
    }
  }

  /** The next frame that left the device; undefined where there is none. */
  receive(): LeftFrame | undefined {
    try {
      const length = readSync(this.fd, this.buffer);
      const flags = this.buffer.readUInt8(0);
      return {
        bytes: new Uint8Array(this.buffer.subarray(HEADER_BYTES, length)),
        isPartial: (flags & NEEDS_CHECKSUM) !== 0,
        isGso: this.buffer.readUInt8(1) !== 0,
      };
    } catch (error) {
      if (codeOf(error) === 'EAGAIN') return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code in constants.errno) {
    return error.code;
  }
  throw error;
}

function headerOf({ partial, isVerified = false, segments, headerBytes = 0 }: FrameState): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8((partial === undefined ? 0 : NEEDS_CHECKSUM) | (isVerified ? DATA_VALID : 0), 0);
  header.writeUInt8(segments === undefined ? 0 : segmentations[segments.kind], 1);
  header.writeUInt16LE(headerBytes, 2);
  header.writeUInt16LE(segments?.sizeBytes ?? 0, 4);
  header.writeUInt16LE(partial?.start ?? 0, 6);
  header.writeUInt16LE(partial?.offset ?? 0, 8);
  return header;
}
