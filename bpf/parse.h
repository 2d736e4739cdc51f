/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse.h: bytes of a frame to a struct packet; twin of core/datapath/parse.ts. A header that lies
 * about lengths is passed untouched: judging it is the stack's business. A fragment that lacks the
 * transport header is known by its datagram's identification; an ICMP error by the flow it quotes.
 */
#pragma once

static __always_inline enum reason malformed(void)
{
	MARK(MALFORMED);
	return REASON_MALFORMED;
}

static __always_inline enum reason other_protocol(void)
{
	MARK(OTHER_PROTOCOL);
	return REASON_OTHER_PROTOCOL;
}

/* An error that quotes what no flow of ours can have sent. */
static __always_inline enum reason odd_quote(void)
{
	MARK(QUOTE_ODD);
	return REASON_OTHER_PROTOCOL;
}

/* What lies behind the linear part is fetched by the caller, who then parses again. */
static __always_inline enum reason beyond(void *data, void *end, __u32 frame_length)
{
	return end - data < frame_length ? REASON_HEADERS : malformed();
}

/* A fragment without the transport header. */
static __always_inline enum reason parse_later(struct packet *packet)
{
	MARK(FRAGMENT_LATER);
	packet->kind = PACKET_LATER;
	return REASON_NOT_SERVICE;
}

static __always_inline enum reason parse_tcp(struct packet *packet, void *data, void *end,
					     __u32 frame_length)
{
	struct tcp_header *tcp = data + (packet->transport & OFFSET_MASK);
	__u32 room = packet->length - (packet->transport - packet->network);

	if (room < TCP_LENGTH)
		return packet->kind == PACKET_FIRST ? parse_later(packet) : malformed();
	if ((void *)(tcp + 1) > end)
		return beyond(data, end, frame_length);
	if ((tcp->offset >> 4) < 5)
		return malformed();
	if ((tcp->offset >> 4) * 4 > room)
		return packet->kind == PACKET_FIRST ? parse_later(packet) : malformed();
	packet->key.source_port = tcp->source;
	packet->key.destination_port = tcp->destination;
	packet->sequence = bpf_ntohl(tcp->sequence);
	packet->acknowledgement = bpf_ntohl(tcp->acknowledgement);
	packet->flags = tcp->flags;
	return REASON_NOT_SERVICE;
}

static __always_inline enum reason parse_udp(struct packet *packet, void *data, void *end,
					     __u32 frame_length)
{
	struct udp_header *udp = data + (packet->transport & OFFSET_MASK);
	__u32 room = packet->length - (packet->transport - packet->network);

	if (room < UDP_LENGTH)
		return packet->kind == PACKET_FIRST ? parse_later(packet) : malformed();
	if ((void *)(udp + 1) > end)
		return beyond(data, end, frame_length);
	__u32 length = bpf_ntohs(udp->length);

	if (length < UDP_LENGTH || (packet->kind == PACKET_WHOLE && length > room))
		return malformed();
	MARK(UDP);
	packet->key.source_port = udp->source;
	packet->key.destination_port = udp->destination;
	return REASON_NOT_SERVICE;
}

/* The quoted packet's ports, its addresses already turned around in the key. */
static __always_inline enum reason parse_quoted_ports(struct packet *packet, void *data, void *end,
						      __u32 frame_length, __u32 protocol)
{
	struct udp_header *udp = data + (packet->quote_transport & OFFSET_MASK);

	if (packet->quote_transport > OFFSET_MAX ||
	    packet->length < packet->quote_transport - packet->network + UDP_LENGTH ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return odd_quote();
	if ((void *)(udp + 1) > end)
		return beyond(data, end, frame_length);
	MARK(QUOTE);
	packet->kind = PACKET_ERROR;
	packet->key.protocol = protocol;
	packet->key.source_port = udp->destination;
	packet->key.destination_port = udp->source;
	return REASON_NOT_SERVICE;
}

/* Destination unreachable, time exceeded, parameter problem (RFC 792); all else is nobody's. */
static __always_inline enum reason parse_icmp(struct packet *packet, void *data, void *end,
					      __u32 frame_length)
{
	__u8 *type = data + (packet->transport & OFFSET_MASK);
	struct ipv4_header *quoted = (void *)type + ICMP_HEADER;
	__u32 room = packet->length - (packet->transport - packet->network);

	if (room < ICMP_HEADER + IPV4_LENGTH)
		return other_protocol();
	if ((void *)(quoted + 1) > end)
		return beyond(data, end, frame_length);
	if (*type != 3 && *type != 11 && *type != 12)
		return other_protocol();
	__u32 header_length = (quoted->version_length & 15) * 4;

	if (quoted->version_length >> 4 != 4 || header_length < IPV4_LENGTH ||
	    (quoted->fragment & bpf_htons(FRAGMENT_OFFSET)))
		return odd_quote();
	packet->quote = packet->transport + ICMP_HEADER;
	packet->quote_transport = packet->quote + header_length;
	map_address(&packet->key.source, quoted->destination);
	map_address(&packet->key.destination, quoted->source);
	return parse_quoted_ports(packet, data, end, frame_length, quoted->protocol);
}

static __always_inline bool is_extension(__u32 next_header)
{
	return next_header == NEXT_HOP_BY_HOP || next_header == NEXT_ROUTING ||
	       next_header == NEXT_FRAGMENT || next_header == NEXT_AUTHENTICATION ||
	       next_header == NEXT_DESTINATION || next_header == NEXT_MOBILITY;
}

/* Whether later fragments of this protocol are: in IPv6 further headers may hide the transport. */
static __always_inline bool is_translated(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
	       (protocol != NEXT_HOP_BY_HOP && is_extension(protocol));
}

/* Bytes of an extension header of this type (RFC 8200, RFC 4302 2.2). */
static __always_inline __u32 extension_length(__u32 type, const struct extension_header *header)
{
	if (type == NEXT_FRAGMENT)
		return 8;
	return type == NEXT_AUTHENTICATION ? (header->length + 2) * 4 : (header->length + 1) * 8;
}

static __always_inline enum reason odd_extension(void)
{
	MARK(EXTENSIONS);
	return REASON_EXTENSIONS;
}

/*
 * Walks the extension headers (RFC 8200 4): hop-by-hop may only be the first, a routing header with
 * segments left hides the destination, what follows a later fragment's header is payload. In a
 * quote only that of a first fragment is read.
 */
static __noinline enum reason walk_extensions(struct packet *packet, void *data, void *end,
					      __u32 frame_length, __u32 next_header)
{
	bool quoted = packet->quote;
	__u32 at = (quoted ? packet->quote : ETHERNET_LENGTH) + IPV6_LENGTH;

#pragma clang loop unroll(disable)
	for (int n = 0; n < HEADERS_MAX && is_extension(next_header); n++) {
		struct extension_header *header = data + (at & OFFSET_MASK);

		if ((next_header == NEXT_HOP_BY_HOP && n) || at > OFFSET_MAX)
			return odd_extension();
		if ((void *)(header + 1) > end)
			return beyond(data, end, frame_length);
		if (at - packet->network + sizeof(*header) > packet->length)
			return malformed();
		if (next_header == NEXT_ROUTING && (header->fragment >> 8))
			return odd_extension();
		if (next_header == NEXT_FRAGMENT) {
			__u32 fragment = bpf_ntohs(header->fragment);

			if (packet->kind != PACKET_WHOLE || (quoted && fragment >> 3))
				return odd_extension();
			packet->identification = header->identification;
			if (quoted)
				MARK(QUOTE_FIRST);
			else if (fragment >> 3)
				packet->kind = PACKET_LATER;
			else if (fragment & 1)
				packet->kind = PACKET_FIRST;
		}
		at += extension_length(next_header, header);
		next_header = header->next_header;
		if (packet->kind == PACKET_LATER)
			break;
	}
	if (at > OFFSET_MAX || (packet->kind != PACKET_LATER && is_extension(next_header)))
		return odd_extension();
	if (at - packet->network > packet->length)
		return malformed();
	MARK(WALKED);
	if (quoted)
		packet->quote_transport = at;
	else
		packet->transport = at;
	packet->key.protocol = next_header;
	return REASON_NOT_SERVICE;
}

/* Unreachable, too big, time exceeded, parameter problem (RFC 4443). */
static __always_inline enum reason parse_icmp6(struct packet *packet, void *data, void *end,
					       __u32 frame_length)
{
	__u8 *type = data + (packet->transport & OFFSET_MASK);
	struct ipv6_header *quoted = (void *)type + ICMP_HEADER;
	__u32 room = packet->length - (packet->transport - packet->network);

	if (room < ICMP_HEADER + IPV6_LENGTH)
		return other_protocol();
	if ((void *)(quoted + 1) > end)
		return beyond(data, end, frame_length);
	if (*type < 1 || *type > 4)
		return other_protocol();
	if (quoted->version_class >> 4 != 6)
		return odd_quote();
	packet->quote = packet->transport + ICMP_HEADER;
	packet->quote_transport = packet->quote + IPV6_LENGTH;
	packet->key.source = quoted->destination;
	packet->key.destination = quoted->source;
	packet->key.protocol = quoted->next_header;
	if (is_extension(quoted->next_header)) {
		enum reason reason =
			walk_extensions(packet, data, end, frame_length, quoted->next_header);

		if (reason != REASON_NOT_SERVICE)
			return reason;
	}
	return parse_quoted_ports(packet, data, end, frame_length, packet->key.protocol);
}

/* What follows the IP headers; the kind says whether the packet is a fragment. */
static __always_inline enum reason parse_transport(struct packet *packet, void *data, void *end,
						   __u32 frame_length, __u32 protocol)
{
	__u32 icmp = packet->family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	if (packet->kind == PACKET_LATER && is_translated(protocol))
		return parse_later(packet);
	if (packet->kind == PACKET_LATER || (packet->kind == PACKET_FIRST && protocol == icmp)) {
		MARK(FRAGMENT);
		return REASON_FRAGMENT;
	}
	if (packet->kind == PACKET_FIRST)
		MARK(FRAGMENT_FIRST);
	packet->key.protocol = protocol;
	if (protocol == IPPROTO_TCP)
		return parse_tcp(packet, data, end, frame_length);
	if (protocol == IPPROTO_UDP)
		return parse_udp(packet, data, end, frame_length);
	if (protocol == IPPROTO_ICMP && packet->family == 4)
		return parse_icmp(packet, data, end, frame_length);
	if (protocol == IPPROTO_ICMPV6 && packet->family == 6)
		return parse_icmp6(packet, data, end, frame_length);
	return other_protocol();
}

static __always_inline enum reason parse_ipv4(struct packet *packet, void *data, void *end,
					      __u32 frame_length)
{
	struct ipv4_header *ip = data + ETHERNET_LENGTH;

	if ((void *)(ip + 1) > end)
		return beyond(data, end, frame_length);
	__u32 header_length = (ip->version_length & 15) * 4;
	__u32 fragment = bpf_ntohs(ip->fragment);

	packet->length = bpf_ntohs(ip->total_length);
	if (ip->version_length >> 4 != 4 || header_length < IPV4_LENGTH ||
	    packet->length < header_length || packet->length > frame_length - ETHERNET_LENGTH)
		return malformed();
	if (header_length > IPV4_LENGTH)
		MARK(OPTIONS);
	packet->family = 4;
	packet->network = ETHERNET_LENGTH;
	packet->transport = ETHERNET_LENGTH + header_length;
	packet->time_to_live = ip->time_to_live;
	packet->identification = ip->id;
	map_address(&packet->key.source, ip->source);
	map_address(&packet->key.destination, ip->destination);
	if (fragment & FRAGMENT_OFFSET)
		packet->kind = PACKET_LATER;
	else if (fragment & FRAGMENT_MORE)
		packet->kind = PACKET_FIRST;
	packet->key.protocol = ip->protocol;
	return parse_transport(packet, data, end, frame_length, ip->protocol);
}

static __always_inline enum reason parse_ipv6(struct packet *packet, void *data, void *end,
					      __u32 frame_length)
{
	struct ipv6_header *ip = data + ETHERNET_LENGTH;

	if ((void *)(ip + 1) > end)
		return beyond(data, end, frame_length);
	packet->length = IPV6_LENGTH + bpf_ntohs(ip->payload_length);
	if (ip->version_class >> 4 != 6 || packet->length > frame_length - ETHERNET_LENGTH)
		return malformed();
	packet->key.source = ip->source;
	packet->key.destination = ip->destination;
	/* On a wire these would pass for IPv4 addresses (RFC 4291 2.5.5.2). */
	if (is_mapped(&packet->key.source) || is_mapped(&packet->key.destination)) {
		MARK(MARTIAN);
		return REASON_MARTIAN;
	}
	MARK(IPV6);
	packet->family = 6;
	packet->network = ETHERNET_LENGTH;
	packet->transport = ETHERNET_LENGTH + IPV6_LENGTH;
	packet->time_to_live = ip->hop_limit;
	packet->key.protocol = ip->next_header;
	if (is_extension(ip->next_header)) {
		enum reason reason =
			walk_extensions(packet, data, end, frame_length, ip->next_header);

		if (reason != REASON_NOT_SERVICE)
			return reason;
	}
	return parse_transport(packet, data, end, frame_length, packet->key.protocol);
}

/* REASON_NOT_SERVICE: parsed; anything else: why the packet passes untouched, or that headers lie
 * beyond the linear part. *packet must be zero. */
static __always_inline enum reason parse_frame(struct packet *packet, void *data, void *end,
					       __u32 frame_length)
{
	__be16 *type = data + 12;

	if ((void *)(type + 1) <= end && (*(__u8 *)data & ETHERNET_GROUP)) {
		MARK(GROUP);
		return REASON_GROUP;
	}
	if ((void *)(type + 1) <= end && *type == bpf_htons(ETH_P_IP))
		return parse_ipv4(packet, data, end, frame_length);
	if ((void *)(type + 1) <= end && *type == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(packet, data, end, frame_length);
	MARK(NOT_IP);
	return REASON_NOT_IP;
}
