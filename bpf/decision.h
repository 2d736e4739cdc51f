/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decision.h: what is decided about a packet, and what is asked of every packet on the way there;
 * twin of core/datapath/decision.ts.
 */
#pragma once

/* What is decided about a packet; the rest is scratch of the decision. */
struct decision {
	struct flow_record record;
	__u32 reason;
	__u32 pad;
	struct flow_key other; /* of the flow's other direction */
	struct flow_key quoted;
	struct frontend_key wanted;
	struct select_input input;
	__u32 pad2;
};

static __always_inline enum verdict decided(struct decision *decision, enum verdict verdict,
					    enum reason reason)
{
	decision->reason = reason;
	return verdict;
}

/* No Service's packet: nothing of a flow that was looked at is reported. */
static __always_inline enum verdict not_ours(struct decision *decision)
{
	decision->record.service_port = 0;
	decision->record.backend = 0;
	return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
}

/* What a packet would open: each datagram may open a flow. */
static __always_inline enum tcp_kind packet_opening(const struct packet *packet)
{
	return packet->key.protocol == IPPROTO_UDP ? TCP_OPENS : tcp_kind(packet->flags);
}

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

/* A flow that is no Service's: to a backend itself. */
static __always_inline enum reason known_reason(const struct flow_record *record)
{
	return record->service_port ? REASON_KNOWN_FLOW : REASON_DIRECT;
}

static __always_inline enum reason reply_reason(const struct flow_record *record)
{
	return record->service_port ? REASON_REPLY : REASON_DIRECT;
}

static __always_inline __u32 first_state(const struct packet *packet)
{
	return packet->key.protocol == IPPROTO_UDP ? FLOW_PENDING | FLOW_DATAGRAM : FLOW_PENDING;
}
