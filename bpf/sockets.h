/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockets.h: what a UDP socket remembers of the Services it speaks to; twin of
 * core/datapath/sockets.ts. Row 0 is the one it is connected by, the others those it sends to;
 * where two have one backend, the last sender's shows. Everything runs under the socket's lock.
 */
#pragma once

#define SOCKET_PEER 0

/* Whether a row's backend is the same pod's still, and serves. */
static __always_inline bool socket_serves(const struct socket_row *row)
{
	backend_id id = row->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	return backend && backend->live >> BACKEND_GENERATION_SHIFT == row->generation &&
	       backend_lives(backend->live);
}

/* Whether the backend that a socket is connected to is gone: another pod's, or nobody's. One that
 * is terminating or left the view stays, as a connection to it would. */
static __always_inline bool socket_abandoned(const struct socket_row *row)
{
	backend_id id = row->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	if (!id || !backend)
		return false;
	return backend->live >> BACKEND_GENERATION_SHIFT != row->generation ||
	       !backend_lives(backend->live);
}

/* Whether a row, if it is in use, has this backend. */
static __always_inline bool socket_has_backend(const struct socket_row *row,
					       const struct frontend_key *to)
{
	return row->backend && row->port == to->port && same_address(&row->address, &to->address);
}

/* The row of a Service address, one sent to before the one connected by; SOCKET_ROWS: none. */
static __always_inline __u32 socket_find(const struct socket_state *state,
					 const struct frontend_key *asked)
{
	__u32 found = SOCKET_ROWS;

	for (__u32 at = 0; at < SOCKET_ROWS; at++) {
		const struct socket_row *row = &state->rows[at];

		if (row->backend && same_frontend(&row->asked, asked))
			found = at;
	}
	return found;
}

/* The row whose backend this is, of several the one last sent to; SOCKET_ROWS: none that shows. */
static __always_inline __u32 socket_answer(const struct socket_state *state,
					   const struct frontend_key *from)
{
	__u32 found = SOCKET_ROWS, youngest = ~0u;

	for (__u32 at = 0; at < SOCKET_ROWS; at++) {
		const struct socket_row *row = &state->rows[at];
		__u32 age = state->turn - row->turn;

		if (!row->is_shown || age > youngest || !socket_has_backend(row, from))
			continue;
		found = at;
		youngest = age;
	}
	return found;
}

/* Where a send's row goes: its Service's own, else a free one, else the one longest not sent to. */
static __always_inline __u32 socket_place(const struct socket_state *state,
					  const struct frontend_key *asked)
{
	__u32 oldest = SOCKET_PEER + 1, age = 0, empty = 0, same = 0;

	for (__u32 at = SOCKET_PEER + 1; at < SOCKET_ROWS; at++) {
		const struct socket_row *row = &state->rows[at];

		if (!row->backend) {
			if (!empty)
				empty = at;
			continue;
		}
		if (same_frontend(&row->asked, asked))
			same = at;
		if (state->turn - row->turn > age) {
			age = state->turn - row->turn;
			oldest = at;
		}
	}
	if (same) {
		MARK(SOCKET_ROW_SAME);
		return same;
	}
	if (empty) {
		MARK(SOCKET_ROW_FREE);
		return empty;
	}
	MARK(SOCKET_ROW_OLDEST);
	return oldest;
}

/* A send by a row: its answers show the Service again, before those of other rows. */
static __always_inline void socket_touch(struct socket_state *state, __u32 at)
{
	if (at >= SOCKET_ROWS)
		return;
	struct socket_row *row = &state->rows[at];

	row->is_shown = 1;
	if (row->turn == state->turn)
		return;
	state->turn++;
	row->turn = state->turn;
}

/* Writes a row anew; what it held is over. */
static __always_inline void socket_put(struct socket_state *state, __u32 at,
				       const struct frontend_key *asked,
				       const struct frontend_key *got, backend_id id,
				       __u32 generation, service_port_id service_port)
{
	if (at >= SOCKET_ROWS)
		return;
	struct socket_row *row = &state->rows[at];

	state->turn++;
	row->asked = *asked;
	row->address = got->address;
	row->port = got->port;
	row->is_shown = 1;
	row->backend = id;
	row->generation = generation;
	row->service_port = service_port;
	row->turn = state->turn;
	log_write(WRITE_SOCKET, at, generation, id);
}

/* The socket speaks to an address without a Service: answers from there are the address's own. */
static __always_inline void socket_hide(struct socket_state *state, const struct frontend_key *to)
{
	for (__u32 at = 0; at < SOCKET_ROWS; at++) {
		struct socket_row *row = &state->rows[at];

		if (!row->is_shown || !socket_has_backend(row, to))
			continue;
		MARK(SOCKET_HIDDEN);
		row->is_shown = 0;
		log_write(WRITE_FORGET, at, 0, row->backend);
	}
}

/* It is connected elsewhere, and not by a Service. */
static __always_inline void socket_disconnect(struct socket_state *state)
{
	if (!state->rows[SOCKET_PEER].backend)
		return;
	MARK(SOCKET_DISCONNECTED);
	log_write(WRITE_FORGET, SOCKET_PEER, 1, state->rows[SOCKET_PEER].backend);
	state->rows[SOCKET_PEER].backend = 0;
}
