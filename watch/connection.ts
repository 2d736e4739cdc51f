// SPDX-License-Identifier: Apache-2.0
/** From a kubeconfig to an API server that can be asked: addresses, certificates, tokens. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { tap } from 'rxjs/operators';
import { fail, ok, type Result } from '../core/result.ts';
import { getOver, type Get, type Part } from './request.ts';

/** An API server and how to ask it. */
export type Connection = {
  /** As the kubeconfig calls it. */
  readonly cluster: string;
  readonly server: string;
  readonly get: Get;
};

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * Without a path: `KUBECONFIG`, `~/.kube/config`, the service account of the pod, in this order; without a context its
 * current one. Nothing is sent yet.
 */
export function openConnection(path?: string, context?: string): Result<Connection> {
  const loaded = load(path, context);
  if (!loaded.ok) return loaded;
  let config = loaded.value;
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    return fail('input', nameOf(path), 'its current context names no cluster', 'set current-context');
  }
  if (!URL.canParse(cluster.server)) return fail('input', nameOf(path), `server "${cluster.server}" is not an address`);
  const ask = getOver(new URL(cluster.server), (options) => config.applyToHTTPSOptions(options));
  // The library keeps tokens that do not say when they end, and certificates of connections it has made. Who is
  // refused with them reads them anew for the next request.
  const renew = (part: Part): void => {
    if (part.is !== 'head' || part.status !== 401) return;
    const again = load(path, context);
    if (again.ok) config = again.value;
  };
  return ok({ cluster: cluster.name, server: cluster.server, get: (target) => ask(target).pipe(tap(renew)) });
}

function nameOf(path: string | undefined): string {
  return path ?? 'kubeconfig';
}

function load(path: string | undefined, context: string | undefined): Result<KubeConfig> {
  if (path === undefined && !hasDefault()) {
    return fail('environment', 'kubeconfig', 'there is none', 'name a kubeconfig with --kubeconfig');
  }
  const config = new KubeConfig();
  try {
    if (path === undefined) config.loadFromDefault();
    else config.loadFromFile(path);
  } catch (error) {
    return fail('input', nameOf(path), `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (context === undefined) return ok(config);
  const known = config.getContexts().map(({ name }) => name);
  if (!known.includes(context)) {
    return fail('usage', nameOf(path), `has no context "${context}"`, `it has ${known.join(', ') || 'none'}`);
  }
  config.setCurrentContext(context);
  return ok(config);
}

/** What the library would look for; where it finds nothing it would ask localhost:8080, which nobody means. */
function hasDefault(): boolean {
  const named = process.env['KUBECONFIG'] ?? '';
  return named !== '' || existsSync(join(homedir(), '.kube', 'config')) || existsSync(SERVICE_ACCOUNT_TOKEN);
}
