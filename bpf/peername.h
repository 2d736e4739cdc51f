/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peername.h: an application is shown the Service that it asked for, by getpeername() and as the
 * sender of answers; twin of core/datapath/peername.ts.
 */
#pragma once

/* forward: connection->address, whence a datagram came, is replaced by the Service address that its
 * answer is to. */
__noinline int decide_answer(struct connection *connection, struct socket_state *state)
{
	if (!connection || !state)
		return VERDICT_PASS;
	__u32 at = socket_answer(state, &connection->address);

	connection->reason = REASON_NOT_SERVICE;
	if (at >= SOCKET_ROWS) {
		MARK(SOCKET_STRANGER);
		return VERDICT_PASS;
	}
	MARK(SOCKET_ANSWER);
	connection->address = state->rows[at].asked;
	connection->reason = REASON_PEER;
	return VERDICT_FORWARD;
}

/* forward: connection->address, the socket's real peer, is replaced by the Service address it asked
 * for. */
__noinline int decide_peer(struct connection *connection, struct outside *outside,
			   struct socket_state *state)
{
	if (!connection || !outside)
		return VERDICT_PASS;
	const struct frontend_key *asked = NULL;
	const struct address *address = NULL;
	__u64 cookie = outside->socket_cookie;
	port_number port = 0;

	connection->reason = REASON_NOT_SERVICE;
	if (connection->address.protocol == IPPROTO_UDP) {
		if (!state || !state->rows[SOCKET_PEER].backend)
			return VERDICT_PASS;
		asked = &state->rows[SOCKET_PEER].asked;
		address = &state->rows[SOCKET_PEER].address;
		port = state->rows[SOCKET_PEER].port;
	} else {
		struct peer *peer = bpf_map_lookup_elem(&peers, &cookie);

		if (!peer)
			return VERDICT_PASS;
		asked = &peer->frontend;
		address = &peer->backend;
		port = peer->backend_port;
	}
	if (port != connection->address.port ||
	    !same_address(address, &connection->address.address)) {
		MARK(PEER_OTHER);
		return VERDICT_PASS;
	}
	MARK(PEER_KNOWN);
	connection->address = *asked;
	connection->reason = REASON_PEER;
	return VERDICT_FORWARD;
}
