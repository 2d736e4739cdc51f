// SPDX-License-Identifier: Apache-2.0
/** What the compiler's terms mean, in words for people: one place, so that all commands say the same. */
import { hostText } from '../../address.ts';
import type { ExclusionReason, Masquerade, TopologyReason, ViewName, WhenEmpty } from '../../service.ts';

/** Why an endpoint is left out, in a few words. */
export const EXCLUSION_WORDS: { readonly [reason in ExclusionReason]: string } = {
  'not-ready': 'not ready',
  terminating: 'terminating while others are ready',
  'not-local': 'not on this node',
  'other-zone': 'its hint is for another zone',
  'other-node': 'its hint is for another node',
  'other-family': 'of a family in which the Service has no address',
  'no-such-port': 'its slice has no such port',
  duplicate: 'named more than once',
  'invalid-address': 'not an address',
};

/** Why hints are followed or not. */
export const TOPOLOGY_WORDS: { readonly [reason in TopologyReason]: string } = {
  followed: 'followed',
  'switched-off': 'not followed: topology is false in the configuration',
  'local-policy': 'not asked: the policy is Local',
  'no-ready-endpoints': 'not followed: no endpoint is ready',
  'no-hints': 'there are none',
  'endpoint-without-hints': 'not followed: a ready endpoint has none',
  'zone-unknown': 'not followed: the zone of this node is not known',
  'no-hint-names-us': 'not followed: none is for this node or its zone',
};

/** What a new connection meets when no backend is left. */
export const EMPTY_WORDS: { readonly [what in WhenEmpty]: string } = {
  reject: 'refused at once',
  drop: 'dropped without an answer',
};

/** Who is meant by a view. */
export const VIEW_WORDS: { readonly [view in ViewName]: string } = {
  internal: 'from this node',
  external: 'from elsewhere',
};

/** Whose address the backend sees. */
export const MASQUERADE_WORDS: { readonly [masquerade in Masquerade]: string } = {
  never: "the client's own address",
  'off-cluster': "a pod's own address, for other clients this node's",
  always: "this node's address",
};

/** `10.0.0.1:80`; the address alone where no port is known. */
export function placeText(address: string, port: number | null): string {
  return port === null ? address : `${hostText(address)}:${port}`;
}
