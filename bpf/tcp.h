/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tcp.h: what the flags of a segment mean to its flow; twin of core/datapath/tcp.ts.
 */
#pragma once

enum tcp_kind {
	TCP_OPENS = 0,
	TCP_CONTINUES = 1,
	TCP_RESETS = 2,
	TCP_ODD = 3, /* opens nothing, belongs to no connection */
};

static __always_inline enum tcp_kind tcp_kind(__u32 flags)
{
	if (flags & TCP_SYN) {
		if (flags & (TCP_FIN | TCP_RST))
			return TCP_ODD;
		return flags & TCP_ACK ? TCP_CONTINUES : TCP_OPENS;
	}
	if (flags & TCP_RST)
		return TCP_RESETS;
	return flags & TCP_ACK ? TCP_CONTINUES : TCP_ODD;
}

/* Whether a packet of these flags changes nothing in a flow of this state but its counters. */
static __always_inline bool steady(__u32 state, __u32 flags)
{
	return (state & FLOW_LIFE) == FLOW_ESTABLISHED && !(state & FLOW_RESET) &&
	       !(flags & (TCP_FIN | TCP_RST));
}

/* FIN, RST, and data after a RST that was not meant, kept in both entries: each must know alone
 * when it ends. */
static __always_inline void note_flags(struct flow_key *own, struct flow_key *other, __u32 state,
				       __u32 flags, ticks now)
{
	if (flags & TCP_RST) {
		if (state & FLOW_RESET)
			return;
		MARK(RESET);
		flow_change(own, FLOW_RESET, 0, now);
		flow_change(other, FLOW_RESET, 0, now);
		return;
	}
	if (state & FLOW_RESET) {
		MARK(RESET_WITHDRAWN);
		flow_change(own, 0, FLOW_RESET, now);
		flow_change(other, 0, FLOW_RESET, now);
	}
	if ((flags & TCP_FIN) && !(state & FLOW_FIN)) {
		MARK(FIN);
		flow_change(own, FLOW_FIN, 0, now);
		flow_change(other, FLOW_PEER_FIN, 0, now);
	}
}
