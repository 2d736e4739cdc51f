/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test.h: what only test mode does: marks of the branches taken, the log of writes, posed answers
 * from outside. Everything here is static, inlined and behind config.test_mode, so the verifier
 * removes it in production.
 */
#pragma once

/* WITHOUT_TEST_CODE: an object that never had any, to hold the production programs against. */
#ifdef WITHOUT_TEST_CODE
#define TEST_MODE 0
#else
#define TEST_MODE config.test_mode
#endif

static __always_inline struct test_control *test_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&test_control, &zero);
}

/* Calls of their own, or the verifier walks what follows once for each way through them; never made
 * in production. */
static __noinline void keep_mark(__u32 id)
{
	struct test_control *control = test_state();

	if (!control || id >= MARK_MAX)
		return;
	control->marks[id]++;
	__u32 at = control->trace_length;

	if (at >= TRACE_MAX)
		return;
	control->trace[at] = id;
	control->trace_length = at + 1;
}

static __always_inline void mark(enum mark id)
{
	if (TEST_MODE)
		keep_mark(id);
}

#define MARK(name) mark(MARK_##name)

static __noinline void keep_write(__u32 operation, __u32 bucket, __u32 slot, __u32 value)
{
	struct test_control *control = test_state();

	if (!control)
		return;
	__u32 at = control->writes_length;

	if (at >= WRITES_MAX)
		return;
	control->writes[at] = (struct write){ operation, bucket, slot, value };
	control->writes_length = at + 1;
}

static __always_inline void log_write(enum write_operation operation, __u32 bucket, __u32 slot,
				      __u32 value)
{
	if (TEST_MODE)
		keep_write(operation, bucket, slot, value);
}

/* Replaces what was read from outside by what the test poses, and begins a new log. */
static __always_inline void pose(struct outside *outside)
{
	if (!TEST_MODE)
		return;
	struct test_control *control = test_state();

	if (!control)
		return;
	*outside = control->outside;
	control->trace_length = 0;
	control->writes_length = 0;
}

/* The clock, read when the first decision needs it: most packets are nobody's and never do. */
static __always_inline ticks read_clock(struct outside *outside)
{
	if (!TEST_MODE)
		outside->now = bpf_ktime_get_coarse_ns() >> 20;
	return outside->now;
}

static __always_inline void report(enum verdict verdict, enum reason reason,
				   service_port_id service_port, backend_id backend)
{
	if (!TEST_MODE)
		return;
	struct test_control *control = test_state();

	if (!control)
		return;
	control->verdict = verdict;
	control->reason = reason;
	control->service_port = service_port;
	control->backend = backend;
}
