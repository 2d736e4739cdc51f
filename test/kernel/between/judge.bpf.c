/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * judge.bpf.c: asks frontends in turn, without pause, and judges each answer. A repeated test run
 * never restores its packet: what is met at entry is what the datapath made of the packet before.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEAD	   64
#define ASKED_MAX  64
#define PORT	   80
#define FIRST_PORT 1024
#define SHOT	   2
#define SYN	   2
#define RST	   4
#define TCP	   6

struct asked {
	__u32 address;
	__u32 networks[2]; /* upper halves of the addresses of its backends */
	__u32 is_steady;   /* it always has an endpoint */
};

struct control {
	__u8 head[HEAD];
	__u32 count; /* frontends in use */
	__u32 sequence;
	__u32 current; /* 1 + frontend that the packet in hand was for; 0: none */
	__u32 wrong_frontend;
	__u32 wrong_backend;
	__u32 missed_frontend;
	__u64 judged;
	__u64 forwarded;
	__u64 untouched;
	__u64 missed;  /* of these, to a frontend that always has an endpoint */
	__u64 refused; /* no longer the client's segment */
	__u64 wrong;   /* sent where no backend of the frontend ever was */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASKED_MAX);
	__type(key, __u32);
	__type(value, struct asked);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

static __always_inline void judge(struct control *now, const __u8 *data)
{
	__u32 index = now->current - 1;
	const struct asked *about = bpf_map_lookup_elem(&asked, &index);

	if (!about)
		return;
	now->judged++;
	if (data[23] != TCP || bpf_ntohl(*(const __be32 *)(data + 26)) >> 16 != 0x0a02) {
		now->refused++;
		return;
	}
	__u32 to = bpf_ntohl(*(const __be32 *)(data + 30));

	if (to == about->address) {
		now->untouched++;
		if (!about->is_steady)
			return;
		now->missed++;
		now->missed_frontend = about->address;
		return;
	}
	if (to >> 16 == about->networks[0] || to >> 16 == about->networks[1]) {
		now->forwarded++;
		return;
	}
	now->wrong++;
	now->wrong_frontend = about->address;
	now->wrong_backend = to;
}

SEC("tc")
int ask(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 zero = 0;
	struct control *now = bpf_map_lookup_elem(&control, &zero);

	if (!now || !now->count || data + HEAD > end)
		return SHOT;
	if (now->current)
		judge(now, data);
	__u32 sequence = now->sequence++, index = sequence % now->count;
	const struct asked *about = bpf_map_lookup_elem(&asked, &index);

	if (!about)
		return SHOT;
	now->current = index + 1;
	__u64 *to = data;
	const __u64 *from = (const __u64 *)now->head;

#pragma unroll
	for (int i = 0; i < HEAD / 8; i++)
		to[i] = from[i];
	__u32 turn = sequence / now->count;

	/* A client of its own for each frontend: no two flows have the same answer's tuple. */
	*(__be32 *)(data + 26) = bpf_htonl(0x0a020000 | index << 8 | (turn >> 15 & 0xff));
	*(__be32 *)(data + 30) = bpf_htonl(about->address);
	*(__be16 *)(data + 34) = bpf_htons(FIRST_PORT + (turn & 0x7fff));
	*(__be16 *)(data + 36) = bpf_htons(PORT);
	((__u8 *)data)[47] = turn & 1 ? RST : SYN;
	bpf_tail_call(skb, &target, 0);
	return SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
