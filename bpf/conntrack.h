/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * conntrack.h: from a parsed packet and the flow table to a verdict; twin of
 * core/datapath/conntrack.ts. Packets of flows that are known, errors about them and fragments;
 * what opens a flow is open.h's.
 */
#pragma once

#define ESTABLISH_WINDOW                                                                           \
	65536 /* the first ACK may also cover data that came with the SYN-ACK (RFC 7413) */

/* Whether the client's packet completes a pending flow; *record is that of the answer's entry. */
static __always_inline bool completes(const struct packet *packet, const struct flow_record *record)
{
	if (record->state & FLOW_DATAGRAM)
		return record->state & FLOW_ANSWERED;
	return (packet->flags & (TCP_SYN | TCP_RST | TCP_ACK)) == TCP_ACK && flow_noted(record) &&
	       packet->acknowledgement - ((__u32)record->note + 1) < ESTABLISH_WINDOW;
}

/* Completes both entries; set: FLOW_EXCESS or nothing. */
static __always_inline void establish(struct flow_key *key, struct flow_key *reply, __u32 set,
				      ticks now)
{
	MARK(ESTABLISH);
	flow_change(reply, FLOW_PROMOTE | set, 0, now);
	flow_change(key, FLOW_PROMOTE | set, 0, now);
}

/*
 * A flow that is pending, or whose answers may be rare: the answer's entry is made again where it
 * is gone, and refreshed; a TCP flow is completed by the client's ACK of the backend's initial
 * sequence number, so a flood of SYNs completes none. REASON_KNOWN_FLOW, or why the packet can't go
 * on: its answer could not come back.
 */
static __always_inline enum reason advance(struct packet *packet, struct decision *decision,
					   ticks now)
{
	struct flow_record *record = &decision->record;
	struct flow_key *reply = &decision->other;
	service_port_id service_port = record->service_port;
	__u32 state = record->state;
	bool pending = (state & FLOW_LIFE) == FLOW_PENDING;
	bool lasts = pending && (state & FLOW_DATAGRAM) && lasts_one_way(record, now);

	record->keep_bucket = record->bucket;
	record->keep_slot = record->slot;
	if (!flow_lookup(reply, record, 0, now)) {
		MARK(FORWARD_HEAL);
		nat_turn(&record->translation, &packet->key, DIRECTION_REPLY);
		record->state = state & (FLOW_LIFE | FLOW_DATAGRAM | FLOW_EXCESS);
		if (flow_insert(reply, record, now, FLOW_IF_ABSENT) == FLOW_REFUSED)
			return REASON_FLOWS_FULL;
		return REASON_KNOWN_FLOW;
	}
	if (!nat_answers(&record->translation, &packet->key)) {
		MARK(FORWARD_TAKEN);
		return REASON_TUPLE_TAKEN;
	}
	if (!pending) {
		MARK(OTHER_KEPT);
		flow_change(reply, 0, 0, now);
	} else if (completes(packet, record)) {
		establish(&packet->key, reply, flow_share(&packet->key, service_port, now), now);
	} else if (lasts) {
		MARK(ONE_WAY);
		establish(&packet->key, reply, FLOW_EXCESS, now);
	}
	return REASON_KNOWN_FLOW;
}

/* Whether the address of the flow's backend is another pod's now. Its row is seldom in the cache:
 * asked once a tick, and again once it was so. */
static __always_inline bool is_reused(const struct flow_record *record, ticks now)
{
	if (record->seen == now && !(record->state & FLOW_RESET))
		return false;
	backend_id id = record->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	return backend && (backend->live & BACKEND_STATE) == BACKEND_REUSED &&
	       backend->live >> BACKEND_GENERATION_SHIFT == record->generation;
}

static __always_inline enum verdict forward_known(struct packet *packet, struct decision *decision,
						  ticks now)
{
	struct flow_record *record = &decision->record;
	struct flow_key *reply = &decision->other;
	__u32 state = record->state;
	bool keeps_reply = keeps_other(record, now);

	MARK(FORWARD_KNOWN);
	if (is_reused(record, now)) {
		MARK(BACKEND_REUSED);
		nat_turn(reply, &record->translation, DIRECTION_REPLY);
		note_flags(&packet->key, reply, state, TCP_RST, now);
		return decided(decision, VERDICT_REFUSE, REASON_BACKEND_REUSED);
	}
	if (steady(state, packet->flags) && !keeps_reply) {
		MARK(STEADY);
		return decided(decision, VERDICT_FORWARD, known_reason(record));
	}
	nat_turn(reply, &record->translation, DIRECTION_REPLY);
	if ((state & FLOW_LIFE) == FLOW_PENDING || keeps_reply) {
		service_port_id service_port = record->service_port;
		backend_id backend = record->backend;
		enum reason reason = advance(packet, decision, now);

		nat_turn(&record->translation, reply, DIRECTION_FORWARD);
		record->service_port = service_port;
		record->backend = backend;
		if (reason != REASON_KNOWN_FLOW)
			return decided(decision, VERDICT_DROP, reason);
	}
	if (!(state & FLOW_DATAGRAM))
		note_flags(&packet->key, reply, state, packet->flags, now);
	return decided(decision, VERDICT_FORWARD, known_reason(record));
}

/* An answer in a flow's reply direction. */
static __always_inline enum verdict reply_known(struct packet *packet, struct decision *decision,
						ticks now)
{
	struct flow_record *record = &decision->record;
	struct flow_key *forward = &decision->other;
	__u32 state = record->state;
	bool keeps_forward = keeps_other(record, now);

	MARK(REPLY_KNOWN);
	if (is_direct(&packet->key, record))
		return direct_reply(packet, decision, now);
	if ((packet->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
	    (state & FLOW_LIFE) == FLOW_PENDING) {
		MARK(REPLY_SYN_ACK);
		flow_note(record, packet->sequence, 0);
	}
	if (steady(state, packet->flags) && !keeps_forward) {
		MARK(STEADY);
		return decided(decision, VERDICT_REPLY, reply_reason(record));
	}
	nat_turn(forward, &record->translation, DIRECTION_FORWARD);
	if (!(state & FLOW_DATAGRAM)) {
		note_flags(&packet->key, forward, state, packet->flags, now);
	} else {
		note_answer(&packet->key, state, now);
		if (keeps_forward)
			flow_change(forward, 0, 0, now);
	}
	return decided(decision, VERDICT_REPLY, reply_reason(record));
}

/* An ICMP error: translated with the flow that it quotes, which it does not refresh. */
static __always_inline enum verdict related(struct packet *packet, struct decision *decision,
					    enum direction direction, ticks now)
{
	packet->key.direction = direction;
	if (!flow_lookup(&packet->key, &decision->record, 0, now) ||
	    is_direct(&packet->key, &decision->record)) {
		MARK(UNRELATED);
		return not_ours(decision);
	}
	MARK(RELATED);
	return decided(decision, direction == DIRECTION_FORWARD ? VERDICT_FORWARD : VERDICT_REPLY,
		       REASON_RELATED);
}

/* A fragment without ports. */
static __always_inline enum verdict later_fragment(struct packet *packet, struct decision *decision,
						   enum direction direction, ticks now)
{
	if (find_fragment(packet, &decision->other, &decision->record, direction, now))
		return decided(decision,
			       direction == DIRECTION_FORWARD ? VERDICT_FORWARD : VERDICT_REPLY,
			       REASON_FRAGMENTED);
	decision->wanted = (struct frontend_key){ .address = packet->key.destination };
	if (direction == DIRECTION_REPLY || !lookup_frontend(&decision->wanted))
		return not_ours(decision);
	MARK(FRAGMENT_MISSING);
	return decided(decision, VERDICT_DROP, REASON_FIRST_MISSING);
}

/* Whether the packet goes to the address from which pods hear themselves. */
static __always_inline bool to_hairpin(const struct packet *packet)
{
	const volatile struct address *source =
		&config.hairpin_source[is_mapped(&packet->key.destination) ? 0 : 1];
	const __be32 *words = packet->key.destination.words;

	return !((words[0] ^ source->words[0]) | (words[1] ^ source->words[1]) |
		 (words[2] ^ source->words[2]) | (words[3] ^ source->words[3]));
}

/* A packet of a backend to its client. */
static __always_inline enum verdict from_backend(struct packet *packet, struct decision *decision,
						 ticks now)
{
	if (packet->kind == PACKET_ERROR)
		return related(packet, decision, DIRECTION_REPLY, now);
	if (packet->kind == PACKET_LATER)
		return later_fragment(packet, decision, DIRECTION_REPLY, now);
	packet->key.direction = DIRECTION_REPLY;
	if (!flow_lookup(&packet->key, &decision->record, packet->length, now))
		return not_ours(decision);
	return reply_known(packet, decision, now);
}

static __always_inline enum verdict from_pod(struct packet *packet, struct decision *decision,
					     struct outside *outside)
{
	ticks now = outside->now;
	struct flow_record *record = &decision->record;

	if (packet->kind == PACKET_ERROR)
		return related(packet, decision, DIRECTION_FORWARD, now);
	if (packet->kind == PACKET_LATER)
		return later_fragment(packet, decision, DIRECTION_FORWARD, now);
	__u32 how = FLOW_IF_ABSENT;

	if (flow_lookup(&packet->key, record, packet->length, now)) {
		bool opens = packet_opening(packet) == TCP_OPENS;

		if (!opens || (!flow_closing(record->state) && still_served(packet, decision))) {
			enum verdict verdict = forward_known(packet, decision, now);

			if (!opens || decision->reason != REASON_TUPLE_TAKEN)
				return verdict;
		}
		MARK(FORWARD_RESELECT);
		how = FLOW_REPLACE;
	}
	return forward_new(packet, decision, outside, how);
}

/* A packet that comes from a pod. decision->record.translation is what it becomes where the verdict
 * is forward, or reply (to itself). */
__noinline int decide_from_pod(struct packet *packet, struct outside *outside,
			       struct decision *decision)
{
	if (!packet || !outside || !decision)
		return VERDICT_PASS;
	bool hairpin = to_hairpin(packet);

	if (!hairpin && !maybe_service(packet)) {
		MARK(CERTAINLY_NOT);
		return not_ours(decision);
	}
	ticks now = read_clock(outside);
	enum verdict verdict =
		hairpin ? from_backend(packet, decision, now) : from_pod(packet, decision, outside);

	if (hairpin && verdict == VERDICT_REPLY)
		MARK(HAIRPIN_REPLY);
	if (packet->kind == PACKET_FIRST &&
	    (verdict == VERDICT_FORWARD || verdict == VERDICT_REPLY))
		keep_fragment(packet, &decision->other, &decision->record,
			      hairpin ? DIRECTION_REPLY : DIRECTION_FORWARD, now);
	return verdict;
}

/* A packet that goes to a pod. decision->record.translation is what it becomes where the verdict is
 * reply. */
__noinline int decide_to_pod(struct packet *packet, struct outside *outside,
			     struct decision *decision)
{
	if (!packet || !outside || !decision)
		return VERDICT_PASS;
	if (packet->kind != PACKET_LATER && !maybe_backend(packet)) {
		MARK(CERTAINLY_NOT);
		return not_ours(decision);
	}
	ticks now = read_clock(outside);
	enum verdict verdict = from_backend(packet, decision, now);

	if (packet->kind == PACKET_FIRST && verdict == VERDICT_REPLY)
		keep_fragment(packet, &decision->other, &decision->record, DIRECTION_REPLY, now);
	return verdict;
}
