/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fragment.h: fragments of translated packets; twin of core/datapath/fragment.ts. The first one,
 * which has the ports, leaves an entry in the flow table under its datagram's identification, and
 * the later ones follow it. One that overtakes the first is dropped by name: never read as ports,
 * never sent anywhere by chance.
 */
#pragma once

/* The key of a datagram's fragments (RFC 791, RFC 8200 4.5): in IPv6 whatever the protocol. */
static __always_inline void fragment_key(struct flow_key *key, const struct packet *packet,
					 enum direction direction)
{
	key->source = packet->key.source;
	key->destination = packet->key.destination;
	key->source_port = packet->identification;
	key->destination_port = packet->identification >> 16;
	key->protocol = packet->family == 6 ? NEXT_FRAGMENT : packet->key.protocol;
	key->direction = direction | DIRECTION_FRAGMENT;
	key->pad = 0;
}

/* What the later fragments will become; without room for it they are dropped by name. */
static __always_inline void keep_fragment(const struct packet *packet, struct flow_key *key,
					  struct flow_record *record, enum direction direction,
					  ticks now)
{
	MARK(FRAGMENT_KEPT);
	fragment_key(key, packet, direction);
	record->keep_bucket = record->bucket;
	record->keep_slot = record->slot;
	record->state = FLOW_PENDING | FLOW_DATAGRAM;
	flow_insert(key, record, now, FLOW_REPLACE);
}

/* Whether the first fragment of this one's datagram was translated. */
static __always_inline bool find_fragment(const struct packet *packet, struct flow_key *key,
					  struct flow_record *record, enum direction direction,
					  ticks now)
{
	fragment_key(key, packet, direction);
	if (!flow_lookup(key, record, packet->length, now))
		return false;
	MARK(FRAGMENT_KNOWN);
	return true;
}
