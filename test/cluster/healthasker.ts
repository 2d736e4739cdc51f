// SPDX-License-Identifier: Apache-2.0
/** A program: asks each health check of its input over HTTP and writes down the status and what it says. */
import { text } from 'node:stream/consumers';

/** `service` as `namespace/name`; a check that nobody answers has no status. */
export type HealthAnswer = {
  readonly url: string;
  readonly status: number | null;
  readonly service: string;
  readonly localEndpoints: number;
};

type Body = {
  readonly service: { readonly namespace: string; readonly name: string };
  readonly localEndpoints: number;
};

async function ask(url: string): Promise<HealthAnswer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    const { service, localEndpoints } = (await response.json()) as Body;
    return { url, status: response.status, service: `${service.namespace}/${service.name}`, localEndpoints };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { url, status: null, service: '', localEndpoints: 0 };
  }
}

const urls = JSON.parse(await text(process.stdin)) as readonly string[];
process.stdout.write(JSON.stringify(await Promise.all(urls.map(ask))));
