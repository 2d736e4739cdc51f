/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * verdict.h: carries a verdict out on the packet's bytes; twin of core/datapath/verdict.ts. The
 * only file that writes packets.
 */
#pragma once

#define ICMP_LENGTH  28 /* IP header and ICMP header before the quote */
#define ICMP6_LENGTH 48
#define HEADER_MAX   60

struct icmp_error {
	struct ipv4_header ip;
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 unused;
};

struct icmp6_error {
	struct ipv6_header ip;
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

/* Writes one address of the IP header; gives what changes in a sum over addresses. */
static __always_inline __u32 write_ipv4_address(struct ipv4_header *ip,
						const struct address *address, bool destination)
{
	__be32 old = destination ? ip->destination : ip->source;
	__u32 delta = checksum_address_delta(old, address->words[3]);

	ip->check = checksum_replace(ip->check, delta);
	if (destination)
		ip->destination = address->words[3];
	else
		ip->source = address->words[3];
	return delta;
}

static __always_inline __u32 write_ipv6_address(struct ipv6_header *ip,
						const struct address *address, bool destination)
{
	struct address *place = destination ? &ip->destination : &ip->source;
	__u32 delta = 0;

	for (int word = 0; word < 4; word++) {
		delta += checksum_address_delta(place->words[word], address->words[word]);
		place->words[word] = address->words[word];
	}
	return delta;
}

/* Writes the destination (forward) or the source (reply) of the translation and mends the
 * checksums. */
static __noinline void apply_translation(struct __sk_buff *skb, const struct packet *packet,
					 const struct flow_key *translation, enum verdict verdict,
					 __u32 mode)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct tcp_header *tcp = data + (packet->transport & TRANSPORT_MASK);
	void *ip = data + ETHERNET_LENGTH;
	bool forward = verdict == VERDICT_FORWARD;

	/* Longer than an IPv4 header, and there in any case: a TCP header follows. */
	if (ip + IPV6_LENGTH > end || (void *)(tcp + 1) > end)
		return;
	const struct address *address = forward ? &translation->destination : &translation->source;
	__be16 old_port = forward ? tcp->destination : tcp->source;
	__be16 new_port = forward ? translation->destination_port : translation->source_port;
	__u32 delta = packet->family == 6 ? write_ipv6_address(ip, address, forward)
					  : write_ipv4_address(ip, address, forward);

	tcp->check = checksum_transport(tcp->check, delta, checksum_port_delta(old_port, new_port),
					mode);
	if (forward)
		tcp->destination = new_port;
	else
		tcp->source = new_port;
	/* IPv4: the sum over the whole packet changed by what only the pseudo-header held, minus
	 * the address delta. IPv6: the addresses themselves make up for it. */
	if (mode == CHECKSUM_MODE_COMPLETE && packet->family == 4)
		bpf_csum_update(skb, ~checksum_fold(delta) & 0xffff);
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

static __always_inline void write_icmp6(struct icmp6_error *icmp, const struct packet *packet,
					__u32 quote_length)
{
	struct ipv6_header *ip = &icmp->ip;

	*icmp = (struct icmp6_error){ .type = 1, .code = 4 };
	ip->version_class = 0x6c; /* internetwork control */
	ip->payload_length = bpf_htons(ICMP6_LENGTH - IPV6_LENGTH + quote_length);
	ip->next_header = IPPROTO_ICMPV6;
	ip->hop_limit = 64;
	ip->source = packet->key.destination;
	ip->destination = packet->key.source;
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

/* The ICMP message (RFC 792) in front of the quote; where the quote would not fit, nothing. */
static __always_inline bool answer_ipv4(struct __sk_buff *skb, const struct packet *packet,
					__u32 quote_length, __u32 mode)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct icmp_error *icmp = data + ETHERNET_LENGTH;
	void *quote = icmp + 1;

	if (quote + IPV4_LENGTH + TCP_LENGTH > end)
		return false;
	turn_ethernet(data);
	write_icmp(icmp, packet, quote_length);
	__u32 sum = quote_sum(quote, end, quote_length - TCP_LENGTH, mode);

	icmp->check = ~checksum_fold(0x0303 + sum);
	/* The device's sum was that of the quote; headers with right checksums add nothing. */
	if (mode == CHECKSUM_MODE_COMPLETE)
		bpf_csum_update(skb, ~checksum_fold(sum) & 0xffff);
	return true;
}

/* The same by RFC 4443, whose checksum covers a pseudo-header. */
static __always_inline bool answer_ipv6(struct __sk_buff *skb, const struct packet *packet,
					__u32 quote_length, __u32 mode)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct icmp6_error *icmp = data + ETHERNET_LENGTH;
	void *quote = icmp + 1;

	if (quote + IPV6_LENGTH + TCP_LENGTH > end)
		return false;
	turn_ethernet(data);
	write_icmp6(icmp, packet, quote_length);
	__u32 addresses = sum_bytes(&icmp->ip.source, end, 2 * sizeof(struct address));
	__u32 sum = quote_sum(quote, end, IPV6_LENGTH, mode);
	__u32 pseudo = addresses + icmp->ip.payload_length + bpf_htons(IPPROTO_ICMPV6);

	icmp->check = ~checksum_fold(0x0401 + pseudo + sum);
	if (mode == CHECKSUM_MODE_COMPLETE)
		bpf_csum_update(skb, checksum_fold(sum_bytes(icmp, end, 8) + addresses + 0x0401 +
						   icmp->check));
	return true;
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
	__u32 room = packet->family == 6 ? ICMP6_LENGTH : ICMP_LENGTH;

	if (!outside->tail_result && !outside->room_result)
		outside->room_result = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, 0);
	bool answered = false;

	if (!outside->tail_result && !outside->room_result)
		answered = packet->family == 6
				   ? answer_ipv6(skb, packet, quote_length, outside->checksum_mode)
				   : answer_ipv4(skb, packet, quote_length, outside->checksum_mode);
	if (!answered) {
		MARK(REFUSE_IMPOSSIBLE);
		return REASON_CANNOT_ANSWER;
	}
	MARK(REFUSE_ICMP);
	return reason;
}
