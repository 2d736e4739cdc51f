/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * answer.h: what is sent back instead of a packet: ICMP errors and resets; twin of
 * core/datapath/answer.ts. Trimmed first, grown in front afterwards; the transport header is kept
 * whole because a pending checksum must stay inside the packet.
 */
#pragma once

#define ICMP_LENGTH  28 /* IP header and ICMP header before the quote */
#define ICMP6_LENGTH 48
#define ANSWER_MAX   512 /* bytes of headers that are summed */
#define ANSWER_TTL   64
#define IPV6_SOURCE  8 /* where an IPv6 header has its addresses */

struct icmp_error {
	struct ipv4_header ip;
	__be16 type;
	__sum16 check;
	__be32 unused;
};

struct icmp6_error {
	struct ipv6_header ip;
	__be16 type;
	__sum16 check;
	__be32 unused;
};

/* The sum of whole words, 512 bytes at most. It goes through memory, where the verifier forgets
 * after how many steps it came about. */
static __noinline __u32 sum_bytes(struct packet *packet, void *data, void *end, __u32 length)
{
	volatile __u32 *kept = &packet->sum;
	__u64 sum = 0;

	HIDE(data); /* or clang 19 proves the check below needless, which the verifier can't follow
		     */
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < ANSWER_MAX; at += 4) {
		__u32 *word = data + at;

		if (at >= length || (void *)(word + 1) > end)
			break;
		sum += *word;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	*kept = checksum_fold((__u32)(sum & 0xffff) + (__u32)(sum >> 16 & 0xffff) +
			      (__u32)(sum >> 32));
	return *kept;
}

/* Bytes of the transport header that are quoted. */
static __always_inline __u32 quoted_length(const struct packet *packet)
{
	return packet->key.protocol == IPPROTO_UDP ? UDP_LENGTH : TCP_LENGTH;
}

/* The sum of the quote, as it will be once a pending (partial) checksum has been completed by
 * whoever sends it. */
static __always_inline __u32 quote_sum(void *quote, void *end, struct packet *packet, __u32 mode)
{
	void *header = quote + ((packet->transport - packet->network) & OFFSET_MASK);
	bool datagram = packet->key.protocol == IPPROTO_UDP;
	__sum16 *check = datagram ? &((struct udp_header *)header)->check
				  : &((struct tcp_header *)header)->check;

	if ((void *)(check + 1) > end)
		return 0;
	__u32 transport = sum_bytes(packet, header, end, quoted_length(packet));

	if (mode == CHECKSUM_MODE_PARTIAL)
		transport += (~checksum_fold(transport) & 0xffff) + (~(__u32)*check & 0xffff);
	return transport + sum_bytes(packet, quote, end, packet->transport - packet->network);
}

static __always_inline void write_icmp(struct icmp_error *icmp, const struct packet *packet,
				       __be16 type, __u32 quote_length)
{
	struct ipv4_header *ip = &icmp->ip;

	*icmp = (struct icmp_error){ .type = type };
	ip->version_length = 0x45;
	ip->service = 0xc0; /* internetwork control (RFC 1812 4.3.2.5) */
	ip->total_length = bpf_htons(ICMP_LENGTH + quote_length);
	ip->fragment = bpf_htons(0x4000);
	ip->time_to_live = ANSWER_TTL;
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
					__be16 type, __u32 quote_length)
{
	struct ipv6_header *ip = &icmp->ip;

	*icmp = (struct icmp6_error){ .type = type };
	ip->version_class = 0x6c; /* internetwork control */
	ip->payload_length = bpf_htons(ICMP6_LENGTH - IPV6_LENGTH + quote_length);
	ip->next_header = IPPROTO_ICMPV6;
	ip->hop_limit = ANSWER_TTL;
	ip->source = packet->key.destination;
	ip->destination = packet->key.source;
}

/* The ICMP message (RFC 792) in front of the quote; where the quote would not fit, nothing. */
static __always_inline bool answer_ipv4(struct __sk_buff *skb, struct packet *packet, __be16 type,
					__u32 quote_length, __u32 mode)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct icmp_error *icmp = data + ETHERNET_LENGTH;
	void *quote = icmp + 1;

	if (quote + IPV4_LENGTH + UDP_LENGTH > end)
		return false;
	turn_ethernet(data);
	write_icmp(icmp, packet, type, quote_length);
	__u32 sum = quote_sum(quote, end, packet, mode);

	icmp->check = ~checksum_fold(type + sum);
	/* The device's sum was that of the quote; headers with right checksums add nothing. */
	if (mode == CHECKSUM_MODE_COMPLETE)
		follow_sum(skb, ~checksum_fold(sum) & 0xffff);
	return true;
}

/* The same by RFC 4443, whose checksum covers a pseudo-header. */
static __always_inline bool answer_ipv6(struct __sk_buff *skb, struct packet *packet, __be16 type,
					__u32 quote_length, __u32 mode)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct icmp6_error *icmp = data + ETHERNET_LENGTH;
	void *quote = icmp + 1;

	if (quote + IPV6_LENGTH + UDP_LENGTH > end)
		return false;
	turn_ethernet(data);
	write_icmp6(icmp, packet, type, quote_length);
	__u32 addresses = sum_bytes(packet, &icmp->ip.source, end, 2 * sizeof(struct address));
	__u32 sum = quote_sum(quote, end, packet, mode);
	__u32 pseudo = addresses + icmp->ip.payload_length + bpf_htons(IPPROTO_ICMPV6);

	icmp->check = ~checksum_fold(type + pseudo + sum);
	if (mode == CHECKSUM_MODE_COMPLETE)
		follow_sum(skb, sum_bytes(packet, icmp, end, 8) + addresses + type + icmp->check);
	return true;
}

static __always_inline enum reason cannot_answer(void)
{
	MARK(REFUSE_IMPOSSIBLE);
	return REASON_CANNOT_ANSWER;
}

/* Cuts the packet to its headers; false: the kernel would not. */
static __always_inline bool trim(struct __sk_buff *skb, const struct packet *packet,
				 struct outside *outside, __u32 length)
{
	if (packet->length + ETHERNET_LENGTH == skb->len && packet->length == length)
		return true;
	MARK(REFUSE_TRIM);
	if (!outside->tail_result)
		outside->tail_result = bpf_skb_change_tail(skb, ETHERNET_LENGTH + length, 0);
	return !outside->tail_result;
}

/*
 * Turns the packet into an ICMP error from the address it was for, quoting its IP and transport
 * headers, to be sent back by the device it came from. type: type and code, the same in both
 * families' order of bytes.
 */
__noinline int answer_icmp(struct __sk_buff *skb, struct packet *packet, struct outside *outside,
			   __u32 type, __u32 reason)
{
	if (!packet || !outside)
		return REASON_CANNOT_ANSWER;
	__u32 header_length = (packet->transport - packet->network) & OFFSET_MASK;
	__u32 quote_length = header_length + quoted_length(packet);

	if (outside->gso_size || packet->kind == PACKET_LATER || packet->kind == PACKET_ERROR)
		return cannot_answer();
	if (!trim(skb, packet, outside, quote_length))
		return cannot_answer();
	__u32 room = packet->family == 6 ? ICMP6_LENGTH : ICMP_LENGTH;

	if (!outside->room_result)
		outside->room_result = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, 0);
	if (outside->room_result)
		return cannot_answer();
	bool answered =
		packet->family == 6
			? answer_ipv6(skb, packet, type, quote_length, outside->checksum_mode)
			: answer_ipv4(skb, packet, type, quote_length, outside->checksum_mode);

	if (!answered)
		return cannot_answer();
	MARK(REFUSE_ICMP);
	return reason;
}

/* The segment with its headers turned around, an empty reset (RFC 9293 3.5.2, group 3). */
static __always_inline void write_reset(void *ip, struct tcp_header *tcp,
					const struct packet *packet)
{
	struct ipv4_header *ipv4 = ip;
	struct ipv6_header *ipv6 = ip;
	__be32 sequence = tcp->acknowledgement;

	if (packet->family == 6) {
		ipv6->payload_length = bpf_htons(TCP_LENGTH);
		ipv6->hop_limit = ANSWER_TTL;
		ipv6->source = packet->key.destination;
		ipv6->destination = packet->key.source;
	} else {
		ipv4->total_length = bpf_htons(IPV4_LENGTH + TCP_LENGTH);
		ipv4->time_to_live = ANSWER_TTL;
		ipv4->source = packet->key.destination.words[3];
		ipv4->destination = packet->key.source.words[3];
		ipv4->check = 0;
	}
	*tcp = (struct tcp_header){ .source = packet->key.destination_port,
				    .destination = packet->key.source_port,
				    .sequence = sequence,
				    .offset = 5 << 4,
				    .flags = TCP_RST };
}

/* Answers a segment that acknowledges something with a reset from the address it was for. */
__noinline int answer_reset(struct __sk_buff *skb, struct packet *packet, struct outside *outside,
			    __u32 reason)
{
	if (!packet || !outside)
		return REASON_CANNOT_ANSWER;
	bool v6 = packet->family == 6;
	__u32 header_length = v6 ? IPV6_LENGTH : IPV4_LENGTH, mode = outside->checksum_mode;
	__u32 length = header_length + TCP_LENGTH;

	if (outside->gso_size || packet->kind != PACKET_WHOLE ||
	    packet->transport - packet->network != header_length ||
	    (packet->flags & (TCP_RST | TCP_ACK)) != TCP_ACK)
		return cannot_answer();
	if (!trim(skb, packet, outside, length))
		return cannot_answer();
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv4_header *ip = data + ETHERNET_LENGTH;
	struct tcp_header *tcp = v6 ? (void *)ip + IPV6_LENGTH : (void *)ip + IPV4_LENGTH;

	if ((void *)ip + IPV6_LENGTH > end || (void *)(tcp + 1) > end)
		return cannot_answer();
	__u32 before = sum_bytes(packet, ip, end, length);

	turn_ethernet(data);
	write_reset(ip, tcp, packet);
	if (!v6)
		ip->check = ~checksum_fold(sum_bytes(packet, ip, end, IPV4_LENGTH));
	__u32 pseudo =
		v6 ? sum_bytes(packet, (void *)ip + IPV6_SOURCE, end, 2 * sizeof(struct address))
		   : sum_bytes(packet, &ip->source, end, 8);

	pseudo += bpf_htons(IPPROTO_TCP) + bpf_htons(TCP_LENGTH);
	tcp->check = mode == CHECKSUM_MODE_PARTIAL
			     ? checksum_fold(pseudo)
			     : ~checksum_fold(pseudo + sum_bytes(packet, tcp, end, TCP_LENGTH));
	if (mode == CHECKSUM_MODE_COMPLETE)
		follow_sum(skb, checksum_fold(sum_bytes(packet, ip, end, length)) +
					(~checksum_fold(before) & 0xffff));
	MARK(REFUSE_RESET);
	return reason;
}
