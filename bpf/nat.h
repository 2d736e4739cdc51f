/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat.h: what a packet becomes; twin of core/datapath/nat.ts. Rule of sides: on the way in only the
 * destination is rewritten, sources are rewritten on the way out to the client (a packet with the
 * node's own source is a martian).
 *
 *   client -> Service    from-pod: destination := backend
 *   client <- backend    to-pod:   source := Service
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

/* The key under which the backend's answers will be found. */
static __always_inline void nat_reply_key(struct flow_key *reply,
					  const struct flow_key *translation)
{
	reply->source = translation->destination;
	reply->destination = translation->source;
	reply->source_port = translation->destination_port;
	reply->destination_port = translation->source_port;
	reply->protocol = translation->protocol;
	reply->direction = DIRECTION_REPLY;
	reply->pad = 0;
}

/* The backend's answer as the client shall see it: the client's own packet turned around. */
static __always_inline void nat_reply(struct flow_key *translation, const struct flow_key *key)
{
	nat_reply_key(translation, key);
}

/* The client's packet that an answer with this translation belongs to; the other way of nat_reply.
 */
static __always_inline void nat_forward_key(struct flow_key *forward,
					    const struct flow_key *translation)
{
	nat_reply_key(forward, translation);
	forward->direction = DIRECTION_FORWARD;
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
