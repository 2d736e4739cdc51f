// SPDX-License-Identifier: Apache-2.0
/** What we use of pcap-parser, which has no types of its own. */
declare module 'pcap-parser' {
  import type { EventEmitter } from 'node:events';
  import type { Readable } from 'node:stream';

  export type Packet = {
    readonly header: {
      readonly timestampSeconds: number;
      readonly timestampMicroseconds: number;
      readonly capturedLength: number;
      readonly originalLength: number;
    };
    readonly data: Buffer;
  };

  export type Parser = EventEmitter<{ packet: [Packet]; end: []; error: [Error] }>;

  export function parse(input: Readable): Parser;
}
