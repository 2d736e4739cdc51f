/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hook_iter.h: the sweep over the UDP sockets of one network namespace. A socket whose backend is
 * gone would wait for answers that can't come: it is ended, and its owner told. Which one is known
 * by what rides on it, never by an address, so sockets that no Service gave a peer are untouched.
 */
#pragma once

#define TCP_ESTABLISHED 1 /* of UDP: connected */

struct sock_common {
	unsigned char skc_state;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct udp_sock {
	struct inet_sock inet;
} __attribute__((preserve_access_index));

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
} __attribute__((preserve_access_index));

extern int bpf_sock_destroy(struct sock_common *sock) __ksym;

/* Runs under each socket's lock. Writes the Service port of every socket that it ends. */
SEC("iter/udp")
int sock_destroy(struct bpf_iter__udp *context)
{
	struct udp_sock *udp = context->udp_sk;

	if (!udp || udp->inet.sk.__sk_common.skc_state != TCP_ESTABLISHED)
		return 0;
	struct socket_state *state = bpf_sk_storage_get(&sockets, (struct sock *)udp, NULL, 0);

	if (!state || !socket_abandoned(&state->rows[SOCKET_PEER]))
		return 0;
	service_port_id service_port = state->rows[SOCKET_PEER].service_port;

	/* No room: the kernel shows this socket again after what is there was read. */
	if (bpf_seq_write(context->meta->seq, &service_port, sizeof(service_port)))
		return 0;
	bpf_sock_destroy((struct sock_common *)udp);
	count(REASON_SOCKET_ENDED, service_port, 0);
	return 0;
}
