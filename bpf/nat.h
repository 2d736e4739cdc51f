/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat.h: what a packet becomes; twin of core/datapath/nat.ts. Rule of sides: on the way in only the
 * destination's address is rewritten, sources are rewritten on the way out to the client (a packet
 * with the node's own source is a martian). Hairpin is both at once, and skips routing.
 *
 *   client -> Service    from-pod: destination := backend, source port where the tuple is taken
 *   client <- backend    to-pod:   source := Service
 *   client = backend     from-pod: both, and back to where it came from
 */
#pragma once

static __always_inline bool same_address(const struct address *left, const struct address *right)
{
	return !((left->words[0] ^ right->words[0]) | (left->words[1] ^ right->words[1]) |
		 (left->words[2] ^ right->words[2]) | (left->words[3] ^ right->words[3]));
}

/* The client's packet as the backend shall see it. */
static __always_inline void nat_forward(struct flow_key *translation, const struct flow_key *key,
					const struct backend *backend)
{
	*translation = *key;
	translation->destination = backend->address;
	translation->destination_port = backend->port;
}

/* Turned around: the key of a packet in the other direction. */
static __always_inline void nat_turn(struct flow_key *turned, const struct flow_key *key,
				     enum direction direction)
{
	turned->source = key->destination;
	turned->destination = key->source;
	turned->source_port = key->destination_port;
	turned->destination_port = key->source_port;
	turned->protocol = key->protocol;
	turned->direction = direction;
	turned->pad = 0;
}

/* Whether this translation of an answer belongs to this packet of a client. */
static __always_inline bool nat_answers(const struct flow_key *translation,
					const struct flow_key *key)
{
	return same_address(&translation->source, &key->destination) &&
	       same_address(&translation->destination, &key->source) &&
	       translation->source_port == key->destination_port &&
	       translation->destination_port == key->source_port;
}

/* Another source port for a flow whose answers could not be told from another's. */
static __always_inline port_number nat_port(__u32 spread, __u32 attempt)
{
	__u32 hash = spread ^ attempt * 0x9e3779b1u;

	hash ^= hash >> 15;
	hash *= 0x2c1b3c6du;
	hash ^= hash >> 13;
	return bpf_htons(config.port_first + (__u32)((__u64)hash * config.port_count >> 32));
}
