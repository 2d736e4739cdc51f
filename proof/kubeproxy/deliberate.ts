// SPDX-License-Identifier: Apache-2.0
/** Where tandem means to differ from kube-proxy: a closed list, each entry with the rule, what it may explain and how often. */
import type { EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { firstDifference, type Answer, type FrontendKey } from './answer.ts';
import { isOwnAddress, type Question } from './derive.ts';
import { expectedAnswer, type Expectation } from './expected.ts';
import { intervalOf, normalIntervals, holds, addressNumber, type Interval } from './intervals.ts';
import { node } from './places.ts';
import { balancersOf, type Claim, type Claims } from './objects.ts';
import type { NodeSettings } from './settings.ts';

/** One comparison that came out unequal. */
export type Unequal = {
  readonly question: Question;
  readonly proxy: Answer;
  readonly tandem: Answer;
  readonly expectation: Expectation;
  readonly settings: NodeSettings;
  readonly claims: Claims;
};

export type UnequalRanges = Omit<Unequal, 'proxy' | 'tandem'> & {
  readonly proxyRanges: readonly Interval[] | null;
  readonly tandemRanges: readonly Interval[] | null;
};

export type Deliberate = {
  /** Of the contract, with a word that tells entries of one rule apart. */
  readonly id: string;
  readonly why: string;
  /** Of all comparisons of a run. */
  readonly shareMax: number;
  readonly explains?: (unequal: Unequal) => boolean;
  readonly explainsRanges?: (unequal: UnequalRanges) => boolean;
};

function claimsAt({ claims, question }: Pick<Unequal, 'claims' | 'question'>): readonly Claim[] {
  return claims.of(question.frontend);
}

function isExternalLocal(claim: Claim | undefined): boolean {
  return claim !== undefined && claim.kind !== 'ClusterIP' && claim.service.spec?.externalTrafficPolicy === 'Local';
}

function knowsPods({ settings, question }: Pick<Unequal, 'settings' | 'question'>): boolean {
  const isSix = question.frontend.address.includes(':');
  return settings.clusterCIDRs.some((range) => range.includes(':') === isSix);
}

function isSame(left: Answer, right: Answer): boolean {
  return firstDifference(left, right) === undefined;
}

/** Both answers name the same backends; what they see differs, and only where `may` says so. */
function onlySeenDiffers({ proxy, tandem }: Unequal, may: (address: string) => boolean): boolean {
  if (proxy.kind !== 'backends' || tandem.kind !== 'backends') return false;
  const shares = new Map(
    [...proxy.shares].map(([name, share]) => {
      const sees = tandem.shares.get(name)?.sees ?? share.sees;
      return [name, may(addressIn(name)) ? { ...share, sees } : share];
    }),
  );
  return isSame({ ...proxy, shares }, tandem);
}

function addressIn(name: string): string {
  return name.slice(0, name.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

/** Whether one address and port stands in the slices more than once with equal right and different words. */
function isDoubled(slices: readonly EndpointSliceObject[], isSix: boolean): boolean {
  const words = new Map<string, { readonly staying: Set<string>; readonly leaving: Set<string> }>();
  for (const { endpoints, ports, addressType } of slices) {
    if ((addressType === 'IPv6') !== isSix) continue;
    for (const { addresses, conditions, nodeName, hints } of endpoints ?? []) {
      const { ready = true, serving = true, terminating = false } = conditions ?? {};
      for (const { name, protocol, port } of ports ?? []) {
        const key = JSON.stringify([addresses?.[0], name, protocol, port]);
        const known = words.get(key) ?? { staying: new Set(), leaving: new Set() };
        words.set(key, known);
        known[terminating === true ? 'leaving' : 'staying'].add(JSON.stringify([ready, serving, nodeName, hints]));
      }
    }
  }
  // What stays comes before what is on its way out.
  return [...words.values()].some(({ staying, leaving }) => (staying.size > 0 ? staying : leaving).size > 1);
}

/** The closed list. An entry that explains nothing in a run has lost its reason: the run fails. */
export const deliberate: readonly Deliberate[] = [
  {
    id: 'B1 outsiders',
    why: 'a ClusterIP is not served to what arrives from elsewhere unless externalClusterIP says so; kube-proxy serves it',
    shareMax: 0.2,
    explains: ({ question, tandem, claims }) =>
      (question.client === 'outside' || question.client === 'foreign-pod') &&
      tandem.kind === 'pass' &&
      claims.of(question.frontend)[0]?.kind === 'ClusterIP',
  },
  {
    id: '1.4 pods of other nodes',
    why: 'only pods of this node are sent past externalTrafficPolicy Local; with ClusterCIDR kube-proxy means any pod',
    shareMax: 0.08,
    explains: (unequal) =>
      unequal.question.client === 'foreign-pod' &&
      knowsPods(unequal) &&
      isExternalLocal(claimsAt(unequal)[0]) &&
      isSame(unequal.proxy, expectedAnswer(unequal.expectation, unequal.question, 'internal')),
  },
  {
    id: '1.4 no detector',
    why: 'own pods are known by their devices, so without clusterCIDR they still pass externalTrafficPolicy Local',
    shareMax: 0.05,
    explains: (unequal) =>
      (unequal.question.client === 'pod' || unequal.question.client === 'backend') &&
      !knowsPods(unequal) &&
      isExternalLocal(claimsAt(unequal)[0]) &&
      onlySeenDiffersFrom(unequal, expectedAnswer(unequal.expectation, unequal.question, 'external')),
  },
  {
    id: 'D1 backends on the node',
    why: 'kube-proxy masquerades what leaves the node, so a backend with the address of this node sees the client itself',
    shareMax: 0.05,
    explains: (unequal) => onlySeenDiffers(unequal, isOwnAddress),
  },
  {
    id: 'D2 backends of no node',
    why: 'a backend that asks itself hears the node; kube-proxy knows hairpins of endpoints with our nodeName only',
    shareMax: 0.02,
    explains: (unequal) =>
      unequal.question.client === 'backend' &&
      onlySeenDiffers(unequal, (address) => address === unequal.question.source),
  },
  {
    id: 'A6 contested frontends',
    why: 'two Services claim one address and port: tandem has one owner by rule, with kube-proxy the last one wins',
    shareMax: 0.02,
    explains: (unequal) => claimsAt(unequal).length > 1,
    explainsRanges: (unequal) => claimsAt(unequal).length > 1,
  },
  {
    id: 'H4 doubled endpoints',
    why: 'one address and port twice, both terminating or neither, with different words: upstream leaves open which counts',
    shareMax: 0.02,
    explains: ({ claims, question, proxy, tandem }) =>
      // Which backends there are, and so what happens without any; not what they see, nor for how long one is remembered.
      ['outcome', 'backends'].includes(firstDifference(proxy, tandem)?.[0] ?? '') &&
      claimsAt({ claims, question }).some(({ service }) =>
        isDoubled(claims.slicesOf(service), question.frontend.address.includes(':')),
      ),
  },
  {
    id: 'B10 any address of the node',
    why: 'a range that holds any own address lets the load balancer addresses in; kube-proxy asks for the primary one',
    shareMax: 0.02,
    explains: ({ proxy, question, claims }) =>
      proxy.kind === 'drop' &&
      claims.of(question.frontend).some(({ service }) => balancersOf(service).includes(question.source)) &&
      claims.of(question.frontend).some(({ service }) => holdsOtherAddress(rangesOf(service, question.frontend))),
    explainsRanges: ({ proxyRanges, tandemRanges, question, claims }) => {
      if (proxyRanges === null || tandemRanges === null || !holdsOtherAddress(proxyRanges)) return false;
      const isSix = question.frontend.address.includes(':');
      const balancers = claims.of(question.frontend).flatMap(({ service }) => balancersOf(service));
      const added = balancers.filter((address) => address.includes(':') === isSix).map(intervalOf);
      return rangesText(normalIntervals([...proxyRanges, ...added])) === rangesText(tandemRanges);
    },
  },
];

/** An address of the node other than the primary one, of which alone kube-proxy knows. */
function holdsOtherAddress(ranges: readonly Interval[]): boolean {
  const held = node.addresses.filter((address) => holds(ranges, addressNumber(address)));
  const primary = held.filter((address) => node.primary.some((one) => one === address));
  return held.length > primary.length && primary.length === 0;
}

function rangesOf({ spec }: ServiceObject, { address }: FrontendKey): readonly Interval[] {
  const isSix = address.includes(':');
  return (spec?.loadBalancerSourceRanges ?? []).filter((range) => range.includes(':') === isSix).map(intervalOf);
}

function rangesText(ranges: readonly Interval[]): string {
  return ranges.map(({ first, last }) => `${first}-${last}`).join(',');
}

/** As an answer of the other view, but for what a hairpin of no node or a backend on the node changes. */
function onlySeenDiffersFrom(unequal: Unequal, other: Answer): boolean {
  const may = (address: string): boolean => isOwnAddress(address) || address === unequal.question.source;
  return isSame(unequal.proxy, other) || onlySeenDiffers({ ...unequal, tandem: other }, may);
}
