// SPDX-License-Identifier: Apache-2.0
/** The harness's side of a client process: requests out, reports back, matched by id. */
import { createInterface } from 'node:readline';
import { ok, type Result } from '../core/result.ts';
import { realtimeNs } from './clock.ts';
import { ended, firstLine, startInside, type Place } from './process.ts';
import type { ClientRequest, ClientRequestLine, ConnectionReport, ConnectRequest, DatagramRequest } from './wire.ts';

/** A client process that lives until it is stopped; any number of requests may be under way at once. */
export type Client = {
  readonly pid: number;
  /** One whole connection. */
  readonly connect: (request: Omit<ConnectRequest, 'op'>) => Promise<ConnectionReport>;
  /** A connection that stays; `echo` and `close` take the id of its report. */
  readonly open: (request: Omit<ConnectRequest, 'op'>) => Promise<ConnectionReport>;
  readonly echo: (connection: number, text: string, timeoutMs: number) => Promise<ConnectionReport>;
  readonly close: (connection: number, timeoutMs: number) => Promise<ConnectionReport>;
  /** One datagram and its answer; `socket` takes the id of an earlier report. */
  readonly datagram: (request: Omit<DatagramRequest, 'op'>) => Promise<ConnectionReport>;
  readonly stop: () => Promise<void>;
};

const startTimeoutMs = 10_000;

/** What is reported of a request when the client process is gone. */
function lostReport(id: number): ConnectionReport {
  const now = String(realtimeNs());
  return {
    id,
    result: 'lost',
    errno: null,
    by: null,
    answeredAs: null,
    peerSeen: null,
    peerName: null,
    localPort: null,
    startedNs: now,
    connectedNs: null,
    endedNs: now,
  };
}

export async function startClient(place: Place): Promise<Result<Client>> {
  const script = new URL('./client.ts', import.meta.url).pathname;
  const child = startInside(place, [process.execPath, script]);
  const ready = await firstLine(child, startTimeoutMs);
  if (!ready.ok) return ready;
  const waiting = new Map<number, (report: ConnectionReport) => void>();
  let nextId = 1;
  let gone = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const report = JSON.parse(line) as ConnectionReport;
    waiting.get(report.id)?.(report);
    waiting.delete(report.id);
  });
  child.stdin.on('error', () => child.stdin.destroy());
  child.once('close', () => {
    gone = true;
    for (const [id, resolve] of waiting) resolve(lostReport(id));
    waiting.clear();
  });
  const ask = (request: ClientRequest): Promise<ConnectionReport> => {
    const id = nextId++;
    if (gone) return Promise.resolve(lostReport(id));
    const line: ClientRequestLine = { ...request, id };
    child.stdin.write(`${JSON.stringify(line)}\n`);
    return new Promise((resolve) => waiting.set(id, resolve));
  };
  return ok({
    pid: child.pid ?? 0,
    connect: (request) => ask({ ...request, op: 'connect' }),
    open: (request) => ask({ ...request, op: 'open' }),
    echo: (connection, text, timeoutMs) => ask({ op: 'echo', connection, text, timeoutMs }),
    close: (connection, timeoutMs) => ask({ op: 'close', connection, timeoutMs }),
    datagram: (request) => ask({ ...request, op: 'datagram' }),
    stop: async () => {
      child.stdin.end();
      await ended(child);
    },
  });
}
