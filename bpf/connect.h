/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect.h: a socket that connects or sends to a Service speaks to a backend instead; twin of
 * core/datapath/connect.ts. No packet is touched afterwards. What a socket can't decide is left to
 * the packet road.
 */
#pragma once

struct connection {
	struct frontend_key address; /* in: where to, or whence; out: the same translated */
	struct frontend_key asked;   /* where to, as it was given */
	struct address source;	     /* in: the socket's own address; zero: not bound */
	__u32 reason;
	service_port_id service_port;
	backend_id backend;
	__u32 generation;
	__u32 is_peer; /* in: a send to whom the socket is connected to */
};

/* Remembers what the application asked for, so that getpeername() can say it; not vital. */
static __always_inline void remember_peer(const struct connection *connection,
					  struct outside *outside, __u32 attempts)
{
	struct peer peer = {
		.frontend = connection->asked,
		.backend = connection->address.address,
		.backend_port = connection->address.port,
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

/* A socket that connects elsewhere has no Service for a peer any more, even where the address is
 * that of the same backend. */
static __always_inline void forget_peer(struct outside *outside)
{
	__u64 cookie = outside->socket_cookie;

	MARK(PEER_FORGOTTEN);
	bpf_map_delete_elem(&peers, &cookie);
	log_write(WRITE_FORGET, 0, 0, 0);
}

/* The backend for a new choice of this Service port, or none with its reason. */
static __always_inline struct backend *choose_backend(struct service *service,
						      struct connection *connection,
						      struct outside *outside,
						      const struct netns_row *row, __u32 attempts)
{
	__u64 cookie = outside->socket_cookie;
	struct select_input input = { .words = { (__u32)cookie, (__u32)(cookie >> 32), attempts, 0,
						 connection->asked.protocol << 16,
						 service->name_hash[0], service->name_hash[1],
						 SELECT_SOCKET } };
	struct address client = {};
	backend_id id = 0;

	connection->reason = REASON_MAPS_DISAGREE;
	if (service->affinity_seconds) {
		if (!socket_client(&connection->source, &connection->asked.address, row, &client)) {
			connection->reason = REASON_CLIENT_UNKNOWN;
			return NULL;
		}
		id = affinity_find(service, VIEW_INTERNAL, &client, read_clock(outside));
		select_input_client(&input, service, &client, connection->asked.protocol);
	}
	if (!id && !select_backend(service, VIEW_INTERNAL, &input, &id))
		return NULL;
	/* Once more by its id: clang 14 keeps one pointer for both ways to it where the verifier
	 * sees none. */
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	if (!backend)
		return NULL;
	connection->backend = id;
	connection->generation = backend->live >> BACKEND_GENERATION_SHIFT;
	if (service->affinity_seconds)
		affinity_keep(service, &client, id, backend->live, outside);
	return backend;
}

/* A Service port without a backend for us. */
static __always_inline enum verdict refuse_empty(const struct service *service,
						 struct connection *connection)
{
	if (service->flags & SERVICE_DROP_WHEN_INTERNAL_EMPTY) {
		connection->reason = REASON_NO_LOCAL_ENDPOINTS;
		MARK(SOCKET_LEFT); /* to be dropped in silence by the packet road, as a remote
				      client's would be */
		return VERDICT_PASS;
	}
	connection->reason = REASON_NO_ENDPOINTS;
	MARK(EMPTY_REFUSE);
	return VERDICT_REFUSE;
}

/* The backend that a send of this socket had for this Service address, while it serves. */
static __always_inline bool keep_backend(struct connection *connection,
					 const struct socket_state *state)
{
	__u32 at = socket_find(state, &connection->asked);

	if (at >= SOCKET_ROWS)
		return false;
	const struct socket_row *row = &state->rows[at];

	if (!socket_serves(row)) {
		MARK(SOCKET_GONE);
		connection->reason = REASON_RESELECTED;
		return false;
	}
	MARK(SOCKET_KEPT);
	connection->address.address = row->address;
	connection->address.port = row->port;
	connection->backend = row->backend;
	connection->generation = row->generation;
	connection->reason = REASON_KNOWN_FLOW;
	return true;
}

/* What connect() and sendto() have in common. kept: the rows whose choice a send keeps, or none. */
static __always_inline enum verdict decide_destination(struct connection *connection,
						       struct outside *outside,
						       const struct socket_state *kept,
						       __u32 attempts)
{
	struct frontend_key wanted = connection->address;
	struct service *service;

	connection->reason = REASON_NOT_SERVICE;
	if (!wanted.port) {
		MARK(SOCKET_UNSUPPORTED);
		return VERDICT_PASS;
	}
	if (!maybe_frontend(&wanted.address, wanted.port, wanted.protocol)) {
		MARK(SOCKET_CERTAINLY_NOT);
		return VERDICT_PASS;
	}
	service = lookup_frontend(&wanted);
	if (!service)
		return VERDICT_PASS;
	struct netns_row *row = lookup_netns(outside->netns_cookie);

	connection->service_port = service->service_port;
	if (!netns_in_scope(row, outside->netns_cookie)) {
		MARK(SOCKET_SCOPE);
		connection->reason = REASON_OUT_OF_SCOPE;
		return VERDICT_PASS;
	}
	if (service->kind == FRONTEND_WHOLE_ADDRESS) {
		connection->reason = REASON_UNKNOWN_PORT;
		return VERDICT_REFUSE;
	}
	if (kept && keep_backend(connection, kept))
		return VERDICT_FORWARD;
	if (!service->views[VIEW_INTERNAL].count)
		return refuse_empty(service, connection);
	__u32 reason = connection->reason ? REASON_RESELECTED : REASON_TRANSLATED;
	struct backend *backend = choose_backend(service, connection, outside, row, attempts);

	if (!backend)
		return connection->reason == REASON_CLIENT_UNKNOWN ? VERDICT_PASS : VERDICT_REFUSE;
	connection->address.address = backend->address;
	connection->address.port = backend->port;
	connection->reason = reason;
	MARK(SOCKET_TRANSLATED);
	return VERDICT_FORWARD;
}

/* forward: connection->address is the backend's; refuse: ECONNREFUSED; pass: left as it is. A
 * refused connect() leaves the socket as it was, and so does this. */
__noinline int decide_connect(struct connection *connection, struct outside *outside,
			      struct socket_state *state)
{
	if (!connection || !outside)
		return VERDICT_PASS;
	connection->asked = connection->address;
	__u64 cookie = outside->socket_cookie;
	bool is_datagram = connection->asked.protocol == IPPROTO_UDP;
	struct peer *earlier = is_datagram ? NULL : bpf_map_lookup_elem(&peers, &cookie);
	__u32 attempts = 0;

	if (earlier)
		attempts = earlier->attempts + 1;
	if (state)
		attempts = state->attempts + 1;
	enum verdict verdict = decide_destination(connection, outside, NULL, attempts);

	if (verdict == VERDICT_FORWARD && !is_datagram)
		remember_peer(connection, outside, attempts);
	if (verdict == VERDICT_PASS && earlier)
		forget_peer(outside);
	if (verdict == VERDICT_PASS && state) {
		socket_disconnect(state);
		socket_hide(state, &connection->asked);
	}
	return verdict;
}

/* The same for one datagram with an address of its own. */
__noinline int decide_send(struct connection *connection, struct outside *outside,
			   struct socket_state *state)
{
	if (!connection || !outside)
		return VERDICT_PASS;
	connection->asked = connection->address;
	connection->reason = REASON_NOT_SERVICE;
	if (connection->is_peer) {
		/* send() of an AF_INET6 socket whose peer is v4-mapped: it was translated, or left,
		 * when it connected. */
		MARK(SOCKET_OWN_PEER);
		if (state && socket_has_backend(&state->rows[SOCKET_PEER], &connection->asked))
			socket_touch(state, SOCKET_PEER);
		return VERDICT_PASS;
	}
	enum verdict verdict = decide_destination(connection, outside, state, 0);

	if (verdict == VERDICT_PASS && state)
		socket_hide(state, &connection->asked);
	return verdict;
}

/* Without storage the socket would show and be answered by addresses that its owner never heard of.
 */
static __always_inline enum verdict refuse_unstored(struct connection *connection)
{
	MARK(SOCKET_NO_STORAGE);
	connection->reason = REASON_NO_STORAGE;
	return VERDICT_REFUSE;
}

/* Remembers a translated connect(). */
__noinline int keep_connect(struct connection *connection, struct socket_state *state)
{
	if (!connection)
		return VERDICT_REFUSE;
	if (!state)
		return refuse_unstored(connection);
	state->attempts++;
	MARK(SOCKET_ROW_PEER);
	socket_put(state, SOCKET_PEER, &connection->asked, &connection->address,
		   connection->backend, connection->generation, connection->service_port);
	return VERDICT_FORWARD;
}

/* Remembers a translated send. */
__noinline int keep_send(struct connection *connection, struct socket_state *state)
{
	if (!connection)
		return VERDICT_REFUSE;
	if (!state)
		return refuse_unstored(connection);
	if (connection->reason == REASON_KNOWN_FLOW) {
		socket_touch(state, socket_find(state, &connection->asked));
		return VERDICT_FORWARD;
	}
	__u32 at = socket_place(state, &connection->asked);

	if (at < SOCKET_ROWS && state->rows[at].backend && connection->reason == REASON_TRANSLATED)
		connection->reason = REASON_ROW_OVERWRITTEN;
	socket_put(state, at, &connection->asked, &connection->address, connection->backend,
		   connection->generation, connection->service_port);
	return VERDICT_FORWARD;
}
