// SPDX-License-Identifier: Apache-2.0
/** A real kube-proxy in nftables mode in the namespace of the node, and the rules that it wrote. */
import type { ChildProcess } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Json } from '../../proof/kubeproxy/faults.ts';
import { node } from '../../proof/kubeproxy/places.ts';
import type { NodeSettings } from '../../proof/kubeproxy/settings.ts';
import { kubernetesFolder } from '../../tools/kubernetes.ts';
import { ended, type ApiServer } from './apiserver.ts';
import type { ClusterNetwork } from './network.ts';

export type KubeProxy = {
  /** What `nft -j list ruleset` prints, decoded. */
  readonly readRules: () => Json;
  /** Any command in nft's own language. */
  readonly nft: (command: string) => void;
  /** Waits until the rules lead to the endpoint of a Service, in both families, and throws when they never do. */
  readonly hasService: (addresses: readonly string[], port: number) => Promise<void>;
  /** Lines of its log that say that it could not write its rules. */
  readonly failures: () => readonly string[];
  readonly stop: () => Promise<void>;
};

const SYNC_MS = 60_000;

/** With nothing of an earlier one left: its rules go first. */
export function startKubeProxy(network: ClusterNetwork, server: ApiServer, settings: NodeSettings): KubeProxy {
  const nftPath = join(kubernetesFolder(), 'nft');
  const nft = (command: string): void => {
    network.run('node', nftPath, ['-f', '-'], command);
  };
  nft('flush ruleset\n');
  const file = join(server.folder, 'kube-proxy.json');
  const log = join(server.folder, 'kube-proxy.log');
  writeFileSync(file, JSON.stringify(configuration(server, settings)));
  const output = openSync(log, 'a');
  const child: ChildProcess = network.start('node', join(kubernetesFolder(), 'kube-proxy'), ['--config', file], {
    stdio: ['ignore', output, output],
    environment: { PATH: `${kubernetesFolder()}:${process.env['PATH'] ?? ''}` },
  });
  const hasService = async (addresses: readonly string[], port: number): Promise<void> => {
    const wanted = addresses.map((address, index) => {
      const family = index === 0 ? 'ip' : 'ip6';
      return `get element ${family} kube-proxy service-ips { ${address} . tcp . ${port} }\n`;
    });
    for (let waitedMs = 0; waitedMs < SYNC_MS; waitedMs += 100) {
      if (child.exitCode !== null) break;
      if (wanted.every((command) => succeeds(() => nft(command)))) return;
      await sleep(100);
    }
    throw new Error(`kube-proxy did not come so far: ${readFileSync(log, 'utf8').slice(-3000)}`);
  };
  const readRules = (): Json => JSON.parse(network.run('node', nftPath, ['-j', 'list', 'ruleset'])) as Json;
  const failures = (): readonly string[] =>
    readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => /sync failed|unable to delete stale/i.test(line));
  return { readRules, nft, hasService, failures, stop: () => ended(child, 'SIGTERM') };
}

function succeeds(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof Error && 'status' in error) return false;
    throw error;
  }
}

function configuration(server: ApiServer, settings: NodeSettings): unknown {
  const clusterCIDR = settings.clusterCIDRs.join(',');
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: server.kubeconfig, qps: 1000, burst: 1000 },
    hostnameOverride: node.name,
    mode: 'nftables',
    detectLocalMode: settings.detector,
    // In the other mode the ranges are those of the Node object.
    ...(clusterCIDR === '' || settings.detector !== 'ClusterCIDR' ? {} : { clusterCIDR }),
    ...(settings.nodePortAddresses === null ? {} : { nodePortAddresses: settings.nodePortAddresses }),
    nftables: { masqueradeAll: settings.masqueradeAll, minSyncPeriod: '100ms', syncPeriod: '30s' },
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  };
}
