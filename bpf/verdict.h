/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * verdict.h: carries a verdict out on the packet's bytes; twin of core/datapath/verdict.ts. The
 * only file that writes packets.
 */
#pragma once

#define ICMP_LENGTH 28 /* IP header and ICMP header before the quote */
#define HEADER_MAX  60

struct icmp_error {
	struct ipv4_header ip;
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 unused;
};

static __always_inline void count(enum reason reason, service_port_id service_port, __u32 length)
{
	__u32 index = reason;
	struct counter *counter = bpf_map_lookup_elem(&counters, &index);

	if (counter) {
		counter->packets++;
		counter->bytes += length;
	}
	counter = bpf_map_lookup_elem(&service_counters, &service_port);
	if (counter) {
		counter->packets++;
		counter->bytes += length;
	}
}

/* Writes the destination (forward) or the source (reply) of the translation and mends both
 * checksums. */
static __noinline void apply_translation(struct __sk_buff *skb, const struct packet *packet,
					 const struct flow_key *translation, enum verdict verdict,
					 __u32 mode)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv4_header *ip = data + ETHERNET_LENGTH;
	struct tcp_header *tcp = data + (packet->transport & TRANSPORT_MASK);

	if ((void *)(ip + 1) > end || (void *)(tcp + 1) > end)
		return;
	bool forward = verdict == VERDICT_FORWARD;
	__be32 old_address = forward ? ip->destination : ip->source;
	__be32 new_address =
		forward ? translation->destination.words[3] : translation->source.words[3];
	__be16 old_port = forward ? tcp->destination : tcp->source;
	__be16 new_port = forward ? translation->destination_port : translation->source_port;
	__u32 delta = checksum_address_delta(old_address, new_address);

	ip->check = checksum_replace(ip->check, delta);
	tcp->check = checksum_transport(tcp->check, delta, checksum_port_delta(old_port, new_port),
					mode);
	if (forward) {
		ip->destination = new_address;
		tcp->destination = new_port;
	} else {
		ip->source = new_address;
		tcp->source = new_port;
	}
	/* The sum over the whole packet changed by what only the pseudo-header held: minus the
	 * address delta. */
	if (mode == CHECKSUM_MODE_COMPLETE)
		bpf_csum_update(skb,
				checksum_fold(checksum_address_delta(new_address, old_address)));
}

/* The sum of an even number of bytes, 60 at most. */
static __always_inline __u32 sum_bytes(void *data, void *end, __u32 length)
{
	__u32 sum = 0;

	HIDE(data); /* or clang 19 proves the check below needless, which the verifier can't follow
		     */
	for (__u32 at = 0; at < HEADER_MAX; at += 2) {
		__u16 *word = data + at;

		if (at >= length || (void *)(word + 1) > end)
			break;
		sum += *word;
	}
	return sum;
}

/* The sum of the quote, as it will be once a pending (partial) checksum has been completed by
 * whoever sends it. */
static __always_inline __u32 quote_sum(void *quote, void *end, __u32 header_length, __u32 mode)
{
	struct tcp_header *tcp = quote + header_length;

	if ((void *)(tcp + 1) > end)
		return 0;
	__u32 sum = sum_bytes(quote, end, header_length),
	      transport = sum_bytes(tcp, end, TCP_LENGTH);

	if (mode == CHECKSUM_MODE_PARTIAL)
		return sum + transport - tcp->check + (~checksum_fold(transport) & 0xffff);
	return sum + transport;
}

static __always_inline void write_icmp(struct icmp_error *icmp, const struct packet *packet,
				       __u32 quote_length)
{
	struct ipv4_header *ip = &icmp->ip;

	*icmp = (struct icmp_error){ .type = 3, .code = 3 };
	ip->version_length = 0x45;
	ip->service = 0xc0; /* internetwork control (RFC 1812 4.3.2.5) */
	ip->total_length = bpf_htons(ICMP_LENGTH + quote_length);
	ip->fragment = bpf_htons(0x4000);
	ip->time_to_live = 64;
	ip->protocol = IPPROTO_ICMP;
	ip->source = packet->key.destination.words[3];
	ip->destination = packet->key.source.words[3];
	__u32 sum = 0;
	const __u16 *words = (const __u16 *)ip;

#pragma unroll
	for (int i = 0; i < IPV4_LENGTH / 2; i++)
		sum += words[i];
	ip->check = ~checksum_fold(sum);
}

static __always_inline void turn_ethernet(__u16 *words)
{
#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u16 kept = words[i];

		words[i] = words[i + 3];
		words[i + 3] = kept;
	}
}

/*
 * Turns the packet into an ICMP port unreachable (RFC 792) from the address it was for, quoting its
 * IP and TCP headers, and sends it back by the device it came from. Trimmed first, grown in front
 * afterwards: the TCP header is kept whole because a pending checksum must stay inside the packet.
 */
static __noinline enum reason answer_unreachable(struct __sk_buff *skb, struct packet *packet,
						 struct outside *outside, enum reason reason)
{
	__u32 header_length = (packet->transport - packet->network) & 63;
	__u32 quote_length = header_length + TCP_LENGTH;

	if (outside->gso_size) {
		MARK(REFUSE_IMPOSSIBLE);
		return REASON_CANNOT_ANSWER;
	}
	if (packet->length + ETHERNET_LENGTH != skb->len || packet->length != quote_length) {
		MARK(REFUSE_TRIM);
		if (!outside->tail_result)
			outside->tail_result =
				bpf_skb_change_tail(skb, ETHERNET_LENGTH + quote_length, 0);
	}
	if (!outside->tail_result && !outside->room_result)
		outside->room_result = bpf_skb_adjust_room(skb, ICMP_LENGTH, BPF_ADJ_ROOM_MAC, 0);
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct icmp_error *icmp = data + ETHERNET_LENGTH;
	void *quote = icmp + 1;

	if (outside->tail_result || outside->room_result ||
	    quote + IPV4_LENGTH + TCP_LENGTH > end) {
		MARK(REFUSE_IMPOSSIBLE);
		return REASON_CANNOT_ANSWER;
	}
	turn_ethernet(data);
	write_icmp(icmp, packet, quote_length);
	__u32 sum = quote_sum(quote, end, header_length, outside->checksum_mode);

	icmp->check = ~checksum_fold(0x0303 + sum);
	/* The device's sum was that of the quote; headers with right checksums add nothing. */
	if (outside->checksum_mode == CHECKSUM_MODE_COMPLETE)
		bpf_csum_update(skb, ~checksum_fold(sum) & 0xffff);
	MARK(REFUSE_ICMP);
	return reason;
}
