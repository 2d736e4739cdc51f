// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants of the control plane that no test finds, each with the reason why none can. */
import type { Argued } from './fates.ts';

const TOLD_IN_VAIN =
  'the backend is then told as changed where it is not, and whoever changes it compares the word of the map and writes nothing';

/** Key of a mutant (proof/control/draw.ts) -> why it survives. One whose line changes must be argued anew. */
export const argued: Argued = {
  'maglev.ts lane: for (let at = Math.min(to, bytes.length) - 1; at >= from; at -= 1) value = (value << 8n) | BigInt(bytes[at] ?? 0); [method min -> max]':
    'bytes beyond the eighth stand above bit 64 and are wrapped away by the product; those beyond the end are zero',
  'claims.ts countAddress: const frontends = (desired.addresses.get(text)?.frontends ?? 0) + change; [arithmetic + -> -]':
    'counts down and up instead of up and down: zero is reached where it was, and nobody reads another number',
  'slices.ts readSlice: isPlain: endpoints.every(({ address, text }, index) => address !== null && text !== endpoints[index - 1]?.text), [arithmetic - -> +]':
    'each is compared with the one behind it instead of the one before: the same pairs',
  'adopt.ts adoptBlocks: } else isTrusted = false; [boolean false -> true]':
    'the block is not among those of its port, so that the row is written again with another one (test/agent/damage.test.ts has each such row)',
  "backends.ts heldFrom: const state = (live & BACKEND_STATE) === BACKEND_ACTIVE ? 'active' : 'terminating'; [bit & -> |]":
    TOLD_IN_VAIN,
  'backends.ts compareBackends: if (left === undefined) return 1; [number 1 -> 2]':
    'whoever compares asks for the sign alone',
  'backends.ts mergeLists: const backend = order <= 0 ? here : there; [relational <= -> <]':
    'of equal ones both are the same object: an endpoint makes its backend for a port once',
  'plan.ts freeFrontend: segment.freed = true; [boolean true -> false]':
    'what was freed then cools until the next barrier, which whoever finds too little room asks for: nothing is used early and nothing is lost',
  'endpoints.ts portsOf: return slice.ports.filter((one) => one.name === name && one.protocol === protocol); [dropped return slice.ports.filter((one) => one.name === name && one.protocol === protocol); -> nothing]':
    'the index of wide slices gives the same ports for narrow ones, more slowly',
};
