/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hook_sock.h: the cgroup programs, and the only place that knows struct bpf_sock_addr. */
#pragma once

#define SOCK_STREAM  1
#define SOCK_REFUSE  0
#define SOCK_GO_ON   1
#define ECONNREFUSED 111

static __always_inline void read_socket(struct bpf_sock_addr *context,
					struct connection *connection, struct outside *outside)
{
	connection->address.address.words[2] = bpf_htonl(0xffff);
	connection->address.address.words[3] = context->user_ip4;
	connection->address.port = context->user_port;
	connection->address.protocol = context->protocol;
	outside->socket_cookie = bpf_get_socket_cookie(context);
	pose(outside);
}

static __always_inline void write_socket(struct bpf_sock_addr *context,
					 const struct connection *connection)
{
	context->user_ip4 = connection->address.address.words[3];
	context->user_port = connection->address.port;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *context)
{
	struct connection connection = {};
	struct outside outside = {};

	read_socket(context, &connection, &outside);
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
		write_socket(context, &connection);
	return SOCK_GO_ON;
}

SEC("cgroup/getpeername4")
int sock_getpeername4(struct bpf_sock_addr *context)
{
	struct connection connection = {};
	struct outside outside = {};

	read_socket(context, &connection, &outside);
	enum verdict verdict = decide_peer(&connection, &outside);

	report(verdict, connection.reason, connection.service_port, connection.backend);
	if (verdict == VERDICT_FORWARD)
		write_socket(context, &connection);
	return SOCK_GO_ON;
}
