/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * netns.h: whose a socket is and what its address will be; twin of core/datapath/netns.ts. Asked of
 * the socket's own network namespace, never of the current task's: sockets outlive the processes
 * that opened them and travel between them.
 */
#pragma once

/* The row of a network namespace, or none; looks twice where a row was recycled meanwhile. */
static __always_inline struct netns_row *lookup_netns(__u64 cookie)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		__u32 *number = bpf_map_lookup_elem(&netns, &cookie);

		if (!number)
			return NULL;
		__u32 index = *number;
		struct netns_row *row = bpf_map_lookup_elem(&netns_rows, &index);

		if (row && row->cookie == cookie)
			return row;
		MARK(SOCKET_NETNS_MISMATCH);
	}
	return NULL;
}

/* Whether sockets of a network namespace are ours to translate. */
static __always_inline bool netns_in_scope(const struct netns_row *row, __u64 cookie)
{
	__u64 own = config.netns_cookie[0] | (__u64)config.netns_cookie[1] << 32;

	if (config.socket_scope == SCOPE_OFF)
		return false;
	if (own && cookie == own)
		return true;
	if (!row)
		return !config.netns_known && config.socket_scope == SCOPE_EVERYTHING;
	if (row->flags & NETNS_SOCKETS_OFF)
		return false;
	return row->flags & NETNS_SOCKETS_ON || config.socket_scope == SCOPE_EVERYTHING;
}

static __always_inline bool is_set(const struct address *address)
{
	return address->words[0] | address->words[1] | address->words[2] | address->words[3];
}

/* The address that a socket's packets to this destination will have: the one it is bound to, else
 * its namespace's of the destination's family. */
static __always_inline bool socket_client(const struct address *source,
					  const struct address *destination,
					  const struct netns_row *row, struct address *client)
{
	if (is_set(source)) {
		MARK(SOCKET_BOUND);
		*client = *source;
		return true;
	}
	if (row) {
		*client = is_mapped(destination) ? row->ipv4 : row->ipv6;
		if (is_set(client)) {
			MARK(SOCKET_NETNS);
			return true;
		}
	}
	MARK(SOCKET_UNKNOWN);
	return false;
}
