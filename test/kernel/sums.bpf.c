/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sums.bpf.c: runs behind the datapath and sums each packet that claims to be CHECKSUM_COMPLETE:
 * the kernel itself would not notice a sum that was left behind until somebody local reads it.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define NEXT	 (-1)
#define COMPLETE 2
#define ETHERNET 14
#define CHUNK	 64
#define CHUNKS	 32

struct sums {
	__u64 checked;
	__u64 wrong;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sums);
} sums SEC(".maps");

struct sk_buff {
	__u8 ip_summed : 2;
	__u32 csum;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff ? 0 : sum;
}

/* The sum covers the packet from `from` on. */
static __always_inline int check(struct __sk_buff *skb, __u32 from)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	__u32 zero = 0, claimed = BPF_CORE_READ(kernel, csum);
	struct sums *found = bpf_map_lookup_elem(&sums, &zero);
	__s64 sum = 0;

	if (!found || BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed) != COMPLETE)
		return NEXT;
	if (skb->len > from + CHUNK * CHUNKS)
		return NEXT;
	for (__u32 i = 0; i < CHUNKS; i++) {
		__u8 bytes[CHUNK] = {};
		__u32 at = from + i * CHUNK, left = skb->len - at;

		if (at >= skb->len)
			break;
		if (left >= CHUNK) {
			if (bpf_skb_load_bytes(skb, at, bytes, CHUNK))
				return NEXT;
		} else {
			for (__u32 j = 0; j < CHUNK; j++) {
				if (j >= left)
					break;
				if (bpf_skb_load_bytes(skb, at + j, &bytes[j], 1))
					return NEXT;
			}
		}
		sum = bpf_csum_diff(0, 0, (__be32 *)bytes, CHUNK, sum);
	}
	__sync_fetch_and_add(&found->checked, 1);
	if (fold(sum) != fold(claimed))
		__sync_fetch_and_add(&found->wrong, 1);
	return NEXT;
}

/* On arrival the sum begins with the IP header; where a packet leaves, with its Ethernet header. */
SEC("tc")
int arrived(struct __sk_buff *skb)
{
	return check(skb, ETHERNET);
}

SEC("tc")
int leaves(struct __sk_buff *skb)
{
	return check(skb, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
