// SPDX-License-Identifier: Apache-2.0
/** Faults for the C side, as small changes of text: each must be seen by a campaign, or nobody should trust it. */
import { fail, ok, type Result } from '../core/result.ts';

/** One fault. `find` occurs exactly once in the file, whatever the formatter made of its white space. */
export type Mutant = {
  readonly name: string;
  /** Below bpf/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What it stands for, in a reader's words. */
  readonly meaning: string;
  /** Which fields may be the first to differ; anything else means that something else was found. */
  readonly shows: RegExp;
  /** Whether packets find it, or only real connect() calls. */
  readonly road: 'packets' | 'sockets';
};

/** Fields that differ when a flow table goes another way. */
const TABLE = /^(trace|writes|flows)\[/;
/** The same, or what the packet gets because of it. */
const FATE = /^(verdict|reason|servicePort|backend|length|bytes|trace|writes|flows)/;

const packetMutants: readonly Omit<Mutant, 'road'>[] = [
  {
    name: 'transport-checksum-stale',
    file: 'checksum.h',
    find: 'return checksum_replace(check, address_delta + port_delta);',
    replace: '(void)address_delta, (void)port_delta; return check;',
    meaning: 'the TCP checksum is left as it was',
    shows: /tcp\.checksum$/,
  },
  {
    name: 'partial-counts-port',
    file: 'checksum.h',
    find: 'return checksum_fold((__u32)check + address_delta);',
    replace: 'return checksum_fold((__u32)check + address_delta + port_delta);',
    meaning: 'a pending checksum gets the port that whoever completes it adds again',
    shows: /tcp\.checksum$/,
  },
  {
    name: 'partial-complemented',
    file: 'checksum.h',
    find: 'return checksum_fold((__u32)check + address_delta);',
    replace: 'return checksum_replace(check, address_delta);',
    meaning: 'a pending checksum is treated as a complete one',
    shows: /tcp\.checksum$/,
  },
  {
    name: 'ip-checksum-stale',
    file: 'verdict.h',
    find: 'ip->check = checksum_replace(ip->check, delta);',
    replace: '',
    meaning: 'the IP header checksum is left as it was',
    shows: /ip\.checksum$/,
  },
  {
    name: 'complete-sum-stale',
    file: 'verdict.h',
    find: 'if (mode == CHECKSUM_MODE_COMPLETE) bpf_csum_update(skb, checksum_fold(checksum_address_delta(new_address, old_address)));',
    replace: '',
    meaning: "the device's sum over the packet is not brought along",
    shows: /^returned$/,
  },
  {
    name: 'complete-sum-backwards',
    file: 'verdict.h',
    find: 'checksum_fold(checksum_address_delta(new_address, old_address))',
    replace: 'checksum_fold(checksum_address_delta(old_address, new_address))',
    meaning: "the device's sum is changed the wrong way round",
    shows: /^returned$/,
  },
  {
    name: 'icmp-checksum-wrong',
    file: 'verdict.h',
    find: '0x0303 +',
    replace: '0x0301 +',
    meaning: 'the ICMP checksum sums another type and code',
    shows: /icmp\.checksum$/,
  },
  {
    name: 'quote-keeps-pending',
    file: 'verdict.h',
    find: 'if (mode == CHECKSUM_MODE_PARTIAL) return sum + transport - tcp->check + (~checksum_fold(transport) & 0xffff);',
    replace: '(void)mode;',
    meaning: 'the ICMP checksum sums a pending checksum that will change before the wire',
    shows: /icmp\.checksum$/,
  },
  {
    name: 'padding-not-trimmed',
    file: 'verdict.h',
    find: 'packet->length + ETHERNET_LENGTH != skb->len ||',
    replace: '',
    meaning: 'padding behind a refused packet stays in the answer',
    shows: /^(length|trace)/,
  },
  {
    name: 'reply-ports-swapped',
    file: 'nat.h',
    find: 'reply->source_port = translation->destination_port; reply->destination_port = translation->source_port;',
    replace: 'reply->source_port = translation->source_port; reply->destination_port = translation->destination_port;',
    meaning: "the backend's answers are looked for with its ports exchanged",
    shows: FATE,
  },
  {
    name: 'one-slot-too-many',
    file: 'select.h',
    find: '(__u64)hash * view->count >> 32',
    replace: '(__u64)hash * (view->count + 1) >> 32',
    meaning: 'the choice sometimes lands one slot behind the view',
    shows: FATE,
  },
  {
    name: 'backend-state-ignored',
    file: 'select.h',
    find: '(state == BACKEND_ACTIVE || state == BACKEND_TERMINATING) && (live & bit)',
    replace: 'state < 4 && (live & bit)',
    meaning: 'a backend whose address is another pod’s now still gets connections',
    shows: FATE,
  },
  {
    name: 'port-in-host-order',
    file: 'conntrack.h',
    find: 'bpf_ntohs(key->source_port) | key->protocol << 16',
    replace: 'key->source_port | key->protocol << 16',
    meaning: "the client's port is hashed without its byte order",
    shows: FATE,
  },
  {
    name: 'classifier-in-host-order',
    file: 'classify.h',
    find: 'maybe_known(&key->source, bpf_ntohs(key->source_port) | key->protocol << 16)',
    replace: 'maybe_known(&key->source, key->source_port | key->protocol << 16)',
    meaning: 'backends are not recognised by their port',
    shows: FATE,
  },
  {
    name: 'row-key-not-checked',
    file: 'lookup.h',
    find: 'if (service && same_frontend(&service->key, key))',
    replace: 'if (service && (key->port || same_frontend(&service->key, key)))',
    meaning: 'a row that was recycled under the reader is taken for the right one',
    shows: FATE,
  },
  {
    name: 'mapped-prefix-missing',
    file: 'parse.h',
    find: 'packet->key.source.words[2] = bpf_htonl(0xffff);',
    replace: 'packet->key.source.words[2] = 0;',
    meaning: 'the words of an IPv4 address before its last are not those of a v4-mapped one',
    shows: FATE,
  },
  {
    name: 'ihl-assumed-five',
    file: 'parse.h',
    find: 'packet->transport = ETHERNET_LENGTH + header_length;',
    replace: 'packet->transport = ETHERNET_LENGTH + IPV4_LENGTH;',
    meaning: 'IPv4 options are read as the TCP header',
    shows: FATE,
  },
  {
    name: 'first-fragment-translated',
    file: 'parse.h',
    find: '#define FRAGMENT_BITS 0x3fff',
    replace: '#define FRAGMENT_BITS 0x1fff',
    meaning: 'a first fragment is taken for a whole packet',
    shows: FATE,
  },
  {
    name: 'data-offset-not-checked',
    file: 'parse.h',
    find: '|| (tcp->offset >> 4) < 5',
    replace: '',
    meaning: 'a TCP header shorter than TCP headers are is believed',
    shows: FATE,
  },
  {
    name: 'loopback-not-martian',
    file: 'conntrack.h',
    find: 'top == 127 ||',
    replace: '',
    meaning: 'a source that cannot be on a wire is translated',
    shows: FATE,
  },
  {
    name: 'refused-in-silence',
    file: 'conntrack.h',
    find: 'return decided(decision, VERDICT_REFUSE, REASON_NO_ENDPOINTS);',
    replace: 'return decided(decision, VERDICT_DROP, REASON_NO_ENDPOINTS);',
    meaning: 'a client of a Service without endpoints waits instead of being refused',
    shows: /^(verdict|reason)$/,
  },
  {
    name: 'answer-not-sent',
    file: 'hook_tc.h',
    find: 'return bpf_redirect(skb->ifindex, 0);',
    replace: 'return TC_SHOT;',
    meaning: 'the refusal is made and then thrown away',
    shows: /^returned$/,
  },
  {
    name: 'hairpin-not-seen',
    file: 'conntrack.h',
    find: 'if (same_address(&backend->address, &key->source))',
    replace: 'if (false)',
    meaning: 'a client that chose itself sends itself a packet that cannot be answered',
    shows: FATE,
  },
  {
    name: 'taken-tuple-shared',
    file: 'conntrack.h',
    find: 'result == FLOW_EXISTS && !nat_answers(&record->translation, &packet->key)',
    replace: 'false',
    meaning: 'two connections share the entry of their answers',
    shows: FATE,
  },
  {
    name: 'fin-ignored',
    file: 'conntrack.h',
    find: '(flags & TCP_FIN) && !(state & FLOW_FIN)',
    replace: 'false',
    meaning: 'a connection that ended lives on',
    shows: FATE,
  },
  {
    name: 'fin-not-told-other',
    file: 'conntrack.h',
    find: 'flow_change(other, FLOW_PEER_FIN, 0, now);',
    replace: 'flow_change(other, FLOW_FIN, 0, now);',
    meaning: "the other direction takes its peer's FIN for its own",
    shows: FATE,
  },
  {
    name: 'reset-for-ever',
    file: 'conntrack.h',
    find: 'flow_change(own, 0, FLOW_RESET, now);',
    replace: '',
    meaning: 'a reset that was not meant is never taken back in one direction',
    shows: FATE,
  },
  {
    name: 'syn-keeps-closing',
    file: 'conntrack.h',
    find: '!flow_closing(decision->record.state) && still_served(&decision->record)',
    replace: 'still_served(&decision->record)',
    meaning: 'a new connection is sent where the closed one went',
    shows: FATE,
  },
  {
    name: 'syn-keeps-dead-backend',
    file: 'conntrack.h',
    find: '!flow_closing(decision->record.state) && still_served(&decision->record)',
    replace: '!flow_closing(decision->record.state)',
    meaning: 'a new connection is sent to a backend that is gone',
    shows: FATE,
  },
  {
    name: 'generation-ignored',
    file: 'conntrack.h',
    find: 'backend->live >> BACKEND_GENERATION_SHIFT == record->generation &&',
    replace: '',
    meaning: "an address that passed to another pod counts as the old pod's",
    shows: FATE,
  },
  {
    name: 'any-ack-establishes',
    file: 'conntrack.h',
    find: '|| packet->acknowledgement - ((__u32)record->isn + 1) >= ESTABLISH_WINDOW)',
    replace: ')',
    meaning: 'a flood of ACKs fills the table with flows that cannot be recycled',
    shows: FATE,
  },
  {
    name: 'window-off-by-one',
    file: 'conntrack.h',
    find: '((__u32)record->isn + 1) >= ESTABLISH_WINDOW',
    replace: '((__u32)record->isn + 1) > ESTABLISH_WINDOW',
    meaning: 'an acknowledgement just outside the window establishes',
    shows: FATE,
  },
  {
    name: 'reset-establishes',
    file: 'conntrack.h',
    find: '(packet->flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK',
    replace: '(packet->flags & (TCP_SYN | TCP_ACK)) != TCP_ACK',
    meaning: 'a reset completes a connection',
    shows: FATE,
  },
  {
    name: 'half-promoted',
    file: 'conntrack.h',
    find: 'flow_change(&packet->key, FLOW_PROMOTE, 0, now);',
    replace: '',
    meaning: 'only the entry of the answers is established',
    shows: FATE,
  },
  {
    name: 'isn-of-next',
    file: 'conntrack.h',
    find: 'flow_note_isn(record, packet->sequence);',
    replace: 'flow_note_isn(record, packet->sequence + 1);',
    meaning: 'the sequence number noted is one too high',
    shows: TABLE,
  },
  {
    name: 'refresh-forgotten',
    file: 'flows.h',
    find: 'if ((ticks)again != now) {',
    replace: 'if ((ticks)again + 2 < now) {',
    meaning: 'a flow in use is not always kept alive',
    shows: FATE,
  },
  {
    name: 'hint-not-repaired',
    file: 'flows.h',
    find: 'bucket->due[slot] = flow_hint(word); log_write(WRITE_REPAIR, index, slot, bucket->due[slot]);',
    replace: 'log_write(WRITE_REPAIR, index, slot, flow_hint(word));',
    meaning: 'a hint that had fallen behind stays behind',
    shows: TABLE,
  },
  {
    name: 'spill-not-marked',
    file: 'flows.h',
    find: 'first->spill = 1;',
    replace: 'first->spill = first->spill;',
    meaning: 'an entry in its second bucket is never found again',
    shows: FATE,
  },
  {
    name: 'deadline-one-late',
    file: 'flows.h',
    find: '& ~1u) - now) > 0',
    replace: '& ~1u) - now) >= 0',
    meaning: 'a flow lives one tick longer than it may',
    shows: FATE,
  },
  {
    name: 'younger-recycled',
    file: 'flows.h',
    find: 'other = oldest2 < oldest1;',
    replace: 'other = oldest2 > oldest1;',
    meaning: 'not the half-open flow that is due first makes room',
    shows: FATE,
  },
  {
    name: 'recycles-established',
    file: 'flows.h',
    find: '(0 - (gone | (~due & 1)))',
    replace: '(0 - gone)',
    meaning: 'an established flow is a candidate for recycling',
    shows: FATE,
  },
  {
    name: 'fewer-candidates',
    file: 'flows.h',
    find: 'n < FLOW_CANDIDATES && mask; n++) {',
    replace: 'n < FLOW_CANDIDATES - 1 && mask; n++) {',
    meaning: 'fewer equal fingerprints are looked at than the model looks at',
    shows: FATE,
  },
  {
    name: 'crowded-later',
    file: 'flows.h',
    find: 'free2 > free1',
    replace: 'free2 >= free1',
    meaning: 'equally full buckets are told apart',
    shows: TABLE,
  },
  {
    name: 'bytes-not-counted',
    file: 'flows.h',
    find: 'flow->bytes += length;',
    replace: 'flow->bytes += length & ~3u;',
    meaning: 'the flow counts other bytes than passed',
    shows: /^flows\[.*bytes/,
  },
  {
    name: 'reason-not-counted',
    file: 'verdict.h',
    find: 'counter = bpf_map_lookup_elem(&service_counters, &service_port);',
    replace: 'counter = NULL; (void)service_port;',
    meaning: 'no packet is counted for its Service',
    shows: /^counters\[/,
  },
];

const socketMutants: readonly Omit<Mutant, 'road'>[] = [
  {
    name: 'same-attempt-again',
    file: 'connect.h',
    find: 'earlier ? earlier->attempts + 1 : 0',
    replace: 'earlier ? earlier->attempts : 0',
    meaning: 'a second connect() of a socket chooses the backend that refused the first',
    shows: /^(backend|address|writes|peer)/,
  },
  {
    name: 'connect-permission-denied',
    file: 'hook_sock.h',
    find: 'bpf_set_retval(-ECONNREFUSED);',
    replace: '',
    meaning: 'a refused application is told that it lacks permission',
    shows: /^errno$/,
  },
  {
    name: 'peer-shows-backend',
    file: 'connect.h',
    find: 'connection->address = peer->frontend;',
    replace: '',
    meaning: 'getpeername() shows the backend',
    shows: /^peer/,
  },
];

/** Every fault, each by a name of its own. */
export const mutants: readonly Mutant[] = [
  ...packetMutants.map((mutant) => ({ ...mutant, road: 'packets' as const })),
  ...socketMutants.map((mutant) => ({ ...mutant, road: 'sockets' as const })),
];

/** `find` as a pattern: any white space where it has some. */
function patternOf(find: string): RegExp {
  const words = find.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(words.join('\\s+'), 'g');
}

/** The text of the mutant's file with the fault in it. A mutant that no longer fits the code is a failure. */
export function plantMutant({ name, file, find, replace }: Mutant, text: string): Result<string> {
  const count = [...text.matchAll(patternOf(find))].length;
  if (count !== 1) {
    const message = `found ${count} times in bpf/${file}: ${find}`;
    return fail('input', `mutant ${name}`, message, 'change proof/mutants.ts with the code it changes');
  }
  return ok(text.replace(patternOf(find), () => replace));
}
