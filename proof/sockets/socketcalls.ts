// SPDX-License-Identifier: Apache-2.0
/** What a campaign asks of real sockets; handed in, because the kernel is another room. */
import type { Address } from '../../core/address.ts';
import type { SocketStateRecord, TestControlRecord } from '../../core/layout.gen.ts';
import type { Result } from '../../core/result.ts';
import type { Outside } from '../../core/twin.ts';
import type { Endpoint, SocketKind } from './socketdraw.ts';

/** What a program reported of a call; undefined where none ran. */
export type Reported = TestControlRecord | undefined;
type Called = Result<{ readonly errno: number; readonly went: Endpoint | undefined; readonly reported: Reported }>;
type Shown = Result<{ readonly shown: Endpoint | undefined; readonly reported: Reported }>;

/** Real sockets, handed in: kernel/sockets.ts. */
export interface SocketCalls {
  open(kind: SocketKind, bound?: Address): Result<number>;
  /** The socket's own address, undefined where it has none yet. */
  ownAddress(index: number): Result<Address | undefined>;
  connect(index: number, to: Endpoint, outside: Outside): Called;
  send(index: number, to: Endpoint, outside: Outside): Called;
  write(index: number, outside: Outside): Called;
  receive(index: number, from: Endpoint, outside: Outside): Shown;
  disconnect(index: number): Result<void>;
  peerName(index: number, outside: Outside): Shown;
  state(index: number): Result<SocketStateRecord | undefined>;
  /** Ends connected UDP sockets whose backend is gone; how many, by Service port. */
  sweep(): Result<ReadonlyMap<number, number>>;
  hookPeerName(isAttached: boolean): Result<void>;
  closeAll(): void;
}
