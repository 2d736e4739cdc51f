/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hooks.bpf.c: the least that a program of a socket call can do: return at once, or ask one hash
 * whether the address is a Service's. They are timed in the same run as tandem's.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define GO_ON	1
#define ENTRIES 65536

struct place {
	__be32 address;
	__be16 port;
	__u16 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, struct place);
	__type(value, __u32);
} places SEC(".maps");

/* A call of a helper is never optimised away, whatever becomes of its answer. */
static __always_inline int look(struct bpf_sock_addr *context)
{
	struct place place = { .address = context->user_ip4,
			       .port = context->user_port,
			       .protocol = context->protocol };

	bpf_map_lookup_elem(&places, &place);
	return GO_ON;
}

SEC("cgroup/connect4")
int empty_connect4(struct bpf_sock_addr *context)
{
	(void)context;
	return GO_ON;
}

SEC("cgroup/sendmsg4")
int empty_sendmsg4(struct bpf_sock_addr *context)
{
	(void)context;
	return GO_ON;
}

SEC("cgroup/recvmsg4")
int empty_recvmsg4(struct bpf_sock_addr *context)
{
	(void)context;
	return GO_ON;
}

SEC("cgroup/getpeername4")
int empty_getpeername4(struct bpf_sock_addr *context)
{
	(void)context;
	return GO_ON;
}

SEC("cgroup/connect4")
int lookup_connect4(struct bpf_sock_addr *context)
{
	return look(context);
}

SEC("cgroup/sendmsg4")
int lookup_sendmsg4(struct bpf_sock_addr *context)
{
	return look(context);
}

SEC("cgroup/recvmsg4")
int lookup_recvmsg4(struct bpf_sock_addr *context)
{
	return look(context);
}

SEC("cgroup/getpeername4")
int lookup_getpeername4(struct bpf_sock_addr *context)
{
	return look(context);
}

char _license[] SEC("license") = "Dual BSD/GPL";
