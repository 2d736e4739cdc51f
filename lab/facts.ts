// SPDX-License-Identifier: Apache-2.0
/** Node facts (`node.json`) read from a namespace: addresses, ranges, devices and routes, for replay. */
import { writeFileSync } from 'node:fs';
import { fail, ok, type Result } from '../core/result.ts';
import type { Lab } from './lab.ts';
import { runInside } from './process.ts';

type LinkFacts = {
  readonly ifindex: number;
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly link_type: string;
};

/** The document: keys as `ip -j` names them, so that it can be compared with what a node prints. */
export type NodeDocument = {
  readonly node: string;
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
  readonly clusterCIDRs: readonly string[];
  readonly proxy: string;
  readonly links: readonly LinkFacts[];
  readonly addresses: readonly {
    readonly ifname: string;
    readonly ifindex: number;
    readonly addr: readonly string[];
  }[];
  readonly routes: readonly unknown[];
  readonly routes6: readonly unknown[];
};

/** What we use of `ip -j address`. */
type AddressEntry = LinkFacts & {
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
};

function present(values: readonly (string | undefined)[]): readonly string[] {
  return values.filter((value) => value !== undefined);
}

/** Reads a node's facts now. `clusterCIDRs` are the pod ranges of all nodes; `proxy` says what serves Services. */
export async function takeNodeFacts(lab: Lab, nodeName: string, proxy: string): Promise<Result<NodeDocument>> {
  const { spec, namespace } = lab.node(nodeName);
  const read = async (...words: readonly string[]): Promise<Result<unknown>> => {
    const answer = await runInside(lab.harness, ['ip', '-n', namespace, '-j', ...words], '');
    // `ip -j` prints nothing at all where there is nothing to show.
    return answer.ok ? ok(JSON.parse(answer.value.trim() === '' ? '[]' : answer.value)) : answer;
  };
  const [addresses, routes, routes6] = await Promise.all([read('address'), read('route'), read('-6', 'route')]);
  if (!addresses.ok) return addresses;
  if (!routes.ok) return routes;
  if (!routes6.ok) return routes6;
  const entries = addresses.value as readonly AddressEntry[];
  return ok({
    node: nodeName,
    nodeIPs: present([spec.address, spec.addressIPv6]),
    podCIDRs: present([spec.podRange, spec.podRangeIPv6]),
    clusterCIDRs: lab.spec.nodes.flatMap((node) => present([node.podRange, node.podRangeIPv6])),
    proxy,
    links: entries.map(({ ifindex, ifname, mtu, address, link_type }) => ({
      ifindex,
      ifname,
      mtu,
      address,
      link_type,
    })),
    addresses: entries.map(({ ifname, ifindex, addr_info }) => ({
      ifname,
      ifindex,
      addr: addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
    })),
    routes: routes.value as readonly unknown[],
    routes6: routes6.value as readonly unknown[],
  });
}

export async function writeNodeFacts(
  lab: Lab,
  nodeName: string,
  proxy: string,
  file: string,
): Promise<Result<NodeDocument>> {
  const facts = await takeNodeFacts(lab, nodeName, proxy);
  if (!facts.ok) return facts;
  try {
    writeFileSync(file, `${JSON.stringify(facts.value, null, 1)}\n`);
  } catch (error) {
    return fail('environment', file, error instanceof Error ? error.message : String(error));
  }
  return facts;
}
