/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * classify.h: "certainly not ours" in one or two array reads; twin of core/datapath/classify.ts. A
 * Bloom filter with two bits in one 64-bit word for every frontend, owned address and backend;
 * false hits cost a lookup, nothing else.
 */
#pragma once

/* ports: port | protocol << 16, both as people write them; 0 for the whole address. */
static __always_inline __u32 classifier_hash(const struct address *address, __u32 ports)
{
	__u32 hash = ports * 0x9e3779b1u;

	hash = (hash ^ bpf_ntohl(address->words[3])) * 0x85ebca77u;
	hash = (hash ^ (hash >> 15) ^ bpf_ntohl(address->words[2])) * 0xc2b2ae3du;
	hash = (hash ^ (hash >> 13) ^ bpf_ntohl(address->words[1])) * 0x27d4eb2fu;
	hash = (hash ^ (hash >> 16) ^ bpf_ntohl(address->words[0])) * 0x165667b1u;
	return hash ^ (hash >> 15);
}

static __always_inline bool maybe_known(const struct address *address, __u32 ports)
{
	__u32 hash = classifier_hash(address, ports);
	__u32 index = hash & config.classifier_mask;
	__u64 *word = bpf_map_lookup_elem(&classifier, &index);

	return word && (*word >> (hash >> 20 & 63) & 1) && (*word >> (hash >> 26) & 1);
}

/* Whether these may be a frontend, or the address a Service's. */
static __always_inline bool maybe_frontend(const struct address *address, port_number port,
					   __u32 protocol)
{
	return maybe_known(address, bpf_ntohs(port) | protocol << 16) || maybe_known(address, 0);
}

/* Whether an address is in a range of Service addresses, given to a Service or not. */
static __always_inline bool in_service_range(const struct address *address)
{
	__u32 first = is_mapped(address) ? 0 : SERVICE_RANGES;

	for (__u32 i = 0; i < SERVICE_RANGES; i++) {
		const volatile struct service_range *range = &config.service_ranges[first + i];
		__u32 left = 0;

		if (!range->mask.words[0])
			return false;
		for (int word = 0; word < 4; word++)
			left |= (address->words[word] & range->mask.words[word]) ^
				range->base.words[word];
		if (!left)
			return true;
	}
	return false;
}

/* Whether a packet to this address and port may be for a Service. */
static __always_inline bool maybe_service(const struct packet *packet)
{
	const struct flow_key *key = &packet->key;

	return maybe_frontend(&key->destination, key->destination_port, key->protocol) ||
	       in_service_range(&key->destination);
}

/* Whether a packet from this address and port may be a backend's answer. */
static __always_inline bool maybe_backend(const struct packet *packet)
{
	const struct flow_key *key = &packet->key;

	return maybe_known(&key->source, bpf_ntohs(key->source_port) | key->protocol << 16);
}
