/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect.h: a socket that connects to a Service connects to a backend instead; twin of
 * core/datapath/connect.ts. No packet is touched afterwards. What connect() can't decide is left to
 * the packet road.
 */
#pragma once

struct connection {
	struct frontend_key address; /* in: where to; out: where to now */
	__u32 reason;
	service_port_id service_port;
	backend_id backend;
};

/* Remembers what the application asked for, so that getpeername() can say it; not vital. */
static __always_inline void remember_peer(const struct frontend_key *asked, struct outside *outside,
					  const struct backend *backend, __u32 attempts)
{
	struct peer peer = {
		.frontend = *asked,
		.backend = backend->address,
		.backend_port = backend->port,
		.attempts = attempts,
	};
	__u64 cookie = outside->socket_cookie;
	int result = outside->peer_result;

	if (!result)
		result = bpf_map_update_elem(&peers, &cookie, &peer, BPF_ANY);
	if (result) {
		MARK(PEER_FAILED);
		return;
	}
	log_write(WRITE_PEER, 0, 0, attempts);
}

/* forward: connection->address is the backend's; refuse: ECONNREFUSED; pass: left as it is. */
__noinline int decide_connect(struct connection *connection, struct outside *outside)
{
	if (!connection || !outside)
		return VERDICT_PASS;
	struct frontend_key asked = connection->address, wanted = asked;
	struct service *service = lookup_frontend(&wanted);

	connection->reason = REASON_NOT_SERVICE;
	if (!service)
		return VERDICT_PASS;
	connection->service_port = service->service_port;
	if (service->kind == FRONTEND_WHOLE_ADDRESS) {
		connection->reason = REASON_UNKNOWN_PORT;
		return VERDICT_REFUSE;
	}
	if (!service->views[VIEW_INTERNAL].count) {
		bool drop = service->flags & SERVICE_DROP_WHEN_INTERNAL_EMPTY;

		connection->reason = drop ? REASON_NO_LOCAL_ENDPOINTS : REASON_NO_ENDPOINTS;
		if (drop)
			MARK(SOCKET_LEFT); /* to be dropped in silence by the packet road, as a
					      remote client's would be */
		else
			MARK(EMPTY_REFUSE);
		return drop ? VERDICT_PASS : VERDICT_REFUSE;
	}
	__u64 cookie = outside->socket_cookie;
	struct peer *earlier = bpf_map_lookup_elem(&peers, &cookie);
	__u32 attempts = earlier ? earlier->attempts + 1 : 0;
	struct select_input input = { .words = { (__u32)cookie, (__u32)(cookie >> 32), attempts, 0,
						 asked.protocol << 16, service->name_hash[0],
						 service->name_hash[1], SELECT_SOCKET } };
	backend_id id;
	struct backend *backend = select_backend(service, VIEW_INTERNAL, &input, &id);

	if (!backend) {
		connection->reason = REASON_MAPS_DISAGREE;
		return VERDICT_REFUSE;
	}
	connection->backend = id;
	remember_peer(&asked, outside, backend, attempts);
	connection->address.address = backend->address;
	connection->address.port = backend->port;
	connection->reason = REASON_TRANSLATED;
	MARK(SOCKET_TRANSLATED);
	return VERDICT_FORWARD;
}

/* forward: connection->address, the socket's real peer, is replaced by the Service address it asked
 * for. */
__noinline int decide_peer(struct connection *connection, struct outside *outside)
{
	if (!connection || !outside)
		return VERDICT_PASS;
	__u64 cookie = outside->socket_cookie;
	struct peer *peer = bpf_map_lookup_elem(&peers, &cookie);

	connection->reason = REASON_NOT_SERVICE;
	if (!peer)
		return VERDICT_PASS;
	if (peer->backend_port != connection->address.port ||
	    !same_address(&peer->backend, &connection->address.address)) {
		MARK(PEER_OTHER);
		return VERDICT_PASS;
	}
	MARK(PEER_KNOWN);
	connection->address = peer->frontend;
	connection->reason = REASON_PEER;
	return VERDICT_FORWARD;
}
