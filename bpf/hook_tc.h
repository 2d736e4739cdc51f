/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hook_tc.h: the TC programs of pod devices, and the only place that knows TC_ACT_* and skb state.
 * Every path that is not final returns TC_ACT_UNSPEC, so that other programs of the chain still
 * run.
 */
#pragma once

#define TC_UNSPEC   (-1)
#define TC_SHOT	    2
#define HEADERS_MAX TRANSPORT_MAX + TCP_LENGTH

struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

static __always_inline void read_outside(struct __sk_buff *skb, struct outside *outside)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);

	outside->checksum_mode = BPF_CORE_READ_BITFIELD(kernel, ip_summed);
	outside->gso_size = skb->gso_size;
}

/* Brings the headers into the linear part where they are not; a packet too short for them is judged
 * by parse. */
static __always_inline bool linear(struct __sk_buff *skb, struct outside *outside)
{
	__u32 wanted = skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX;

	if ((void *)(long)skb->data + wanted <= (void *)(long)skb->data_end)
		return true;
	outside->pull_result = bpf_skb_pull_data(skb, wanted);
	return !outside->pull_result;
}

static __always_inline int finish(struct __sk_buff *skb, struct packet *packet,
				  struct outside *outside, struct decision *decision,
				  enum verdict verdict)
{
	enum reason reason = decision->reason;

	if (verdict == VERDICT_FORWARD || verdict == VERDICT_REPLY)
		apply_translation(skb, packet, &decision->record.translation, verdict,
				  outside->checksum_mode);
	if (verdict == VERDICT_REFUSE) {
		reason = answer_unreachable(skb, packet, outside, reason);
		if (reason == REASON_CANNOT_ANSWER)
			verdict = VERDICT_DROP;
	}
	report(verdict, reason, decision->record.service_port, decision->record.backend);
	if (reason == REASON_NOT_SERVICE)
		return TC_UNSPEC;
	count(reason, decision->record.service_port, packet->length);
	if (verdict == VERDICT_DROP)
		return TC_SHOT;
	if (verdict == VERDICT_REFUSE)
		return bpf_redirect(skb->ifindex, 0);
	return TC_UNSPEC;
}

/* Parses and decides; the last argument says which of the two decisions, a constant for the
 * compiler. */
static __always_inline int run(struct __sk_buff *skb, bool from_pod)
{
	struct packet packet = {};
	struct outside outside = {};
	struct decision decision = {};

	read_outside(skb, &outside);
	pose(&outside);
	if (!linear(skb, &outside) || outside.pull_result) {
		report(VERDICT_PASS, REASON_HEADERS, 0, 0);
		return TC_UNSPEC;
	}
	enum reason reason = parse_frame(&packet, (void *)(long)skb->data,
					 (void *)(long)skb->data_end, skb->len);

	if (reason != REASON_NOT_SERVICE) {
		report(VERDICT_PASS, reason, 0, 0);
		return TC_UNSPEC;
	}
	enum verdict verdict = from_pod ? decide_from_pod(&packet, &outside, &decision)
					: decide_to_pod(&packet, &outside, &decision);

	return finish(skb, &packet, &outside, &decision, verdict);
}

SEC("tc")
int tc_from_pod(struct __sk_buff *skb)
{
	return run(skb, true);
}

SEC("tc")
int tc_to_pod(struct __sk_buff *skb)
{
	return run(skb, false);
}
