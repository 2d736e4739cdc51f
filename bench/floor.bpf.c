/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * floor.bpf.c: times TC programs by test run. A test run never restores the packet between repeats,
 * so a program that rewrites it would meet its own output: wrap puts the packet back, picks the
 * next flow, and tail-calls the program. The floors are the least that a datapath of some kind has
 * to do; they are timed in the same run.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TEMPLATE 64
#define UNSPEC	 (-1)
#define SHOT	 2
#define ENTRIES	 262144

struct control {
	__u8 template[TEMPLATE]; /* the packet's head as it is before each call */
	__u32 mask;		 /* flows - 1, a power of two minus one */
	__u32 sequence;
	__u32 address; /* of flow 0, host order */
	__u32 port;
	__u32 vary_destination;
	__u32 step; /* odd: the order in which the flows come */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

struct key {
	__u64 words[5];
};

struct value {
	__u64 seen;
	__u64 packets;
	__u64 bytes;
	struct key translation;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, struct key);
	__type(value, struct value);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, struct key);
	__type(value, struct value);
} lru SEC(".maps");

SEC("tc")
int wrap(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 zero = 0;
	struct control *now = bpf_map_lookup_elem(&control, &zero);

	if (!now || data + TEMPLATE > end)
		return SHOT;
	__u64 *to = data;
	const __u64 *from = (const __u64 *)now->template;

#pragma unroll
	for (int i = 0; i < TEMPLATE / 8; i++)
		to[i] = from[i];
	__u32 flow = now->sequence++ * now->step & now->mask;
	__be32 address = bpf_htonl(now->address + (flow >> 15));
	__be16 port = bpf_htons(now->port + (flow & 0x7fff));

	if (now->vary_destination) {
		*(__be32 *)(data + 30) = address;
		*(__be16 *)(data + 36) = port;
	} else {
		*(__be32 *)(data + 26) = address;
		*(__be16 *)(data + 34) = port;
	}
	bpf_tail_call(skb, &target, 0);
	return SHOT;
}

SEC("tc")
int floor_nothing(struct __sk_buff *skb)
{
	return skb ? UNSPEC : SHOT;
}

struct headers {
	__u8 *ip;
	struct key key;
};

static __always_inline int parse(struct __sk_buff *skb, struct headers *headers)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u8 *ip = data + 14;

	if ((void *)(ip + 40) > end || *(__be16 *)(data + 12) != bpf_htons(0x0800) || *ip != 0x45 ||
	    ip[9] != 6)
		return 0;
	headers->ip = ip;
	headers->key = (struct key){ { 0, (__u64) * (__u32 *)(ip + 12) << 32 | 0xffff0000u, 0,
				       (__u64) * (__u32 *)(ip + 16) << 32 | 0xffff0000u,
				       (__u64) * (__u32 *)(ip + 20) | 6ull << 32 } };
	return 1;
}

SEC("tc")
int floor_parse(struct __sk_buff *skb)
{
	struct headers headers;

	if (!parse(skb, &headers))
		return SHOT;
	return (headers.key.words[1] ^ headers.key.words[4]) == 1 ? SHOT : UNSPEC;
}

static __always_inline void rewrite(struct headers *headers, const struct key *translation)
{
	__be32 *destination = (__be32 *)(headers->ip + 16);
	__u32 old = ~*destination, new = translation->words[3] >> 32;
	__u32 delta = (old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16);
	__u16 *ip_check = (__u16 *)(headers->ip + 10), *tcp_check = (__u16 *)(headers->ip + 36);
	__u32 sum = (~(__u32)*ip_check & 0xffff) + delta;

	sum = (sum & 0xffff) + (sum >> 16);
	*ip_check = ~((sum & 0xffff) + (sum >> 16));
	sum = (~(__u32)*tcp_check & 0xffff) + delta;
	sum = (sum & 0xffff) + (sum >> 16);
	*tcp_check = ~((sum & 0xffff) + (sum >> 16));
	*destination = new;
}

/* An established connection at its cheapest: one hit in a hash, clock, counters, rewriting. */
SEC("tc")
int floor_established(struct __sk_buff *skb)
{
	struct headers headers;

	if (!parse(skb, &headers))
		return SHOT;
	struct value *value = bpf_map_lookup_elem(&hash, &headers.key);

	if (!value)
		return SHOT;
	value->seen = bpf_ktime_get_coarse_ns();
	value->packets++;
	value->bytes += 60;
	rewrite(&headers, &value->translation);
	return UNSPEC;
}

static __always_inline int remember(struct __sk_buff *skb, void *map)
{
	struct headers headers;

	if (!parse(skb, &headers))
		return SHOT;
	struct value value = { .seen = bpf_ktime_get_coarse_ns(), .translation = headers.key };

	return bpf_map_update_elem(map, &headers.key, &value, BPF_ANY) ? SHOT : UNSPEC;
}

SEC("tc")
int fill_hash(struct __sk_buff *skb)
{
	return remember(skb, &hash);
}

/* A first packet at its cheapest: clock, two entries in an LRU, one for each direction. */
SEC("tc")
int floor_first(struct __sk_buff *skb)
{
	struct headers headers;

	if (remember(skb, &lru) == SHOT || !parse(skb, &headers))
		return SHOT;
	struct key answer = { { headers.key.words[2], headers.key.words[3], headers.key.words[0],
				headers.key.words[1], headers.key.words[4] | 1ull << 40 } };
	struct value value = { .translation = headers.key };

	return bpf_map_update_elem(&lru, &answer, &value, BPF_ANY) ? SHOT : UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
