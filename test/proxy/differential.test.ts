// SPDX-License-Identifier: Apache-2.0
/** What kube-proxy's own rules do with each client at each frontend, and what the compiled document says: the same. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { frontendText } from '../../proof/kubeproxy/answer.ts';
import { compareRules, type Outcome } from '../../proof/kubeproxy/compare.ts';
import type { RandomCluster } from '../../proof/kubeproxy/clusters.ts';
import { keyOf } from '../../proof/kubeproxy/expected.ts';
import { faults, type Fault } from '../../proof/kubeproxy/faults.ts';
import { readRuleset } from '../../proof/kubeproxy/ruleset.ts';
import { rounds, type NodeSettings } from '../../proof/kubeproxy/settings.ts';
import { addOutcome, closedListFaults, differenceText, emptyTotals, totalsText } from '../../proof/kubeproxy/totals.ts';
import { kubernetesRemedy, lackOfKubernetes } from '../../tools/kubernetes.ts';
import type { Taken } from '../cluster/comparison.ts';
import { commitHash } from '../proof/rigs.ts';
import { confirmByConnections } from './connections.ts';
import { healthChecks } from './healthchecks.ts';
import { frontendFor, nftFaults, rowFor } from '../cluster/targets.ts';
import {
  addClusters,
  changeClusters,
  closeSession,
  openSession,
  restartProxy,
  takeComparison,
  waitForProxy,
  type Session,
} from './session.ts';

const seed = Number(process.env['TANDEM_SEED'] ?? Number.parseInt(commitHash().slice(0, 8), 16));
const repeat = `TANDEM_SEED=${seed} ./tandem test proxy --yes`;

const CLUSTERS_A_ROUND = 64;
/** Whose frontends are asked by real connections, in each round that does so. */
const CLUSTERS_ASKED = 10;
const ROUND_MS = 120_000;
const CLUSTERS_MIN = 300;
/** Of what is sent, so little may be refused: else the API server tests the generator and not the compiler. */
const REFUSED_MAX = 0.1;
const LINES_SHOWN = 10;

const isBuilt = lackOfKubernetes('proxy') === undefined;

function told(outcome: Outcome): readonly string[] {
  return outcome.differences.slice(0, LINES_SHOWN).map((difference) => differenceText(difference, repeat));
}

describe.skipIf(!isBuilt)(isBuilt ? `kube-proxy, seed ${seed}` : `no kube-proxy: ${kubernetesRemedy}`, () => {
  const totals = emptyTotals();
  let session: Session;
  let clusters: readonly RandomCluster[] = [];
  /** Of the first round, in which there is the least to compare; the last round's rules are those in the kernel. */
  let first: Taken | undefined;
  let taken: Taken | undefined;

  beforeAll(async () => {
    session = await openSession(seed);
  });

  afterAll(async () => {
    process.stdout.write(`\nsummary: seed ${seed}: ${totalsText(totals)}\n`);
    await closeSession(session);
  });

  async function playRound(settings: NodeSettings): Promise<void> {
    await restartProxy(session, settings);
    await changeClusters(session, clusters);
    const added = await addClusters(session, CLUSTERS_A_ROUND);
    clusters = [...clusters, ...added];
    totals.clusters = clusters.length;
    await waitForProxy(session);
    expect(session.proxy?.failures()).toEqual([]);
    taken = await takeComparison(session, settings);
    first ??= taken;
    const outcome = compareRules(taken);
    addOutcome(totals, outcome);
    expect(told(outcome)).toEqual([]);
    if (settings.isAsked) await askRound(taken, added);
    if (settings.nodePortAddresses === null) compareHealth(taken);
  }

  async function askRound(compared: Taken, added: readonly RandomCluster[]): Promise<void> {
    const namespaces = new Set(added.slice(0, CLUSTERS_ASKED).map(({ namespace }) => namespace));
    const confirmed = await confirmByConnections(session.network, compared, namespaces);
    totals.connections += confirmed.connections;
    expect(confirmed.surprises.slice(0, LINES_SHOWN)).toEqual([]);
    expect(confirmed.connections).toBeGreaterThan(500);
  }

  function compareHealth(compared: Taken): void {
    const [said, written] = healthChecks(session.network, compared);
    totals.healthChecks += written.length;
    expect(said).toEqual(written);
    expect(written.length).toBeGreaterThan(0);
  }

  test.each(rounds.map((settings) => [settings.name, settings] as const))(
    'the document is what the rules do, and the rules are what clients meet: %s',
    (_, settings) => playRound(settings),
    ROUND_MS,
  );

  test.each(faults.map((fault) => [fault.name, fault] as const))(
    'a fault in the rules is told: %s',
    (_, fault: Fault) => {
      if (first === undefined) throw new Error('no rules were read');
      const printed = structuredClone(first.printed);
      const target = frontendFor(first, fault, printed);
      if (target === undefined) throw new Error('nowhere to be planted');
      const { differences } = compareRules({ ...first, ruleset: readRuleset(printed) });
      expect(differences.map(({ where }) => where).join('\n')).toContain(frontendText(target));
    },
    ROUND_MS,
  );

  test('a fault that is made with nft itself is told', async () => {
    if (taken === undefined) throw new Error('no rules were read');
    for (const { needs, commandsOf } of nftFaults) {
      const row = rowFor(taken, needs);
      session.proxy?.nft(commandsOf(keyOf(row)));
      const edited = await takeComparison(session, taken.settings);
      const { differences } = compareRules(edited);
      expect(differences.map(({ service }) => service).join()).toContain(`${row.service}:${row.portName}`);
    }
  });

  test('the API server takes what the generator draws', () => {
    const drawn = clusters.flatMap(({ services }) => services).length;
    expect(
      session.refusals.slice(0, LINES_SHOWN).concat(String(session.refusals.length / drawn < REFUSED_MAX)),
    ).toContain('true');
  });

  test('every deliberate difference was met, and none more often than it may', () => {
    expect(closedListFaults(totals)).toEqual([]);
    expect(totals.clusters).toBeGreaterThanOrEqual(CLUSTERS_MIN);
  });
});
