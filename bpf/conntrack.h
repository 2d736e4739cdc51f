/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * conntrack.h: from a parsed packet and the flow table to a verdict; twin of
 * core/datapath/conntrack.ts. A connection has one entry per direction: the answer's is made first,
 * so that nothing is forwarded whose answer can't come back.
 */
#pragma once

#define ESTABLISH_WINDOW                                                                           \
	65536 /* the first ACK may also cover data that came with the SYN-ACK (RFC 7413) */

struct decision {
	struct flow_record record;
	__u32 reason;
	__u32 pad;
};

/* Sources that can't be on a wire (RFC 1122 3.2.1.3, RFC 4291 2.5), and a packet from an address to
 * itself. */
static __always_inline bool martian(const struct flow_key *key)
{
	const __be32 *source = key->source.words;
	__u32 first = bpf_ntohl(source[0]), last = bpf_ntohl(source[3]);

	if (same_address(&key->source, &key->destination))
		return true;
	if (is_mapped(&key->source))
		return last >> 24 == 0 || last >> 24 == 127 || last >> 24 >= 224;
	return first >> 24 == 0xff || (!(source[0] | source[1] | source[2]) && last <= 1);
}

static __always_inline enum verdict decided(struct decision *decision, enum verdict verdict,
					    enum reason reason)
{
	decision->reason = reason;
	return verdict;
}

/* Whether the backend of a flow may still get new connections. */
static __always_inline bool still_served(const struct flow_record *record)
{
	backend_id id = record->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	return backend && backend->live >> BACKEND_GENERATION_SHIFT == record->generation &&
	       backend_serves(backend->live, VIEW_INTERNAL);
}

/* The client's side of a record that held the answer's: one record serves both, the stack has no
 * room for two. */
static __always_inline void turn_to_forward(struct flow_record *record, const struct packet *packet,
					    const struct flow_key *reply_key)
{
	record->translation = packet->key;
	record->translation.destination = reply_key->source;
	record->translation.destination_port = reply_key->source_port;
}

/*
 * A pending flow: its answer's entry is made again where it was recycled, and the client's ACK of
 * the backend's initial sequence number completes both. Nothing else does, so a flood of SYNs
 * completes none. REASON_KNOWN_FLOW, or why the packet can't go on: its answer could not come back.
 */
static __always_inline enum reason advance(struct packet *packet, struct flow_record *record,
					   struct flow_key *reply_key, ticks now)
{
	record->keep_bucket = record->bucket;
	record->keep_slot = record->slot;
	if (!flow_lookup(reply_key, record, 0, now)) {
		MARK(FORWARD_HEAL);
		nat_reply(&record->translation, &packet->key);
		record->state = FLOW_PENDING;
		if (flow_insert(reply_key, record, now, FLOW_IF_ABSENT) == FLOW_REFUSED)
			return REASON_FLOWS_FULL;
		return REASON_KNOWN_FLOW;
	}
	if (!nat_answers(&record->translation, &packet->key)) {
		MARK(FORWARD_TAKEN);
		return REASON_TUPLE_TAKEN;
	}
	if ((packet->flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK ||
	    record->isn >> 32 != record->version ||
	    packet->acknowledgement - ((__u32)record->isn + 1) >= ESTABLISH_WINDOW)
		return REASON_KNOWN_FLOW;
	MARK(ESTABLISH);
	flow_change(reply_key, FLOW_PROMOTE, 0, now);
	flow_change(&packet->key, FLOW_PROMOTE, 0, now);
	return REASON_KNOWN_FLOW;
}

static __always_inline enum verdict forward_known(struct packet *packet, struct decision *decision,
						  ticks now)
{
	struct flow_record *record = &decision->record;
	struct flow_key reply_key;
	__u32 state = record->state;

	MARK(FORWARD_KNOWN);
	if (steady(state, packet->flags)) {
		MARK(STEADY);
		return decided(decision, VERDICT_FORWARD, REASON_KNOWN_FLOW);
	}
	nat_reply_key(&reply_key, &record->translation);
	if ((state & FLOW_LIFE) == FLOW_PENDING) {
		service_port_id service_port = record->service_port;
		backend_id backend = record->backend;
		enum reason reason = advance(packet, record, &reply_key, now);

		turn_to_forward(record, packet, &reply_key);
		record->service_port = service_port;
		record->backend = backend;
		if (reason != REASON_KNOWN_FLOW)
			return decided(decision, VERDICT_DROP, reason);
	}
	note_flags(&packet->key, &reply_key, state, packet->flags, now);
	return decided(decision, VERDICT_FORWARD, REASON_KNOWN_FLOW);
}

/*
 * Both entries of a new connection, the answer's first. Where its key is taken: by this connection
 * itself, it is adopted, or written over where the connection is opened anew; by one that is over,
 * it gives way; by another that lives, that one stays.
 */
static __always_inline enum verdict create(struct packet *packet, struct decision *decision,
					   ticks now, __u32 how)
{
	struct flow_record *record = &decision->record;
	service_port_id service_port = record->service_port;
	backend_id backend = record->backend;
	__u32 generation = record->generation;
	struct flow_key reply_key;

	nat_reply_key(&reply_key, &record->translation);
	nat_reply(&record->translation, &packet->key);
	record->keep_bucket = FLOW_KEEP_NONE;
	int result = flow_insert(&reply_key, record, now, FLOW_IF_ABSENT);

	if (result == FLOW_EXISTS) {
		bool ours = nat_answers(&record->translation, &packet->key);

		if (ours && how == FLOW_IF_ABSENT) {
			MARK(FORWARD_ADOPT);
			record->state &= FLOW_LIFE;
		} else if (!ours && !flow_closing(record->state)) {
			MARK(FORWARD_TAKEN);
			record->service_port = service_port;
			return decided(decision, VERDICT_DROP, REASON_TUPLE_TAKEN);
		} else {
			MARK(FORWARD_REPLACE);
			nat_reply(&record->translation, &packet->key);
			record->service_port = service_port;
			record->backend = backend;
			record->generation = generation;
			record->state = FLOW_PENDING;
			result = flow_insert(&reply_key, record, now, FLOW_REPLACE);
		}
	}
	if (result == FLOW_REFUSED)
		return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
	turn_to_forward(record, packet, &reply_key);
	record->keep_bucket = record->bucket;
	record->keep_slot = record->slot;
	if (flow_insert(&packet->key, record, now, how) == FLOW_REFUSED)
		return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
	MARK(FORWARD_NEW);
	return decided(decision, VERDICT_FORWARD, REASON_NEW_FLOW);
}

/* The backend of a packet that belongs to no flow, or that opens one anew. */
static __always_inline enum verdict choose(struct packet *packet, struct decision *decision,
					   struct service *service)
{
	const struct flow_key *key = &packet->key;
	struct select_input input = {
		.words = { key->source.words[0], key->source.words[1], key->source.words[2],
			   key->source.words[3], bpf_ntohs(key->source_port) | key->protocol << 16,
			   service->name_hash[0], service->name_hash[1], SELECT_PACKET }
	};
	backend_id id;
	struct backend *backend = select_backend(service, VIEW_INTERNAL, &input, &id);

	if (!backend)
		return decided(decision, VERDICT_DROP, REASON_MAPS_DISAGREE);
	if (same_address(&backend->address, &key->source)) {
		MARK(HAIRPIN);
		return decided(decision, VERDICT_DROP, REASON_HAIRPIN);
	}
	nat_forward(&decision->record.translation, key, backend);
	decision->record.backend = id;
	decision->record.generation = backend->live >> BACKEND_GENERATION_SHIFT;
	decision->record.state = FLOW_PENDING;
	return VERDICT_FORWARD;
}

/*
 * A connection that is opened to something known that is no Service, a backend itself. Answers to
 * it would be taken for those of a flow with the same tuple: one that is over is ended, one that
 * lives keeps its tuple.
 */
static __always_inline enum verdict open_direct(struct packet *packet, struct decision *decision,
						ticks now)
{
	struct flow_record *record = &decision->record;
	struct flow_key reply_key;

	nat_reply_key(&reply_key, &packet->key);
	if (!flow_lookup(&reply_key, record, 0, now)) {
		record->service_port = 0;
		record->backend = 0;
		return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
	}
	if (!flow_closing(record->state)) {
		MARK(DIRECT_TAKEN);
		return decided(decision, VERDICT_DROP, REASON_TUPLE_TAKEN);
	}
	MARK(DIRECT_ENDS);
	flow_change(&reply_key, 0, FLOW_ALL, now);
	nat_forward_key(&reply_key, &record->translation);
	flow_change(&reply_key, 0, FLOW_ALL, now);
	record->service_port = 0;
	record->backend = 0;
	return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
}

static __always_inline enum verdict forward_new(struct packet *packet, struct decision *decision,
						ticks now, __u32 how)
{
	struct frontend_key wanted = {
		.address = packet->key.destination,
		.port = packet->key.destination_port,
		.protocol = packet->key.protocol,
	};
	struct service *service = lookup_frontend(&wanted);

	if (!service && tcp_kind(packet->flags) == TCP_OPENS)
		return open_direct(packet, decision, now);
	if (!service)
		return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
	decision->record.service_port = service->service_port;
	if (martian(&packet->key)) {
		MARK(MARTIAN);
		return decided(decision, VERDICT_PASS, REASON_MARTIAN);
	}
	enum tcp_kind kind = tcp_kind(packet->flags);

	if (kind == TCP_ODD) {
		MARK(FORWARD_FLAGS);
		return decided(decision, VERDICT_DROP, REASON_TCP_FLAGS);
	}
	if (service->kind == FRONTEND_WHOLE_ADDRESS)
		return decided(decision, VERDICT_REFUSE, REASON_UNKNOWN_PORT);
	if (!service->views[VIEW_INTERNAL].count) {
		if (service->flags & SERVICE_DROP_WHEN_INTERNAL_EMPTY) {
			MARK(EMPTY_DROP);
			return decided(decision, VERDICT_DROP, REASON_NO_LOCAL_ENDPOINTS);
		}
		MARK(EMPTY_REFUSE);
		return decided(decision, VERDICT_REFUSE, REASON_NO_ENDPOINTS);
	}
	enum verdict verdict = choose(packet, decision, service);

	if (verdict != VERDICT_FORWARD)
		return verdict;
	if (kind == TCP_RESETS) {
		MARK(FORWARD_STATELESS);
		return decided(decision, VERDICT_FORWARD, REASON_STATELESS);
	}
	return create(packet, decision, now, how);
}

/* A packet that comes from a pod. decision->record.translation is what it becomes where the verdict
 * is forward. */
__noinline int decide_from_pod(struct packet *packet, struct outside *outside,
			       struct decision *decision)
{
	if (!packet || !outside || !decision)
		return VERDICT_PASS;
	if (!maybe_service(packet)) {
		MARK(CERTAINLY_NOT);
		return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
	}
	ticks now = read_clock(outside);
	__u32 how = FLOW_IF_ABSENT;

	if (flow_lookup(&packet->key, &decision->record, packet->length, now)) {
		if (tcp_kind(packet->flags) != TCP_OPENS ||
		    (!flow_closing(decision->record.state) && still_served(&decision->record)))
			return forward_known(packet, decision, now);
		MARK(FORWARD_RESELECT);
		how = FLOW_REPLACE;
	}
	return forward_new(packet, decision, now, how);
}

/* A packet that goes to a pod. decision->record.translation is what it becomes where the verdict is
 * reply. */
__noinline int decide_to_pod(struct packet *packet, struct outside *outside,
			     struct decision *decision)
{
	if (!packet || !outside || !decision)
		return VERDICT_PASS;
	struct flow_record *record = &decision->record;
	struct flow_key forward_key;

	if (!maybe_backend(packet)) {
		MARK(CERTAINLY_NOT);
		return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
	}
	ticks now = read_clock(outside);

	packet->key.direction = DIRECTION_REPLY;
	if (!flow_lookup(&packet->key, record, packet->length, now))
		return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
	MARK(REPLY_KNOWN);
	if ((packet->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
	    (record->state & FLOW_LIFE) == FLOW_PENDING) {
		MARK(REPLY_SYN_ACK);
		flow_note_isn(record, packet->sequence);
	}
	if (steady(record->state, packet->flags)) {
		MARK(STEADY);
		return decided(decision, VERDICT_REPLY, REASON_REPLY);
	}
	nat_forward_key(&forward_key, &record->translation);
	note_flags(&packet->key, &forward_key, record->state, packet->flags, now);
	return decided(decision, VERDICT_REPLY, REASON_REPLY);
}
