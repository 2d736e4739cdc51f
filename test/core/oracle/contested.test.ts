// SPDX-License-Identifier: Apache-2.0
/** A frontend that several objects claim has one owner (A6, A7): by kind, then by age, then by name; the next takes over. */
import { describe, expect, test } from 'vitest';
import type { ClusterObject, PodObject, ServiceObject } from '../../../core/objects.ts';
import { createOracle, createOracleTimeline, oracleOf, type OracleOptions } from '../../../core/oracle.ts';
import { answerText } from '../../../core/oracle/answer.ts';
import { meet, node, NODE, OPTIONS, podWithHostPort, question, service } from './world.ts';

const OPEN: OracleOptions = { ...OPTIONS, hostPort: true };
const CONTESTED = '192.0.2.10:80/TCP';
const own = node(NODE, ['192.0.2.10']);

/** Claimants of one address and number by each kind; the later the name, the stronger the kind. */
const CLAIMANTS: Readonly<Record<string, ClusterObject>> = {
  hostPort: { ...podWithHostPort(80), status: { podIP: '10.0.0.9' } },
  nodePort: service('shop/a-node', { clusterIP: '10.96.0.11', ports: [{ port: 81, nodePort: 80 }] }),
  external: service('shop/b-external', { clusterIP: '10.96.0.12', externalIPs: ['192.0.2.10'] }),
  balanced: {
    ...service('shop/c-balanced', { clusterIP: '10.96.0.13' }),
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.10' }] } },
  },
  cluster: service('shop/d-cluster', { clusterIP: '192.0.2.10' }),
};

const created = <T extends ServiceObject | PodObject>(object: T, creationTimestamp: string): T => ({
  ...object,
  metadata: { ...object.metadata, creationTimestamp },
});

/** Its owner, as the refusal or permission names it. */
function ownerOf(objects: readonly ClusterObject[], text = CONTESTED): string | undefined {
  const answer = oracleOf(OPEN, objects).answer(question(text, 'pod'));
  return 'service' in answer ? answer.service : answer.kind;
}

describe('A7 by kind, whoever came first and whatever its age', () => {
  const owners = [
    'shop/cache:hostPort:80',
    'shop/a-node',
    'shop/b-external:http',
    'shop/c-balanced:http',
    'shop/d-cluster:http',
  ];
  test.each(owners.map((owner, index) => [owner, index] as const))('%s', (owner, index) => {
    const present = Object.values(CLAIMANTS).slice(0, index + 1);
    for (const order of [present, present.toReversed()]) expect(ownerOf([own, ...order])).toBe(owner);
    const young = present.map((object) =>
      object.kind === 'Service' ? created(object, '2026-01-02T03:04:05Z') : object,
    );
    expect(ownerOf([own, ...young])).toBe(owner);
  });

  test('an owner that does not serve clients from elsewhere leaves its frontend to nobody else', () => {
    const objects = Object.values(CLAIMANTS);
    expect(meet(objects, CONTESTED, 'outside 203.0.113.9', OPEN)).toBe('pass');
  });
});

describe('A6 among one kind', () => {
  const claimant = (name: string, at?: string): ServiceObject => {
    const made = service(`shop/${name}`, { clusterIP: '10.96.0.9' });
    return at === undefined ? made : created(made, at);
  };
  const text = '10.96.0.9:80/TCP';
  test.each([
    ['the older', [claimant('web', '2026-01-02T03:04:05Z'), claimant('zoo', '2025-12-31T23:59:59Z')], 'shop/zoo:http'],
    ['one without a date is the oldest', [claimant('web', '2026-01-02T03:04:05Z'), claimant('zoo')], 'shop/zoo:http'],
    ['of one age the smaller name', [claimant('zoo'), claimant('web')], 'shop/web:http'],
    ['the namespace before the name', [claimant('a'), service('one/z', { clusterIP: '10.96.0.9' })], 'one/z:http'],
  ])('%s', (_name, claimants, owner) => {
    for (const order of [claimants, claimants.toReversed()]) expect(ownerOf(order, text)).toBe(owner);
  });

  test('of one Service the smaller name of a port', () => {
    const ports = ['b', 'a', 'c'].map((name) => ({ name, port: 80 }));
    expect(ownerOf([service('shop/web', { clusterIP: '10.96.0.9', ports })], text)).toBe('shop/web:a');
  });

  test('of one Service an LB VIP before the same external IP', () => {
    const both: ServiceObject = {
      ...service('shop/web', { externalIPs: ['198.51.100.8'], loadBalancerSourceRanges: ['10.0.0.0/8'] }),
      status: { loadBalancer: { ingress: [{ ip: '198.51.100.8' }] } },
    };
    expect(meet([both], '198.51.100.8:80/TCP', 'outside 203.0.113.9')).toBe('drop');
  });

  test('A4 another protocol or number is not contested', () => {
    const dns = service('shop/dns', {
      clusterIP: '10.96.0.9',
      ports: [
        { port: 80, protocol: 'UDP' },
        { name: 'x', port: 81 },
      ],
    });
    const objects = [claimant('web'), dns];
    const owners = ['TCP', 'UDP'].map((protocol) => ownerOf(objects, `10.96.0.9:80/${protocol}`));
    expect([...owners, ownerOf(objects, '10.96.0.9:81/TCP')]).toEqual(['shop/web:http', 'shop/dns', 'shop/dns:x']);
  });

  test("another proxy's Service claims nothing", () => {
    const foreign = service('shop/a', { clusterIP: '10.96.0.9' }, { 'service.kubernetes.io/service-proxy-name': 'x' });
    expect(ownerOf([foreign, claimant('web')], text)).toBe('shop/web:http');
  });

  test('the losers take over one after the other as owners go, in a timeline too', () => {
    const claimants = ['a', 'b', 'c'].map((name) => claimant(name));
    const oracle = createOracle(OPTIONS);
    const timeline = createOracleTimeline(OPTIONS);
    for (const object of claimants.toReversed()) {
      oracle.apply({ type: 'ADDED', object });
      timeline.apply(0, { type: 'ADDED', object });
    }
    const owners = claimants.map((object, index) => {
      const owner = answerText(oracle.answer(question(text)));
      oracle.apply({ type: 'DELETED', object });
      timeline.apply(10 + 10 * index, { type: 'DELETED', object });
      return owner;
    });
    const expected = ['a', 'b', 'c'].map((name) => `refuse shop/${name}:http no-endpoints`);
    expect(owners).toEqual(expected);
    expect([5, 15, 25].map((timeNs) => answerText(timeline.answerAt(timeNs, question(text))))).toEqual(expected);
    const { earlier } = timeline.judge(35, 100, question(text));
    expect(earlier.map(({ answer, endedNs }) => [answerText(answer), endedNs]).slice(0, 3)).toEqual(
      expected.map((answer, index) => [answer, 10 + 10 * index]).reverse(),
    );
  });
});

test('every frontend is listed once, with its owner, also for those of the node', () => {
  const listed = oracleOf(OPEN, [own, ...Object.values(CLAIMANTS)]).frontends();
  expect(
    listed.filter(({ address }) => address.d === 0xc000020a).map(({ kind, service: name }) => [kind, name]),
  ).toEqual([['ClusterIP', 'shop/d-cluster']]);
  expect(listed).toHaveLength(4);
  const foreign = service('shop/x', {}, { 'service.kubernetes.io/service-proxy-name': 'x' });
  expect(oracleOf(OPEN, [foreign]).frontends()).toEqual([]);
  const judged = oracleOf({ ...OPEN, judged: ['ClusterIP'] }, [own, ...Object.values(CLAIMANTS).slice(0, 2)]);
  expect(judged.frontends().map(({ kind }) => kind)).toEqual(['ClusterIP']);
});
