// SPDX-License-Identifier: Apache-2.0
/** One GET to an API server as a stream of its parts: the head, bytes as they arrive, and how it ended. */
import * as http from 'node:http';
import * as https from 'node:https';
import { Observable } from 'rxjs';

/** A stream of parts is a head, then bytes, then one `end` or `lost`; `lost` may come at any place. */
export type Part =
  | { readonly is: 'head'; readonly status: number; readonly retryAfterMs: number; readonly date: string }
  | { readonly is: 'bytes'; readonly bytes: Uint8Array }
  /** The server ended its answer itself. */
  | { readonly is: 'end' }
  | { readonly is: 'lost'; readonly reason: string };

/** The edge to the network: sends when subscribed to, ends the request when unsubscribed from. */
export type Get = (path: string) => Observable<Part>;

/** Adds certificates, tokens and an agent; asked for every request, because tokens are renewed. */
export type Authorize = (options: https.RequestOptions) => Promise<void>;

/** A host that went away without a word is noticed by the kernel after this and ten probes a second apart. */
const KEEP_ALIVE_MS = 30_000;

/** GET over node's http or https, by the server's scheme; a path prefix of the server is kept. */
export function getOver(server: URL, authorize: Authorize): Get {
  return (path) =>
    new Observable<Part>((subscriber) => {
      let request: http.ClientRequest | undefined;
      let isOver = false;
      const lose = (error: unknown): void => {
        subscriber.next({ is: 'lost', reason: reasonOf(error) });
        subscriber.complete();
      };
      const options: https.RequestOptions = { method: 'GET', headers: { accept: 'application/json' } };
      const send = (): void => {
        if (isOver) return;
        const url = new URL(server.pathname.replace(/\/$/, '') + path, server);
        request = (url.protocol === 'http:' ? http : https).request(url, options);
        request.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
        request.on('error', lose);
        request.on('response', (response) => passOn(response, (part) => subscriber.next(part), lose));
        request.on('response', (response) => response.on('end', () => subscriber.complete()));
        request.end();
      };
      authorize(options).then(send).catch(lose);
      return () => {
        isOver = true;
        request?.destroy();
      };
    });
}

function passOn(response: http.IncomingMessage, next: (part: Part) => void, lose: (error: unknown) => void): void {
  const { 'retry-after': retryAfter, date = '' } = response.headers;
  next({ is: 'head', status: response.statusCode ?? 0, retryAfterMs: Number(retryAfter ?? 0) * 1000 || 0, date });
  response.on('data', (bytes: Buffer) => next({ is: 'bytes', bytes }));
  response.on('error', lose);
  response.on('end', () => next({ is: 'end' }));
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // Several addresses were tried: the one error holds the others and says nothing itself.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(reasonOf).join(', ');
  const message = error.message.trim();
  return code === '' || message.includes(code) ? message : `${message} (${code})`;
}
