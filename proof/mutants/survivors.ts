// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants that no campaign finds, each with the reason why none can: printed with the table. */

const MASKED = 'never taken: the index is masked to the size of the table, the verifier alone wants the question';
const OTHER_CPU = 'makes a difference only when another CPU changes the entry between two instructions of this one';
const SHORT_FRAME = 'differs for a frame that ends with its type only; the kernel takes none such for a test run';

/** Key of a mutant (proof/mutants/mechanical.ts) -> why it survives. One whose line changes must be argued anew. */
export const argued: Readonly<Record<string, string>> = {
  'connect.h keep_send: if (at < SOCKET_ROWS && state->rows[at].backend && connection->reason == REASON_TRANSLATED) [relational < -> <=]':
    'never equal: socket_place gives a row that is there, the verifier alone wants the question',
  'flows.h flow_recycle: return (flow_lifetime(flow_word_state(word)) & 1) && flow_seize(bucket, slot, word) [bit & -> |]':
    'the hint by which the slot was chosen says the same as the word, unless another CPU changed the word since',
  'flows.h flow_publish: return FLOW_EXISTS; [constant FLOW_EXISTS -> (FLOW_EXISTS - 1)]': OTHER_CPU,
  'share.h flow_held: held += (1 - flow_zero(bucket->fingerprints[i])) & ~due & (1 - flow_zero(left)) & [arithmetic - -> +] #2':
    'the same: flow_zero gives 0 or 1, of the sum only bit 0 passes its neighbours, and that of 1 + 1 is that of 1 - 1',
  'udp.h lasts_one_way: if (now >> SECOND_SHIFT != record->seen >> SECOND_SHIFT && seconds < 255) { [relational < -> <=]':
    'a flow whose datagrams go on is completed after 30 s and one whose do not expires: 255 seconds are never counted',
  'verdict.h apply_related: return 0; [constant 0 -> 1] #3':
    'nobody reads it: it is a function of its own so that the verifier walks it once, and those must return something',
  'verdict.h apply_hop: if ((void *)(ipv4 + 1) > end) [relational > -> >=]':
    'never equal: a packet that goes back has a transport header, which was looked for before',
  'flows.h flow_matches: for (int i = 0; i < FLOW_SLOTS / 4; i++) { [relational < -> <=]':
    'behind the fingerprints lie the spill flag and padding, which equal a fingerprint once in 65,536 keys; the slot that is looked at then holds another key and is passed over',
  'flows.h flow_scan: return best << 16; [bit << -> >>]': MASKED,
  'flows.h flow_take: if (EXCHANGE(&flow->word, again, seen) != again && [relational != -> ==]': OTHER_CPU,
  'flows.h flow_take: if (EXCHANGE(&flow->word, again, seen) != again && [logical && -> ||]': OTHER_CPU,
  'flows.h flow_take: flow_word_version(READ_ONCE(flow->word)) != flow_word_version(word)) [relational != -> ==]':
    OTHER_CPU,
  'flows.h flow_take: return false; [dropped return false; -> nothing] #3': OTHER_CPU,
  'flows.h flow_take: return false; [constant false -> true] #3': OTHER_CPU,
  'flows.h flow_publish: lock_index = index1 & (FLOW_LOCKS - 1); [arithmetic - -> +]':
    'a lock that is not there is asked for only in tables of more than 4,096 buckets, larger than those of campaigns; test/kernel/race.test.ts has such a table and finds it',
  'flows.h flow_publish: lock_index = index1 & (FLOW_LOCKS - 1); [constant FLOW_LOCKS -> (FLOW_LOCKS - 1)]':
    'half of the locks serve all of the buckets: as right, and a little slower',
  'flows.h flow_publish: if (twin < 0) { [relational < -> <=]': OTHER_CPU,
  'flows.h flow_publish: return FLOW_REFUSED; [constant FLOW_REFUSED -> (FLOW_REFUSED - 1)] #2': MASKED,
  'flows.h flow_publish: if (twin < 0 && first->spill) [relational < -> <=]': OTHER_CPU,
  'flows.h flow_publish: if (twin < 0 && first->spill) [logical && -> ||]':
    'no key is in its second bucket before its first one says that it spilled, so that looking there finds nothing; and a twin needs another CPU',
  'flows.h flow_publish: &flow->word, flow_make_word(flow_word_version(flow->word), FLOW_FREE, 0)); [constant FLOW_FREE -> (FLOW_FREE - 1)]':
    'a claim is given back only when another CPU was faster; test/kernel/race.test.ts has two and finds it',
  'parse.h parse_frame: if ((void *)(type + 1) <= end && *type == bpf_htons(ETH_P_IP)) [relational <= -> <]':
    SHORT_FRAME,
  'parse.h parse_frame: if ((void *)(type + 1) <= end && *type == bpf_htons(ETH_P_IPV6)) [relational <= -> <]':
    SHORT_FRAME,
  'tcp.h tcp_kind: return flags & TCP_ACK ? TCP_CONTINUES : TCP_OPENS; [constant TCP_ACK -> (TCP_ACK + 1)]':
    'the bit that is added is FIN, and a SYN with FIN was sent away before',
};
