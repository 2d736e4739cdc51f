// SPDX-License-Identifier: Apache-2.0
/** Where tandem means to differ from kube-proxy: a closed list, each entry with the rule, what it may explain and how often. */
import type { ClusterObject, ServiceObject } from '../../core/objects.ts';
import { claimantsAlone, endpointsOnce, type Compile } from './alternatives.ts';
import { firstDifference, type Answer, type FrontendKey } from './answer.ts';
import { isOwnAddress, type Question } from './derive.ts';
import { expectedAnswer, expectedRanges, readExpectation, type Expectation } from './expected.ts';
import { intervalOf, normalIntervals, holds, addressNumber, type Interval } from './intervals.ts';
import { node } from './places.ts';
import { balancersOf, keyText, type Claim, type Claims } from './objects.ts';
import type { NodeSettings } from './settings.ts';

/** One comparison that came out unequal. */
export type Unequal = {
  readonly question: Question;
  readonly proxy: Answer;
  readonly tandem: Answer;
  readonly expectation: Expectation;
  readonly settings: NodeSettings;
  readonly claims: Claims;
  readonly compile: Compile;
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
  /** Upstream leaves a choice open, and the other entries are asked again with each choice made. */
  readonly isOfChoice?: true;
  readonly explains?: (unequal: Unequal) => boolean;
  readonly explainsRanges?: (unequal: UnequalRanges) => boolean;
};

function claimsAt({ claims, question }: Pick<Unequal, 'claims' | 'question'>): readonly Claim[] {
  return claims.of(question.frontend);
}

function isExternalLocal({ kind, service }: Claim): boolean {
  return kind !== 'ClusterIP' && service.spec?.externalTrafficPolicy === 'Local';
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

/** As the other answer, but for what a backend on the node or a hairpin of no node changes. */
function isAsSeenFrom(unequal: Unequal, other: Answer): boolean {
  const may = (address: string): boolean =>
    isOwnAddress(address) || (address === unequal.question.source && !isOfNode(unequal));
  return isSame(unequal.proxy, other) || onlySeenDiffers({ ...unequal, tandem: other }, may);
}

/** Whether a slice of the Service says of the asking backend that it runs on this node. */
function isOfNode({ claims, question }: Unequal): boolean {
  return claimsAt({ claims, question }).some(({ service }) =>
    claims
      .slicesOf(service)
      .flatMap(({ endpoints }) => endpoints ?? [])
      .some(({ addresses, nodeName }) => addresses?.[0] === question.source && nodeName === node.name),
  );
}

function addressIn(name: string): string {
  return name.slice(0, name.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

/**
 * Whether the document says what it would of one of these sets of objects, and kube-proxy does what it would of one of
 * them, or deliberately not for another reason.
 */
function isOneOf(unequal: Unequal, alternatives: readonly (readonly ClusterObject[])[]): boolean {
  const { question, settings, compile, expectation, proxy, tandem } = unequal;
  const choices = alternatives.map((objects) => {
    const other = readExpectation(compile(objects), settings.clusterCIDRs);
    return { ...unequal, expectation: { ...other, clusterIPs: expectation.clusterIPs } };
  });
  const answers = choices.map((choice) => expectedAnswer(choice.expectation, question));
  if (!answers.some((answer) => isSame(answer, tandem))) return false;
  return choices.some((choice, index) => {
    const answer = answers[index];
    if (answer === undefined || isSame(answer, proxy)) return answer !== undefined;
    const again = { ...choice, tandem: answer };
    return deliberate.some(({ isOfChoice, explains }) => isOfChoice !== true && explains?.(again) === true);
  });
}

/** Both sides hold to the source ranges of one claimant each. */
function areRangesOfClaimants(unequal: UnequalRanges): boolean {
  const { question, settings, compile, claims, proxyRanges, tandemRanges } = unequal;
  const alone = claimantsAlone(claims.of(question.frontend), claims.slicesOf, question.frontend.protocol).map(
    (objects) => {
      const { rows } = readExpectation(compile(objects), settings.clusterCIDRs);
      return expectedRanges(rows.get(keyText(question.frontend)));
    },
  );
  const isAmong = (ranges: UnequalRanges['proxyRanges']): boolean =>
    alone.some((one) => rangesText(one ?? []) === rangesText(ranges ?? []));
  const withoutOwn = alone.some((one) => one !== null && proxyRanges !== null && isWithin(proxyRanges, one));
  return isAmong(tandemRanges) && (isAmong(proxyRanges) || withoutOwn);
}

/** The ranges of a claimant but for load balancer addresses of its own (B10). */
function isWithin(ranges: readonly Interval[], others: readonly Interval[]): boolean {
  return ranges.every(({ first, last }) => others.some((other) => other.first <= first && last <= other.last));
}

/** The firewall of one claimant stands before the backends of the other. */
function isBothInOne(unequal: Unequal): boolean {
  const claims = claimsAt(unequal);
  const hasRanges = claims.some(({ service }) => rangesOf(service, unequal.question.frontend).length > 0);
  return claims.length > 1 && hasRanges && unequal.proxy.kind === 'drop';
}

/** The closed list. An entry that explains nothing in a run has lost its reason: the run fails. */
export const deliberate: readonly Deliberate[] = [
  {
    id: 'B1 outsiders',
    why: 'a ClusterIP is not served to what arrives from elsewhere unless externalClusterIP says so; kube-proxy serves it',
    shareMax: 0.1,
    explains: (unequal) =>
      (unequal.question.client === 'outside' || unequal.question.client === 'foreign-pod') &&
      unequal.tandem.kind === 'pass' &&
      claimsAt(unequal).some(({ kind }) => kind === 'ClusterIP') &&
      // It does for them what tandem does for its own.
      isAsSeenFrom(unequal, expectedAnswer(unequal.expectation, unequal.question, 'internal')),
  },
  {
    id: '1.4 pods of other nodes',
    why: 'only pods of this node are sent past externalTrafficPolicy Local; with ClusterCIDR kube-proxy means any pod',
    shareMax: 0.04,
    explains: (unequal) =>
      unequal.question.client === 'foreign-pod' &&
      knowsPods(unequal) &&
      claimsAt(unequal).some(isExternalLocal) &&
      isSame(unequal.proxy, expectedAnswer(unequal.expectation, unequal.question, 'internal')),
  },
  {
    id: '1.4 no detector',
    why: 'own pods are known by their devices, so without clusterCIDR they still pass externalTrafficPolicy Local',
    shareMax: 0.05,
    explains: (unequal) =>
      (unequal.question.client === 'pod' || unequal.question.client === 'backend') &&
      !knowsPods(unequal) &&
      claimsAt(unequal).some(isExternalLocal) &&
      isAsSeenFrom(unequal, expectedAnswer(unequal.expectation, unequal.question, 'external')),
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
      !isOfNode(unequal) &&
      onlySeenDiffers(unequal, (address) => address === unequal.question.source),
  },
  {
    id: 'A6 contested frontends',
    isOfChoice: true,
    why: 'two Services claim one address and port: tandem has one owner by rule, with kube-proxy the last one wins',
    shareMax: 0.02,
    explains: (unequal) =>
      isOneOf(
        unequal,
        claimantsAlone(claimsAt(unequal), unequal.claims.slicesOf, unequal.question.frontend.protocol),
      ) || isBothInOne(unequal),
    explainsRanges: (unequal) => claimsAt(unequal).length > 1 && areRangesOfClaimants(unequal),
  },
  {
    id: 'H4 doubled endpoints',
    isOfChoice: true,
    why: 'one address and port in two slices, both terminating or neither, with different words: upstream leaves open which counts',
    shareMax: 0.03,
    explains: (unequal) =>
      claimsAt(unequal).some(({ service, portName }) => {
        const port = { name: portName, protocol: unequal.question.frontend.protocol };
        return isOneOf(unequal, endpointsOnce(service, unequal.claims.slicesOf(service), port));
      }),
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
