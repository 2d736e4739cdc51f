// SPDX-License-Identifier: Apache-2.0
/** The oracle beside a scenario: a third who has read the contract, and neither compiles nor writes maps. */
import { createOracle, type OracleOptions } from '../../core/oracle.ts';
import type { Scenario } from '../../formats/scenario.ts';
import { differences } from '../core/oracle/compare.ts';
import type { Played } from './play.ts';

/** What it would say otherwise after each step, of each frontend and to each kind of client. */
export function oracleDifferences({ config, steps }: Scenario, played: readonly Played[]): string[][] {
  const oracle = createOracle(optionsOf(config));
  return steps.map(({ events }, index) => {
    for (const event of events) oracle.apply(event);
    const document = played[index]?.document;
    return document === undefined ? [] : differences(document, oracle, config.clusterCIDRs).map(({ text }) => text);
  });
}

function optionsOf(config: Scenario['config']): OracleOptions {
  const { nodePortAddresses, serviceCIDRs, serviceProxyName, zone } = config;
  return {
    nodeName: config.nodeName,
    nodeIPs: config.nodeIPs,
    clusterCIDRs: config.clusterCIDRs,
    masqueradeAll: config.masqueradeAll,
    hostPort: config.hostPort,
    externalClusterIP: config.externalClusterIP,
    topology: config.topology,
    serviceRanges: serviceCIDRs,
    nodePortAddresses: nodePortAddresses === 'primary' ? ['primary'] : nodePortAddresses,
    ...(zone === '' ? {} : { zone }),
    ...(serviceProxyName === null ? {} : { serviceProxyName }),
  };
}
