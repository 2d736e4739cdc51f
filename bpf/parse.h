/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse.h: bytes of a frame to a struct packet; twin of core/datapath/parse.ts. A header that lies
 * about lengths is passed untouched: judging it is the stack's business.
 */
#pragma once

#define ETHERNET_LENGTH 14
#define IPV4_LENGTH	20
#define IPV6_LENGTH	40
#define TCP_LENGTH	20
#define TRANSPORT_MAX	(ETHERNET_LENGTH + 60)
#define TRANSPORT_MASK	127    /* bounds an offset for the verifier; TRANSPORT_MAX fits */
#define FRAGMENT_BITS	0x3fff /* more fragments, offset */

enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
};

struct packet {
	struct flow_key key; /* as on the wire */
	__u32 acknowledgement;
	__u32 sequence;
	__u32 length;  /* of the IP packet */
	__u16 network; /* offsets in the frame */
	__u16 transport;
	__u32 flags;  /* of TCP */
	__u32 family; /* 4 or 6 */
};

struct ipv4_header {
	__u8 version_length;
	__u8 service;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 time_to_live;
	__u8 protocol;
	__sum16 check;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__u8 version_class;
	__u8 class_label;
	__be16 label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	struct address source;
	struct address destination;
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__sum16 check;
	__be16 urgent;
};

static __always_inline enum reason parse_tcp(struct packet *packet, void *data, void *end)
{
	__u32 at = packet->transport & TRANSPORT_MASK;
	struct tcp_header *tcp = data + at;

	if ((void *)(tcp + 1) > end || (tcp->offset >> 4) < 5) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
	if (packet->transport - packet->network + (tcp->offset >> 4) * 4 > packet->length) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
	packet->key.source_port = tcp->source;
	packet->key.destination_port = tcp->destination;
	packet->sequence = bpf_ntohl(tcp->sequence);
	packet->acknowledgement = bpf_ntohl(tcp->acknowledgement);
	packet->flags = tcp->flags;
	return REASON_NOT_SERVICE;
}

static __always_inline enum reason parse_ipv4(struct packet *packet, void *data, void *end,
					      __u32 frame_length)
{
	struct ipv4_header *ip = data + ETHERNET_LENGTH;

	if ((void *)(ip + 1) > end) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
	__u32 header_length = (ip->version_length & 15) * 4;

	packet->length = bpf_ntohs(ip->total_length);
	if (ip->version_length >> 4 != 4 || header_length < IPV4_LENGTH ||
	    packet->length < header_length + TCP_LENGTH ||
	    packet->length > frame_length - ETHERNET_LENGTH) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
	if (ip->protocol != IPPROTO_TCP) {
		MARK(NOT_TCP);
		return REASON_NOT_TCP;
	}
	if (ip->fragment & bpf_htons(FRAGMENT_BITS)) {
		MARK(FRAGMENT);
		return REASON_FRAGMENT;
	}
	if (header_length > IPV4_LENGTH)
		MARK(OPTIONS);
	packet->family = 4;
	packet->network = ETHERNET_LENGTH;
	packet->transport = ETHERNET_LENGTH + header_length;
	packet->key.source.words[2] = bpf_htonl(0xffff);
	packet->key.source.words[3] = ip->source;
	packet->key.destination.words[2] = bpf_htonl(0xffff);
	packet->key.destination.words[3] = ip->destination;
	packet->key.protocol = ip->protocol;
	return parse_tcp(packet, data, end);
}

static __always_inline bool is_mapped(const struct address *address)
{
	return !(address->words[0] | address->words[1]) && address->words[2] == bpf_htonl(0xffff);
}

/* What may stand before a transport header: hop-by-hop, routing, fragment, AH, destination,
 * mobility. */
static __always_inline bool is_extension(__u8 next_header)
{
	return next_header == 0 || next_header == 43 || next_header == 44 || next_header == 51 ||
	       next_header == 60 || next_header == 135;
}

static __always_inline enum reason parse_ipv6(struct packet *packet, void *data, void *end,
					      __u32 frame_length)
{
	struct ipv6_header *ip = data + ETHERNET_LENGTH;

	if ((void *)(ip + 1) > end) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
	packet->length = IPV6_LENGTH + bpf_ntohs(ip->payload_length);
	if (ip->version_class >> 4 != 6 || packet->length > frame_length - ETHERNET_LENGTH) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
	if (is_extension(ip->next_header)) {
		MARK(EXTENSIONS);
		return REASON_EXTENSIONS;
	}
	if (ip->next_header != IPPROTO_TCP) {
		MARK(NOT_TCP);
		return REASON_NOT_TCP;
	}
	if (packet->length < IPV6_LENGTH + TCP_LENGTH) {
		MARK(MALFORMED);
		return REASON_MALFORMED;
	}
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
	packet->key.protocol = ip->next_header;
	return parse_tcp(packet, data, end);
}

/* REASON_NOT_SERVICE: parsed; anything else: why the packet passes untouched. *packet must be zero.
 */
static __always_inline enum reason parse_frame(struct packet *packet, void *data, void *end,
					       __u32 frame_length)
{
	__be16 *type = data + 12;

	if ((void *)(type + 1) <= end && *type == bpf_htons(ETH_P_IP))
		return parse_ipv4(packet, data, end, frame_length);
	if ((void *)(type + 1) <= end && *type == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(packet, data, end, frame_length);
	MARK(NOT_IP);
	return REASON_NOT_IP;
}
