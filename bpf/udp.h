/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * udp.h: what a datagram means to its flow; twin of core/datapath/udp.ts. A flow is established by
 * the client's datagram after an answer; without an answer, once it has lasted, as one that may be
 * recycled.
 */
#pragma once

#define ONE_WAY_TICKS	28610 /* 30 s */
#define ONE_WAY_SECONDS 3     /* of which so many must have had a datagram */
#define SECOND_SHIFT	10    /* ticks to seconds, nearly */
#define KEEP_SHIFT	12    /* ticks to spans of 4.3 s */

/* An answer: the client's next datagram will complete the flow. */
static __always_inline void note_answer(struct flow_key *own, __u32 state, ticks now)
{
	if ((state & FLOW_LIFE) != FLOW_PENDING || (state & FLOW_ANSWERED))
		return;
	MARK(ANSWERED);
	flow_change(own, FLOW_ANSWERED, 0, now);
}

/* Whether a flow without an answer has lasted; *record is that of the client's entry. */
static __always_inline bool lasts_one_way(const struct flow_record *record, ticks now)
{
	if (!flow_noted(record)) {
		flow_note(record, now, 1);
		return false;
	}
	ticks began = record->note;
	__u32 seconds = flow_word_state(record->note);

	if (now >> SECOND_SHIFT != record->seen >> SECOND_SHIFT && seconds < 255) {
		MARK(ONE_WAY_SECOND);
		flow_note(record, began, ++seconds);
	}
	return seconds >= ONE_WAY_SECONDS && now - began >= ONE_WAY_TICKS;
}

/* Whether the flow's other entry is due a refresh: its own direction may have nothing to send, and
 * one that a newcomer may recycle may be gone. */
static __always_inline bool keeps_other(const struct flow_record *record, ticks now)
{
	if (record->state & FLOW_EXCESS)
		return true;
	return (record->state & FLOW_DATAGRAM) && now >> KEEP_SHIFT != record->seen >> KEEP_SHIFT;
}
