/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hook_sock.h: the cgroup programs, and the only place that knows struct bpf_sock_addr. */
#pragma once

#define SOCK_STREAM  1
#define SOCK_REFUSE  0
#define SOCK_GO_ON   1
#define ECONNREFUSED 111

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
	connection->address.protocol = context->protocol;
	outside->socket_cookie = bpf_get_socket_cookie(context);
	pose(outside);
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

static __always_inline int run_connect(struct bpf_sock_addr *context, bool ipv6)
{
	struct connection connection = {};
	struct outside outside = {};

	read_socket(context, &connection, &outside, ipv6);
	if (context->type != SOCK_STREAM || connection.address.protocol != IPPROTO_TCP ||
	    !connection.address.port) {
		MARK(SOCKET_UNSUPPORTED);
		report(VERDICT_PASS, REASON_UNSUPPORTED, 0, 0);
		return SOCK_GO_ON;
	}
	enum verdict verdict = decide_connect(&connection, &outside);

	report(verdict, connection.reason, connection.service_port, connection.backend);
	if (connection.reason != REASON_NOT_SERVICE)
		count(connection.reason, connection.service_port, 0);
	if (verdict == VERDICT_REFUSE) {
		bpf_set_retval(-ECONNREFUSED);
		return SOCK_REFUSE;
	}
	if (verdict == VERDICT_FORWARD)
		write_socket(context, &connection, ipv6);
	return SOCK_GO_ON;
}

static __always_inline int run_peer(struct bpf_sock_addr *context, bool ipv6)
{
	struct connection connection = {};
	struct outside outside = {};

	read_socket(context, &connection, &outside, ipv6);
	enum verdict verdict = decide_peer(&connection, &outside);

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
