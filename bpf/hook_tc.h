/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hook_tc.h: the TC programs of pod devices, and the only place that knows TC_ACT_* and skb state.
 * Every path that is not final returns TC_ACT_UNSPEC, so that other programs of the chain still
 * run.
 */
#pragma once

#define TC_UNSPEC  (-1)
#define TC_SHOT	   2
#define LINEAR_MAX (OFFSET_MASK + TCP_LENGTH)

#define ICMP_PORT_UNREACHABLE  0x0303 /* type and code as they lie in memory */
#define ICMP_TIME_EXCEEDED     0x000b
#define ICMP6_PORT_UNREACHABLE 0x0401
#define ICMP6_TIME_EXCEEDED    0x0003

/* What is known about the packet at hand. Per CPU: these programs run with softirqs off. */
struct scratch {
	struct packet packet;
	struct decision decision;
	struct outside outside;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct scratch));
} scratch SEC(".maps");

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

/* Parses, once more where headers had to be brought into the linear part. */
static __always_inline enum reason parse(struct __sk_buff *skb, struct packet *packet,
					 struct outside *outside)
{
	enum reason reason = REASON_HEADERS;

	if (outside->pull_result)
		return REASON_HEADERS;
#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < 2; attempt++) {
		__builtin_memset(packet, 0, sizeof(*packet));
		reason = parse_frame(packet, (void *)(long)skb->data, (void *)(long)skb->data_end,
				     skb->len);
		if (reason != REASON_HEADERS || attempt)
			break;
		outside->pull_result =
			bpf_skb_pull_data(skb, skb->len < LINEAR_MAX ? skb->len : LINEAR_MAX);
		if (outside->pull_result)
			break;
	}
	return reason;
}

static __always_inline enum reason refuse(struct __sk_buff *skb, struct packet *packet,
					  struct outside *outside, enum reason reason)
{
	bool v6 = packet->family == 6;

	if (reason == REASON_BACKEND_REUSED)
		return answer_reset(skb, packet, outside, reason);
	if (reason == REASON_TIME_TO_LIVE) {
		MARK(REFUSE_TIME);
		return answer_icmp(skb, packet, outside,
				   v6 ? ICMP6_TIME_EXCEEDED : ICMP_TIME_EXCEEDED, reason);
	}
	return answer_icmp(skb, packet, outside,
			   v6 ? ICMP6_PORT_UNREACHABLE : ICMP_PORT_UNREACHABLE, reason);
}

/* Whether a pod is sent back what came from itself, past routing. */
static __always_inline bool is_hairpin(const struct packet *packet, struct decision *decision,
				       enum verdict verdict, bool from_pod)
{
	return from_pod &&
	       (verdict == VERDICT_REPLY ||
		!same_address(&decision->record.translation.source, &packet->key.source));
}

/* Writes what was decided; what is left of the verdict. */
static __always_inline enum verdict carry_out(struct __sk_buff *skb, struct packet *packet,
					      struct outside *outside, struct decision *decision,
					      enum verdict verdict, bool hairpin, bool from_pod)
{
	__u32 mode = outside->checksum_mode;

	if (hairpin && packet->time_to_live <= 1) {
		verdict = packet->time_to_live ? VERDICT_REFUSE : VERDICT_DROP;
		decision->reason = REASON_TIME_TO_LIVE;
	}
	if (verdict == VERDICT_FORWARD || verdict == VERDICT_REPLY) {
		if (packet->kind == PACKET_ERROR)
			apply_related(skb, packet, decision, mode);
		else
			apply_translation(skb, packet, &decision->record.translation, mode);
		if (hairpin) {
			decision->reason = REASON_HAIRPIN;
			apply_hop(skb, packet, mode);
		}
	}
	if (verdict != VERDICT_REFUSE || !from_pod)
		return verdict;
	decision->reason = refuse(skb, packet, outside, decision->reason);
	return decision->reason == REASON_CANNOT_ANSWER ? VERDICT_DROP : VERDICT_REFUSE;
}

/* Parses and decides; the last argument says which of the two decisions, a constant for the
 * compiler. */
static __always_inline int run(struct __sk_buff *skb, bool from_pod)
{
	__u32 zero = 0;
	struct scratch *own = bpf_map_lookup_elem(&scratch, &zero);

	if (!own)
		return TC_UNSPEC;
	struct packet *packet = &own->packet;
	struct decision *decision = &own->decision;
	struct outside *outside = &own->outside;

	*outside = (struct outside){};
	read_outside(skb, outside);
	pose(outside);
	enum reason reason = parse(skb, packet, outside);

	if (reason != REASON_NOT_SERVICE) {
		report(VERDICT_PASS, reason, 0, 0);
		count(reason, 0, skb->len);
		return TC_UNSPEC;
	}
	decision->record.service_port = 0;
	decision->record.backend = 0;
	enum verdict verdict = from_pod ? decide_from_pod(packet, outside, decision)
					: decide_to_pod(packet, outside, decision);
	bool hairpin = (verdict == VERDICT_FORWARD || verdict == VERDICT_REPLY) &&
		       is_hairpin(packet, decision, verdict, from_pod);

	verdict = carry_out(skb, packet, outside, decision, verdict, hairpin, from_pod);
	report(verdict, decision->reason, decision->record.service_port, decision->record.backend);
	if (decision->reason == REASON_NOT_SERVICE)
		return TC_UNSPEC;
	count(decision->reason, decision->record.service_port, packet->length);
	if (verdict == VERDICT_DROP)
		return TC_SHOT;
	if (verdict == VERDICT_REFUSE || hairpin)
		return bpf_redirect(skb->ifindex, 0);
	return TC_UNSPEC;
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
