// SPDX-License-Identifier: Apache-2.0
/** From a kubeconfig to an API server that can be asked: addresses, certificates, tokens. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { fail, ok, type Result } from '../core/result.ts';
import { getOver, type Get } from './request.ts';

/** An API server and how to ask it. */
export type Connection = {
  /** As the kubeconfig calls it. */
  readonly cluster: string;
  readonly server: string;
  readonly get: Get;
};

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** Without a path: `KUBECONFIG`, `~/.kube/config`, the service account of the pod, in this order. Nothing is sent yet. */
export function openConnection(path?: string): Result<Connection> {
  const remedy = 'name a kubeconfig with --kubeconfig';
  if (path === undefined && !hasDefault()) return fail('environment', 'kubeconfig', 'there is none', remedy);
  const config = new KubeConfig();
  try {
    if (path === undefined) config.loadFromDefault();
    else config.loadFromFile(path);
  } catch (error) {
    return fail('input', path ?? 'kubeconfig', `cannot be read: ${error instanceof Error ? error.message : 'odd'}`);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    return fail('input', path ?? 'kubeconfig', 'its current context names no cluster', 'set current-context');
  }
  if (!URL.canParse(cluster.server)) {
    return fail('input', path ?? 'kubeconfig', `server "${cluster.server}" is not an address`);
  }
  const get = getOver(new URL(cluster.server), (options) => config.applyToHTTPSOptions(options));
  return ok({ cluster: cluster.name, server: cluster.server, get });
}

/** What the library would look for; where it finds nothing it would ask localhost:8080, which nobody means. */
function hasDefault(): boolean {
  const named = process.env['KUBECONFIG'] ?? '';
  return named !== '' || existsSync(join(homedir(), '.kube', 'config')) || existsSync(SERVICE_ACCOUNT_TOKEN);
}
