/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * select.h: the choice of a backend, a keyed hash over the view's slots; twin of
 * core/datapath/select.ts. The input holds no node-local id and no destination, so every node and
 * every Service address choose alike.
 */
#pragma once

#define SELECT_WORDS 8

struct select_input {
	__u32 words[SELECT_WORDS];
};

enum select_kind {
	SELECT_PACKET = 0,
	SELECT_SOCKET = 1,
	SELECT_CLIENT = 2, /* affinity: the client alone, for packets and sockets alike */
};

#define ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))

/* HalfSipHash-2-4 (Aumasson, Bernstein) of 32 bytes, 32 bits out. */
static __always_inline void sip_round(__u32 *v)
{
	v[0] += v[1];
	v[1] = ROTATE(v[1], 5) ^ v[0];
	v[0] = ROTATE(v[0], 16);
	v[2] += v[3];
	v[3] = ROTATE(v[3], 8) ^ v[2];
	v[0] += v[3];
	v[3] = ROTATE(v[3], 7) ^ v[0];
	v[2] += v[1];
	v[1] = ROTATE(v[1], 13) ^ v[2];
	v[2] = ROTATE(v[2], 16);
}

static __always_inline __u32 select_hash(const struct select_input *input)
{
	__u32 k0 = config.selection_key[0], k1 = config.selection_key[1];
	__u32 v[4] = { k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1 };

	for (int i = 0; i < SELECT_WORDS; i++) {
		v[3] ^= input->words[i];
		sip_round(v);
		sip_round(v);
		v[0] ^= input->words[i];
	}
	v[3] ^= (__u32)SELECT_WORDS * 4 << 24;
	sip_round(v);
	sip_round(v);
	v[0] ^= (__u32)SELECT_WORDS * 4 << 24;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[1] ^ v[3];
}

/* The input of a Service port that keeps its clients: what a packet and a socket of one client have
 * in common. */
static __always_inline void select_input_client(struct select_input *input,
						const struct service *service,
						const struct address *client,
						protocol_number protocol)
{
	input->words[0] = client->words[0];
	input->words[1] = client->words[1];
	input->words[2] = client->words[2];
	input->words[3] = client->words[3];
	input->words[4] = protocol << 16;
	input->words[5] = service->name_hash[0];
	input->words[6] = service->name_hash[1];
	input->words[7] = SELECT_CLIENT;
}

/* Multiply-shift: an even share of 2^32 for each slot of the table, where a backend may stand
 * often. */
static __always_inline __u32 select_slot(__u32 hash, const struct view *view)
{
	return view->first_slot + (__u32)((__u64)hash * view->table_size >> 32);
}

/* Whether a backend serves at all: a conversation goes on with one that new ones no longer get. */
static __always_inline bool backend_lives(__u32 live)
{
	__u32 state = live & BACKEND_STATE;

	return state == BACKEND_ACTIVE || state == BACKEND_TERMINATING;
}

/* Whether a backend may get a new connection of this view. */
static __always_inline bool backend_serves(__u32 live, enum view_index view)
{
	return backend_lives(live) &&
	       (live & (view == VIEW_INTERNAL ? BACKEND_IN_INTERNAL : BACKEND_IN_EXTERNAL));
}

/* The chosen backend, of the frontend's family, and its id, or none where the maps disagree. The
 * view must not be empty. */
static __always_inline struct backend *select_backend(struct service *service, enum view_index view,
						      const struct select_input *input,
						      backend_id *id)
{
	__u32 slot = select_slot(select_hash(input), &service->views[view]);
	__u32 index = slot >> 1;
	struct slot_pair *pair = bpf_map_lookup_elem(&slots, &index);

	if (!pair) {
		MARK(SLOT_MISSING);
		return NULL;
	}
	*id = slot & 1 ? pair->backends[1] : pair->backends[0];
	struct backend *backend = bpf_map_lookup_elem(&backends, id);

	if (!backend || backend->service_port != service->service_port ||
	    is_mapped(&backend->address) != is_mapped(&service->key.address) ||
	    !backend_serves(backend->live, view)) {
		MARK(BACKEND_DEAD);
		return NULL;
	}
	MARK(SELECTED);
	return backend;
}
