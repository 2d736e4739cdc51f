/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * open.h: packets that open a flow, or belong to none; twin of core/datapath/open.ts. A flow has
 * one entry per direction: the answer's is made first, so that nothing is forwarded whose answer
 * can't come back, and under a source port of its own where another flow's answers look the same.
 */
#pragma once

/* Whether an answer's entry only keeps the tuple of a connection that is not translated. */
static __always_inline bool is_direct(const struct flow_key *key, const struct flow_record *record)
{
	return !record->service_port && same_flow(key, &record->translation);
}

/* An answer to a connection that is not translated: its tuple is kept until one side ends it. */
static __always_inline enum verdict direct_reply(struct packet *packet, struct decision *decision,
						 ticks now)
{
	bool pending = (decision->record.state & FLOW_LIFE) == FLOW_PENDING;

	MARK(DIRECT_REPLY);
	if (packet->flags & (TCP_FIN | TCP_RST))
		flow_change(&packet->key, 0, FLOW_ALL, now);
	else if (pending && (packet->flags & (TCP_SYN | TCP_ACK)) == TCP_ACK)
		flow_change(&packet->key, FLOW_PROMOTE | FLOW_EXCESS, 0, now);
	return not_ours(decision);
}

static __always_inline struct service *frontend_of(const struct packet *packet,
						   struct decision *decision)
{
	decision->wanted = (struct frontend_key){
		.address = packet->key.destination,
		.port = packet->key.destination_port,
		.protocol = packet->key.protocol,
	};
	return lookup_frontend(&decision->wanted);
}

/* Whether an opening packet may go on with the flow that is there: its backend still gets new
 * connections of the Service port that the address belongs to; a conversation of datagrams goes on
 * for as long as its backend serves. */
static __always_inline bool still_served(const struct packet *packet, struct decision *decision)
{
	const struct flow_record *record = &decision->record;
	backend_id id = record->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	if (!record->service_port)
		return true;
	if (!backend || backend->live >> BACKEND_GENERATION_SHIFT != record->generation ||
	    !(record->state & FLOW_DATAGRAM ? backend_lives(backend->live)
					    : backend_serves(backend->live, VIEW_INTERNAL)))
		return false;
	struct service *service = frontend_of(packet, decision);

	return service && service->service_port == record->service_port;
}

/*
 * The answer's entry of a new flow, whose key is in decision->other; *record says what it holds.
 * Where the key is taken: by this connection itself, it is adopted, or written over where the
 * connection is opened anew; by one that is over, it gives way; by another that lives, FLOW_EXISTS.
 */
static __always_inline int open_reply(struct packet *packet, struct decision *decision, ticks now,
				      __u32 how)
{
	struct flow_record *record = &decision->record;
	service_port_id service_port = record->service_port;
	backend_id backend = record->backend;
	__u32 generation = record->generation;
	int result = flow_insert(&decision->other, record, now, FLOW_IF_ABSENT);

	if (result != FLOW_EXISTS)
		return result;
	bool ours = nat_answers(&record->translation, &packet->key);

	if (ours && how == FLOW_IF_ABSENT) {
		MARK(FORWARD_ADOPT);
		record->state &= FLOW_LIFE | FLOW_DATAGRAM | FLOW_EXCESS;
		return FLOW_INSERTED;
	}
	bool replace = ours || flow_closing(record->state);

	nat_turn(&record->translation, &packet->key, DIRECTION_REPLY);
	record->service_port = service_port;
	record->backend = backend;
	record->generation = generation;
	record->state = first_state(packet);
	if (!replace)
		return FLOW_EXISTS;
	MARK(FORWARD_REPLACE);
	return flow_insert(&decision->other, record, now, FLOW_REPLACE);
}

/* Both entries of a new flow; first_attempt 1: its own source port is known to be taken. */
static __always_inline enum verdict create(struct packet *packet, struct decision *decision,
					   ticks now, __u32 how, __u32 first_attempt)
{
	struct flow_record *record = &decision->record;
	struct flow_key *reply = &decision->other;
	int result = FLOW_EXISTS;

	nat_turn(reply, &record->translation, DIRECTION_REPLY);
	nat_turn(&record->translation, &packet->key, DIRECTION_REPLY);
	record->keep_bucket = FLOW_KEEP_NONE;
	__u32 spread = flow_hash(reply).second;

#pragma clang loop unroll(disable)
	for (__u32 attempt = first_attempt; attempt <= PORT_TRIES; attempt++) {
		if (attempt) {
			MARK(PORT_REPLACED);
			reply->destination_port = nat_port(spread, attempt);
		}
		result = open_reply(packet, decision, now, how);
		if (result != FLOW_EXISTS)
			break;
	}
	if (result == FLOW_EXISTS) {
		MARK(PORTS_TAKEN);
		return decided(decision, VERDICT_DROP, REASON_TUPLE_TAKEN);
	}
	if (result == FLOW_REFUSED)
		return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
	nat_turn(&record->translation, reply, DIRECTION_FORWARD);
	record->keep_bucket = record->bucket;
	record->keep_slot = record->slot;
	if (flow_insert(&packet->key, record, now, how) == FLOW_REFUSED)
		return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
	MARK(FORWARD_NEW);
	return decided(decision, VERDICT_FORWARD,
		       record->service_port ? REASON_NEW_FLOW : REASON_DIRECT);
}

/* The backend that the client had, or the one of the pure choice. */
static __always_inline struct backend *backend_of(struct packet *packet, struct decision *decision,
						  struct service *service, backend_id *id,
						  ticks now)
{
	const struct flow_key *key = &packet->key;

	if (!service->affinity_seconds) {
		decision->input = (struct select_input){
			.words = { key->source.words[0], key->source.words[1], key->source.words[2],
				   key->source.words[3],
				   bpf_ntohs(key->source_port) | key->protocol << 16,
				   service->name_hash[0], service->name_hash[1], SELECT_PACKET }
		};
		return select_backend(service, VIEW_INTERNAL, &decision->input, id);
	}
	*id = affinity_find(service, VIEW_INTERNAL, &key->source, now);
	if (*id)
		return bpf_map_lookup_elem(&backends, id);
	select_input_client(&decision->input, service, &key->source, key->protocol);
	return select_backend(service, VIEW_INTERNAL, &decision->input, id);
}

/* The backend of a packet that belongs to no flow, or that opens one anew. A pod that is its own
 * backend hears itself from another address, or its answer would never pass here. */
static __always_inline enum verdict choose(struct packet *packet, struct decision *decision,
					   struct service *service, struct outside *outside)
{
	const struct flow_key *key = &packet->key;
	struct flow_record *record = &decision->record;
	backend_id id;
	struct backend *backend = backend_of(packet, decision, service, &id, outside->now);

	if (!backend)
		return decided(decision, VERDICT_DROP, REASON_MAPS_DISAGREE);
	nat_forward(&record->translation, key, backend);
	record->backend = id;
	record->generation = backend->live >> BACKEND_GENERATION_SHIFT;
	record->state = first_state(packet);
	if (service->affinity_seconds && packet_opening(packet) != TCP_RESETS)
		affinity_keep(service, &key->source, id, backend->live, outside);
	if (!same_address(&backend->address, &key->source))
		return VERDICT_FORWARD;
	MARK(HAIRPIN);
	struct address *source = &record->translation.source;
	__u32 family = packet->family == 6;

#pragma unroll
	for (int i = 0; i < 4; i++)
		source->words[i] = config.hairpin_source[family].words[i];
	if (!source->words[3])
		return decided(decision, VERDICT_DROP, REASON_HAIRPIN);
	return VERDICT_FORWARD;
}

/*
 * A connection to something known that is no Service, a backend itself: its tuple is kept, as long
 * as there is room, so that no Service's flow takes it. One that is over is ended; beside one that
 * lives the newcomer's source port stands aside. A datagram may be an answer, and passes.
 */
static __always_inline enum verdict open_direct(struct packet *packet, struct decision *decision,
						ticks now)
{
	struct flow_record *record = &decision->record;
	struct flow_key *reply = &decision->other;
	__u32 how = FLOW_IF_ABSENT;

	nat_turn(reply, &packet->key, DIRECTION_REPLY);
	record->keep_bucket = FLOW_KEEP_NONE;
	if (flow_lookup(reply, record, 0, now)) {
		if (is_direct(reply, record) && !flow_closing(record->state)) {
			MARK(DIRECT_KNOWN);
			return not_ours(decision);
		}
		if (!is_direct(reply, record) && !flow_closing(record->state)) {
			if (packet->key.protocol == IPPROTO_UDP) {
				MARK(DIRECT_TAKEN);
				return not_ours(decision);
			}
			MARK(DIRECT_ASIDE);
			record->translation = packet->key;
			record->service_port = 0;
			record->backend = 0;
			record->state = first_state(packet);
			return create(packet, decision, now, FLOW_IF_ABSENT, 1);
		}
		MARK(DIRECT_ENDS);
		how = FLOW_REPLACE;
		nat_turn(reply, &record->translation, DIRECTION_FORWARD);
		flow_change(reply, 0, FLOW_ALL, now);
		nat_turn(reply, &packet->key, DIRECTION_REPLY);
	}
	MARK(DIRECT_NEW);
	record->translation = *reply;
	record->service_port = 0;
	record->backend = 0;
	record->generation = 0;
	record->state = first_state(packet);
	flow_insert(reply, record, now, how);
	return not_ours(decision);
}

/* A packet to nothing that is served. */
static __always_inline enum verdict no_frontend(struct packet *packet, struct decision *decision,
						ticks now)
{
	if (in_service_range(&packet->key.destination)) {
		if (martian(&packet->key))
			return decided(decision, VERDICT_PASS, REASON_MARTIAN);
		MARK(UNALLOCATED);
		return decided(decision, VERDICT_DROP, REASON_UNALLOCATED);
	}
	if (packet_opening(packet) == TCP_OPENS && !martian(&packet->key))
		return open_direct(packet, decision, now);
	return not_ours(decision);
}

static __always_inline enum verdict forward_new(struct packet *packet, struct decision *decision,
						struct outside *outside, __u32 how)
{
	ticks now = outside->now;
	struct flow_record *record = &decision->record;
	struct service *service = frontend_of(packet, decision);

	record->service_port = 0;
	record->backend = 0;
	if (!service)
		return no_frontend(packet, decision, now);
	record->service_port = service->service_port;
	if (martian(&packet->key)) {
		MARK(MARTIAN);
		return decided(decision, VERDICT_PASS, REASON_MARTIAN);
	}
	enum tcp_kind kind = packet_opening(packet);

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
	enum verdict verdict = choose(packet, decision, service, outside);

	if (verdict != VERDICT_FORWARD)
		return verdict;
	if (kind == TCP_RESETS) {
		MARK(FORWARD_STATELESS);
		return decided(decision, VERDICT_FORWARD, REASON_STATELESS);
	}
	return create(packet, decision, now, how, 0);
}
