/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * verdict.h: carries a translation out on the packet's bytes; twin of core/datapath/verdict.ts.
 * With answer.h the only file that writes packets. Only what differs is written.
 */
#pragma once

#define ICMP_CHECK    2	 /* where an ICMP header's checksum is */
#define TCP_CHECK_END 18 /* bytes of TCP that hold its checksum */

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

/* Writes an address of an IP header at this place; gives what changes in a sum over addresses. */
static __always_inline __u32 write_ipv4_address(struct ipv4_header *ip, __be32 *place,
						const struct address *address)
{
	__u32 delta = checksum_address_delta(*place, address->words[3]);

	ip->check = checksum_replace(ip->check, delta);
	*place = address->words[3];
	return delta;
}

static __always_inline __u32 write_ipv6_address(struct address *place,
						const struct address *address)
{
	__u32 delta = 0;

	for (int word = 0; word < 4; word++) {
		delta += checksum_address_delta(place->words[word], address->words[word]);
		place->words[word] = address->words[word];
	}
	return delta;
}

static __always_inline __u32 write_ipv4(struct ipv4_header *ip, void *end,
					const struct flow_key *key,
					const struct flow_key *translation)
{
	__u32 delta = 0;

	if ((void *)(ip + 1) > end)
		return 0;
	if (key->source.words[3] != translation->source.words[3])
		delta += write_ipv4_address(ip, &ip->source, &translation->source);
	if (key->destination.words[3] != translation->destination.words[3])
		delta += write_ipv4_address(ip, &ip->destination, &translation->destination);
	return delta;
}

static __always_inline __u32 write_ipv6(struct ipv6_header *ip, void *end,
					const struct flow_key *key,
					const struct flow_key *translation)
{
	__u32 delta = 0;

	if ((void *)(ip + 1) > end)
		return 0;
	if (!same_address(&key->source, &translation->source))
		delta += write_ipv6_address(&ip->source, &translation->source);
	if (!same_address(&key->destination, &translation->destination))
		delta += write_ipv6_address(&ip->destination, &translation->destination);
	return delta;
}

/* Writes the addresses of a header that differ between a key and its translation; gives what
 * changes in a sum over addresses. */
static __always_inline __u32 write_addresses(void *ip, void *end, __u32 family,
					     const struct flow_key *key,
					     const struct flow_key *translation)
{
	return family == 6 ? write_ipv6(ip, end, key, translation)
			   : write_ipv4(ip, end, key, translation);
}

/* Writes the ports, which TCP and UDP have in one place. */
static __always_inline __u32 write_ports(struct udp_header *ports,
					 const struct flow_key *translation)
{
	__u32 delta = 0;

	if (ports->source != translation->source_port) {
		delta += checksum_port_delta(ports->source, translation->source_port);
		ports->source = translation->source_port;
	}
	if (ports->destination != translation->destination_port) {
		delta += checksum_port_delta(ports->destination, translation->destination_port);
		ports->destination = translation->destination_port;
	}
	return delta;
}

/* The device's sum over the whole packet follows what no checksum in the packet makes up for. */
static __always_inline void follow_sum(struct __sk_buff *skb, __u32 delta)
{
	bpf_csum_update(skb, checksum_fold(delta));
}

/*
 * Writes the translation and mends the checksums. In IPv4 the header's own checksum makes up for
 * the addresses, so the device's sum changes by what only the pseudo-header held, minus the address
 * delta; in IPv6 the addresses themselves make up for it.
 */
__noinline int apply_translation(struct __sk_buff *skb, struct packet *packet,
				 struct flow_key *translation, __u32 mode)
{
	if (!packet || !translation)
		return 0;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *ip = data + ETHERNET_LENGTH;
	struct tcp_header *tcp = data + (packet->transport & OFFSET_MASK);
	struct udp_header *udp = (void *)tcp;
	bool v6 = packet->family == 6, datagram = packet->key.protocol == IPPROTO_UDP;

	__u32 delta = write_addresses(ip, end, packet->family, &packet->key, translation);

	if (packet->kind == PACKET_LATER) {
		if (mode == CHECKSUM_MODE_COMPLETE && v6)
			follow_sum(skb, delta);
		return 0;
	}
	if ((void *)(udp + 1) > end)
		return 0;
	__u32 ports = write_ports(udp, translation);

	if (datagram && !udp->check && mode == CHECKSUM_MODE_COMPLETE)
		follow_sum(skb, v6 ? delta + ports : ports);
	else if (mode == CHECKSUM_MODE_COMPLETE && !v6)
		follow_sum(skb, ~checksum_fold(delta) & 0xffff);
	if (datagram)
		udp->check = checksum_datagram(udp->check, delta, ports, mode);
	else if ((void *)(tcp + 1) <= end)
		tcp->check = checksum_transport(tcp->check, delta, ports, mode);
	return 0;
}

/* Mends the quoted transport checksum where enough of the packet is quoted; gives what changes in a
 * sum over the quote. */
static __always_inline __u32 write_quoted_check(void *transport, void *end,
						const struct packet *packet, __u32 delta)
{
	bool datagram = packet->key.protocol == IPPROTO_UDP;
	__u32 quoted = packet->length - (packet->quote_transport - packet->network);
	__sum16 *check = datagram ? &((struct udp_header *)transport)->check
				  : &((struct tcp_header *)transport)->check;

	if (quoted < (datagram ? UDP_LENGTH : TCP_CHECK_END) || (void *)(check + 1) > end ||
	    (datagram && !*check))
		return 0;
	MARK(QUOTE_CHECKSUM);
	__sum16 old = *check, new = checksum_replace(old, delta);

	*check = new || !datagram ? new : 0xffff;
	return checksum_port_delta(old, *check);
}

/* The quoted packet becomes the one that its sender knows; gives what changes in a sum over it. */
static __always_inline __u32 write_quote(void *data, void *end, const struct packet *packet,
					 struct decision *decision)
{
	void *quote = data + (packet->quote & OFFSET_MASK);
	void *transport = data + (packet->quote_transport & OFFSET_MASK);
	struct ipv4_header *ipv4 = quote;

	if ((void *)(ipv4 + 1) > end || transport + UDP_LENGTH > end)
		return 0;
	nat_turn(&decision->quoted, &packet->key, DIRECTION_FORWARD);
	nat_turn(&decision->other, &decision->record.translation, DIRECTION_FORWARD);
	__sum16 old = ipv4->check;
	__u32 delta =
		write_addresses(quote, end, packet->family, &decision->quoted, &decision->other);

	delta += write_ports(transport, &decision->other);
	delta += write_quoted_check(transport, end, packet, delta);
	if (packet->family == 6)
		return delta;
	return delta + checksum_port_delta(old, ipv4->check);
}

/* The outer addresses, where they are those of the flow: a router on the way keeps its own (RFC
 * 5508 4.2). */
static __always_inline __u32 write_outer(void *ip, void *end, const struct packet *packet,
					 struct decision *decision)
{
	const struct flow_key *translation = &decision->record.translation;
	struct flow_key *now = &decision->quoted, *wanted = &decision->other;
	struct ipv4_header *ipv4 = ip;
	struct ipv6_header *ipv6 = ip;

	if (packet->family == 6) {
		now->source = ipv6->source;
		now->destination = ipv6->destination;
	} else {
		map_address(&now->source, ipv4->source);
		map_address(&now->destination, ipv4->destination);
	}
	*wanted = *now;
	if (same_address(&now->source, &packet->key.source))
		wanted->source = translation->source;
	if (same_address(&now->destination, &packet->key.destination))
		wanted->destination = translation->destination;
	return write_addresses(ip, end, packet->family, now, wanted);
}

/* An ICMP error. Its checksum makes up for all that changes, so the device's sum stays. */
__noinline int apply_related(struct __sk_buff *skb, struct packet *packet,
			     struct decision *decision, __u32 mode)
{
	if (!packet || !decision)
		return 0;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *ip = data + ETHERNET_LENGTH;
	__sum16 *check = data + (packet->transport & OFFSET_MASK) + ICMP_CHECK;

	if (ip + IPV6_LENGTH > end || (void *)(check + 1) > end)
		return 0;
	__u32 inner = write_quote(data, end, packet, decision);
	__u32 outer = write_outer(ip, end, packet, decision);

	*check = checksum_transport(*check, packet->family == 6 ? outer : 0, inner, mode);
	return 0;
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

/* Back to where it came from, past the stack: one hop less. */
__noinline int apply_hop(struct __sk_buff *skb, struct packet *packet, __u32 mode)
{
	if (!packet)
		return 0;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv4_header *ipv4 = data + ETHERNET_LENGTH;
	struct ipv6_header *ipv6 = (void *)ipv4;
	__u8 left = packet->time_to_live - 1;
	__u32 delta = checksum_port_delta((__u8)packet->time_to_live, left);

	if ((void *)(ipv4 + 1) > end)
		return 0;
	turn_ethernet(data);
	if (packet->family == 6) {
		if ((void *)(ipv6 + 1) > end)
			return 0;
		ipv6->hop_limit = left;
		if (mode == CHECKSUM_MODE_COMPLETE)
			follow_sum(skb, checksum_port_delta((__u32)packet->time_to_live << 8,
							    (__u32)left << 8));
		return 0;
	}
	ipv4->time_to_live = left;
	ipv4->check = checksum_replace(ipv4->check, delta);
	return 0;
}
