/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * judge.bpf.c: asks frontends in turn, without pause, and judges each answer. A repeated test run
 * never restores its packet: what is met at entry is what the datapath made of the packet before.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEAD	   80
#define ASKED_MAX  64
#define PORT	   80
#define FIRST_PORT 1024
#define SHOT	   2
#define SYN	   2
#define RST	   4
#define TCP	   6
#define PREFIX	   0xfd000000 /* of the IPv6 address that a word stands for */

struct asked {
	__u32 address;	   /* the word that stands for it */
	__u32 networks[2]; /* upper halves of the addresses of its backends */
	__u32 is_steady;   /* it always has an endpoint */
	__u32 protocol;
	__u32 target_port;
};

struct control {
	__u8 head[HEAD];
	__u32 first; /* of the frontends in use, which are all of one family */
	__u32 count;
	__u32 is_six;
	__u32 sequence;
	__u32 current; /* 1 + frontend that the packet in hand was for; 0: none */
	__u32 wrong_frontend;
	__u32 wrong_backend;
	__u32 missed_frontend;
	__u32 reserved;
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

/* The word that stands for an address, 0: it is not one of ours. */
static __always_inline __u32 word_at(const __u8 *data, __u32 is_six, __u32 is_destination)
{
	if (!is_six)
		return bpf_ntohl(*(const __be32 *)(data + (is_destination ? 30 : 26)));
	const __be32 *words = (const __be32 *)(data + (is_destination ? 38 : 22));
	__u32 word = bpf_ntohl(words[3]);

	return bpf_ntohl(words[0]) == PREFIX + (word >> 16) && !words[1] && !words[2] ? word : 0;
}

static __always_inline void put_word(__u8 *data, __u32 is_six, __u32 is_destination, __u32 word)
{
	__be32 *words = (__be32 *)(data + (is_destination ? 38 : 22));

	if (!is_six) {
		*(__be32 *)(data + (is_destination ? 30 : 26)) = bpf_htonl(word);
		return;
	}
	words[0] = bpf_htonl(PREFIX + (word >> 16));
	words[1] = words[2] = 0;
	words[3] = bpf_htonl(word);
}

static __always_inline void judge(struct control *now, const __u8 *data)
{
	__u32 index = now->current - 1, is_six = now->is_six;
	const struct asked *about = bpf_map_lookup_elem(&asked, &index);

	if (!about)
		return;
	now->judged++;
	if (data[is_six ? 20 : 23] != about->protocol || word_at(data, is_six, 0) >> 16 != 0x0a02) {
		now->refused++;
		return;
	}
	__u32 to = word_at(data, is_six, 1);
	__u32 port = bpf_ntohs(*(const __be16 *)(data + (is_six ? 56 : 36)));

	if (to == about->address && port == PORT) {
		now->untouched++;
		if (!about->is_steady)
			return;
		now->missed++;
		now->missed_frontend = about->address;
		return;
	}
	if ((to >> 16 == about->networks[0] || to >> 16 == about->networks[1]) &&
	    port == about->target_port) {
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
	__u32 sequence = now->sequence++, index = now->first + sequence % now->count;
	const struct asked *about = bpf_map_lookup_elem(&asked, &index);

	if (!about)
		return SHOT;
	now->current = index + 1;
	__u64 *to = data;
	const __u64 *from = (const __u64 *)now->head;

#pragma unroll
	for (int i = 0; i < HEAD / 8; i++)
		to[i] = from[i];
	__u32 turn = sequence / now->count, is_six = now->is_six;
	__u8 *ports = data + (is_six ? 54 : 34);

	/* A client of its own for each frontend: no two flows have the same answer's tuple. */
	put_word(data, is_six, 0, 0x0a020000 | index << 8 | (turn >> 15 & 0xff));
	put_word(data, is_six, 1, about->address);
	*(__be16 *)ports = bpf_htons(FIRST_PORT + (turn & 0x7fff));
	*(__be16 *)(ports + 2) = bpf_htons(PORT);
	((__u8 *)data)[is_six ? 20 : 23] = about->protocol;
	if (about->protocol == TCP) {
		ports[12] = 0x50;
		ports[13] = turn & 1 ? RST : SYN;
	} else {
		*(__be16 *)(ports + 4) = bpf_htons(HEAD - (is_six ? 54 : 34));
		*(__be16 *)(ports + 6) = bpf_htons(1); /* whatever it is: it is there */
	}
	bpf_tail_call(skb, &target, 0);
	return SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
