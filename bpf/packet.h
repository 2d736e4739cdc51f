/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet.h: the shapes of headers, and what parsing finds; twin of core/datapath/packet.ts.
 */
#pragma once

#define ETHERNET_LENGTH 14
#define IPV4_LENGTH	20
#define IPV6_LENGTH	40
#define TCP_LENGTH	20
#define UDP_LENGTH	8
#define ICMP_HEADER	8
#define HEADERS_MAX	8   /* IPv6 extension headers that are walked */
#define OFFSET_MASK	511 /* bounds an offset in the frame for the verifier */
#define OFFSET_MAX	448 /* where a transport header or a quoted one may begin */
#define ETHERNET_GROUP	1   /* in the first byte: to more than one */
#define FRAGMENT_OFFSET 0x1fff
#define FRAGMENT_MORE	0x2000

enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
};

enum next_header {
	NEXT_HOP_BY_HOP = 0,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_AUTHENTICATION = 51,
	NEXT_DESTINATION = 60,
	NEXT_MOBILITY = 135,
};

enum packet_kind {
	PACKET_WHOLE = 0,
	PACKET_FIRST = 1, /* a first fragment, transport header included */
	PACKET_LATER = 2, /* a fragment without one: addresses only */
	PACKET_ERROR = 3, /* an ICMP error; key is that of the packet it answers, turned around */
};

struct packet {
	struct flow_key key; /* as on the wire, but for PACKET_ERROR */
	__u32 acknowledgement;
	__u32 sequence;
	__u32 length;  /* of the IP packet */
	__u16 network; /* offsets in the frame */
	__u16 transport;
	__u32 flags;  /* of TCP */
	__u32 family; /* 4 or 6 */
	__u32 kind;
	__u32 identification; /* of a fragment's datagram, as on the wire */
	__u16 quote;	      /* offsets of the headers that an ICMP error quotes */
	__u16 quote_transport;
	__u32 time_to_live;
	__u32 sum; /* see sum_bytes() */
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

struct extension_header {
	__u8 next_header;
	__u8 length;
	__be16 fragment;
	__be32 identification;
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

struct udp_header {
	__be16 source;
	__be16 destination;
	__be16 length;
	__sum16 check;
};

static __always_inline bool is_mapped(const struct address *address)
{
	return !(address->words[0] | address->words[1]) && address->words[2] == bpf_htonl(0xffff);
}

static __always_inline void map_address(struct address *address, __be32 ipv4)
{
	*address = (struct address){ .words = { 0, 0, bpf_htonl(0xffff), ipv4 } };
}
