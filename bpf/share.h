/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * share.h: how much of the flow table one client and one Service may hold for good; twin of
 * core/datapath/share.ts. What is beyond a share lives on, but may be recycled.
 */
#pragma once

/* 1 where the number is 0, without a branch. */
static __always_inline __u64 flow_zero(__u64 number)
{
	__u64 zero = ~(number | (0 - number)) >> 63;

	HIDE(zero);
	return zero;
}

/* Slots of a bucket that no newcomer may take, by their hints. */
static __always_inline __u32 flow_held(const struct flow_bucket *bucket, ticks now)
{
	__u64 held = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < FLOW_SLOTS; i++) {
		__u64 due = bucket->due[i], left = (__u32)(due - now);

		held += (1 - flow_zero(bucket->fingerprints[i])) & ~due & (1 - flow_zero(left)) &
			((left >> 31) ^ 1) & 1;
		HIDE(held);
	}
	return held;
}

/* Established flows of a bucket that are protected: of this client in the low half, of this Service
 * port in the high one. */
__noinline __u32 flow_holders(__u32 index, struct flow_key *key, service_port_id service_port,
			      ticks now)
{
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &index);
	__u64 client = 0, service = 0;

	if (!bucket || !key)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < FLOW_SLOTS; i++) {
		const struct flow *flow = &bucket->flows[i];
		const __u64 *source = (const __u64 *)&flow->key.source;
		const __u64 *asked = (const __u64 *)&key->source;
		__u64 word = READ_ONCE(flow->word);
		__u32 state = flow_word_state(word);
		__u32 gone = now - ((ticks)word + (flow_lifetime(state) & ~1u));
		__u64 holds = flow_zero((state & (FLOW_LIFE | FLOW_EXCESS)) ^ FLOW_ESTABLISHED) &
			      flow_zero(flow->key.direction) & gone >> 31;

		client += holds & flow_zero((source[0] ^ asked[0]) | (source[1] ^ asked[1]));
		HIDE(client);
		service += holds & flow_zero(flow->service_port ^ service_port);
		HIDE(service);
	}
	return client | service << 16;
}

/*
 * What is set when a flow is established: nothing, or FLOW_EXCESS where its client or its Service
 * port already holds its share of the key's two buckets and half of their slots are held: the flow
 * goes on all the same, but a newcomer that finds no other slot may take its place.
 */
__noinline __u32 flow_share(struct flow_key *key, service_port_id service_port, ticks now)
{
	if (!key)
		return 0;
	struct flow_hash hash = flow_hash(key);
	__u32 index1 = hash.first & config.flow_bucket_mask;
	__u32 index2 = hash.second & config.flow_bucket_mask;
	struct flow_bucket *first = bpf_map_lookup_elem(&flows, &index1);
	struct flow_bucket *second = bpf_map_lookup_elem(&flows, &index2);

	if (!first || !second || flow_held(first, now) + flow_held(second, now) < FLOW_SLOTS)
		return 0;
	__u32 holders = flow_holders(index1, key, service_port, now);

	if (index2 != index1)
		holders += flow_holders(index2, key, service_port, now);
	if ((holders & 0xffff) >= config.share_client) {
		MARK(SHARE_CLIENT);
		return FLOW_EXCESS;
	}
	if (holders >> 16 >= config.share_service) {
		MARK(SHARE_SERVICE);
		return FLOW_EXCESS;
	}
	return 0;
}
