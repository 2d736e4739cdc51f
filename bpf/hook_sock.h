/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hook_sock.h: the cgroup programs, and the only place that knows struct bpf_sock_addr. */
#pragma once

#define SOCK_STREAM   1
#define SOCK_DGRAM    2
#define SOCK_REFUSE   0
#define SOCK_GO_ON    1
#define IPPROTO_MPTCP 262
#define ENOBUFS	      105
#define ECONNREFUSED  111

/* How a Service names the protocol of a socket, 0: none that it serves. */
static __always_inline protocol_number served_protocol(const struct bpf_sock_addr *context)
{
	if (context->type == SOCK_STREAM &&
	    (context->protocol == IPPROTO_TCP || context->protocol == IPPROTO_MPTCP))
		return IPPROTO_TCP;
	if (context->type == SOCK_DGRAM && context->protocol == IPPROTO_UDP)
		return IPPROTO_UDP;
	return 0;
}

static __always_inline void read_socket(struct bpf_sock_addr *context,
					struct connection *connection, struct outside *outside,
					bool ipv6)
{
	struct address *address = &connection->address.address;

	if (ipv6) {
		/* Word by word: the context allows no wider reads. A v4-mapped address is an IPv4
		 * one. */
		address->words[0] = context->user_ip6[0];
		address->words[1] = context->user_ip6[1];
		address->words[2] = context->user_ip6[2];
		address->words[3] = context->user_ip6[3];
	} else {
		address->words[2] = bpf_htonl(0xffff);
		address->words[3] = context->user_ip4;
	}
	connection->address.port = context->user_port;
	connection->address.protocol = served_protocol(context);
	outside->socket_cookie = bpf_get_socket_cookie(context);
	outside->netns_cookie = bpf_get_netns_cookie(context);
	pose(outside);
}

/* The address that a connecting socket is bound to, or was given by an earlier connect(). */
static __always_inline void read_bound(struct bpf_sock_addr *context, struct address *source,
				       bool ipv6)
{
	struct bpf_sock *socket = context->sk;

	if (!socket)
		return;
	if (ipv6) {
		source->words[0] = socket->src_ip6[0];
		source->words[1] = socket->src_ip6[1];
		source->words[2] = socket->src_ip6[2];
		source->words[3] = socket->src_ip6[3];
	} else if (socket->src_ip4) {
		source->words[2] = bpf_htonl(0xffff);
		source->words[3] = socket->src_ip4;
	}
}

/* The address that a datagram will come from: the socket's, or its own (IP_PKTINFO). */
static __always_inline void read_sender(struct bpf_sock_addr *context, struct address *source,
					bool ipv6)
{
	if (ipv6) {
		source->words[0] = context->msg_src_ip6[0];
		source->words[1] = context->msg_src_ip6[1];
		source->words[2] = context->msg_src_ip6[2];
		source->words[3] = context->msg_src_ip6[3];
	} else if (context->msg_src_ip4) {
		source->words[2] = bpf_htonl(0xffff);
		source->words[3] = context->msg_src_ip4;
	}
}

/* Whether a datagram goes to whom its socket is connected to. A port of 0: to nobody. */
static __always_inline bool goes_to_peer(struct bpf_sock_addr *context, bool ipv6)
{
	struct bpf_sock *socket = context->sk;

	if (!socket || socket->dst_port != (port_number)context->user_port)
		return false;
	if (!ipv6)
		return socket->dst_ip4 == context->user_ip4;
	return socket->dst_ip6[0] == context->user_ip6[0] &&
	       socket->dst_ip6[1] == context->user_ip6[1] &&
	       socket->dst_ip6[2] == context->user_ip6[2] &&
	       socket->dst_ip6[3] == context->user_ip6[3];
}

static __always_inline void write_socket(struct bpf_sock_addr *context,
					 const struct connection *connection, bool ipv6)
{
	const struct address *address = &connection->address.address;

	if (ipv6) {
		context->user_ip6[0] = address->words[0];
		context->user_ip6[1] = address->words[1];
		context->user_ip6[2] = address->words[2];
		context->user_ip6[3] = address->words[3];
	} else {
		context->user_ip4 = address->words[3];
	}
	context->user_port = connection->address.port;
}

/* What a UDP socket remembers, or none. */
static __always_inline struct socket_state *state_of(struct bpf_sock_addr *context, __u64 flags)
{
	struct bpf_sock *socket = context->sk;

	return socket ? bpf_sk_storage_get(&sockets, socket, NULL, flags) : NULL;
}

/* The same, made if need be; none where the kernel, or the test, says so. */
static __always_inline struct socket_state *made_state_of(struct bpf_sock_addr *context,
							  const struct outside *outside,
							  struct socket_state *state)
{
	if (state || outside->storage_result)
		return state;
	return state_of(context, BPF_SK_STORAGE_GET_F_CREATE);
}

/* Says what was decided, counts it and lets the call go on, to where it was decided. */
static __always_inline int settle(struct bpf_sock_addr *context,
				  const struct connection *connection, enum verdict verdict,
				  bool ipv6)
{
	report(verdict, connection->reason, connection->service_port, connection->backend);
	if (connection->reason != REASON_NOT_SERVICE)
		count(connection->reason, connection->service_port, 0);
	if (verdict == VERDICT_REFUSE) {
		if (connection->reason == REASON_NO_STORAGE)
			bpf_set_retval(-ENOBUFS);
		else
			bpf_set_retval(-ECONNREFUSED);
		return SOCK_REFUSE;
	}
	if (verdict == VERDICT_FORWARD)
		write_socket(context, connection, ipv6);
	return SOCK_GO_ON;
}

static __always_inline int run_connect(struct bpf_sock_addr *context, bool ipv6)
{
	struct connection connection = {};
	struct outside outside = {};
	struct socket_state *state = NULL;

	read_socket(context, &connection, &outside, ipv6);
	read_bound(context, &connection.source, ipv6);
	if (!connection.address.protocol) {
		MARK(SOCKET_UNSUPPORTED);
		report(VERDICT_PASS, REASON_UNSUPPORTED, 0, 0);
		return SOCK_GO_ON;
	}
	bool is_datagram = connection.address.protocol == IPPROTO_UDP;

	if (is_datagram)
		state = state_of(context, 0);
	enum verdict verdict = decide_connect(&connection, &outside, state);

	if (is_datagram && verdict == VERDICT_FORWARD) {
		state = made_state_of(context, &outside, state);
		verdict = keep_connect(&connection, state);
	}
	return settle(context, &connection, verdict, ipv6);
}

static __always_inline int run_send(struct bpf_sock_addr *context, bool ipv6)
{
	struct connection connection = {};
	struct outside outside = {};

	read_socket(context, &connection, &outside, ipv6);
	read_sender(context, &connection.source, ipv6);
	if (connection.address.protocol != IPPROTO_UDP) {
		MARK(SOCKET_UNSUPPORTED);
		report(VERDICT_PASS, REASON_UNSUPPORTED, 0, 0);
		return SOCK_GO_ON;
	}
	connection.is_peer = goes_to_peer(context, ipv6);
	struct socket_state *state = state_of(context, 0);
	enum verdict verdict = decide_send(&connection, &outside, state);

	if (verdict == VERDICT_FORWARD) {
		state = made_state_of(context, &outside, state);
		verdict = keep_send(&connection, state);
	}
	return settle(context, &connection, verdict, ipv6);
}

static __always_inline int run_answer(struct bpf_sock_addr *context, bool ipv6)
{
	struct connection connection = {};
	struct outside outside = {};
	enum verdict verdict;

	read_socket(context, &connection, &outside, ipv6);
	verdict = decide_answer(&connection, state_of(context, 0));
	report(verdict, connection.reason, connection.service_port, connection.backend);
	if (verdict == VERDICT_FORWARD)
		write_socket(context, &connection, ipv6);
	return SOCK_GO_ON;
}

static __always_inline int run_peer(struct bpf_sock_addr *context, bool ipv6)
{
	struct connection connection = {};
	struct outside outside = {};
	struct socket_state *state = NULL;

	read_socket(context, &connection, &outside, ipv6);
	if (connection.address.protocol == IPPROTO_UDP)
		state = state_of(context, 0);
	enum verdict verdict = decide_peer(&connection, &outside, state);

	report(verdict, connection.reason, connection.service_port, connection.backend);
	if (verdict == VERDICT_FORWARD)
		write_socket(context, &connection, ipv6);
	return SOCK_GO_ON;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *context)
{
	return run_connect(context, false);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *context)
{
	return run_connect(context, true);
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *context)
{
	return run_send(context, false);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *context)
{
	return run_send(context, true);
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *context)
{
	return run_answer(context, false);
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *context)
{
	return run_answer(context, true);
}

SEC("cgroup/getpeername4")
int sock_getpeername4(struct bpf_sock_addr *context)
{
	return run_peer(context, false);
}

SEC("cgroup/getpeername6")
int sock_getpeername6(struct bpf_sock_addr *context)
{
	return run_peer(context, true);
}
