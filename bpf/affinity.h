/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * affinity.h: a client returns to the backend it had, for as long as it keeps coming; twin of
 * core/datapath/affinity.ts. Called for new connections only, by packets and sockets alike, so that
 * both mean the same record. A lost record, or one that can't be written, means the pure choice.
 */
#pragma once

/* How long a Service port keeps a client, in ticks. */
static __always_inline __u64 affinity_lifetime(const struct service *service)
{
	return (__u64)service->affinity_seconds * 1953125 >> 11; /* 10^9 / 2^20 */
}

/* The backend that a client had, 0: none that may get a new connection of this view. */
static __always_inline backend_id affinity_find(const struct service *service, enum view_index view,
						const struct address *client, ticks now)
{
	struct affinity_key key = { .client = *client, .service_port = service->service_port };
	__u64 *record = bpf_map_lookup_elem(&affinity, &key);

	if (!record) {
		MARK(AFFINITY_MISS);
		return 0;
	}
	__u64 word = *(volatile __u64 *)record;

	if ((ticks)(now - (ticks)(word >> AFFINITY_SEEN_SHIFT)) >= affinity_lifetime(service)) {
		MARK(AFFINITY_OLD);
		return 0;
	}
	backend_id id = (__u32)word >> AFFINITY_BACKEND_SHIFT;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	if (!backend || backend->service_port != service->service_port ||
	    is_mapped(&backend->address) != is_mapped(client) ||
	    !backend_serves(backend->live, view) ||
	    ((backend->live >> BACKEND_GENERATION_SHIFT ^ (__u32)word) & AFFINITY_GENERATION)) {
		MARK(AFFINITY_GONE);
		return 0;
	}
	MARK(AFFINITY_HIT);
	return id;
}

/* Begins the client's time anew: each new connection does. live: the backend's, as it was chosen.
 * Reads the clock of outside, which has been read. */
static __always_inline void affinity_keep(const struct service *service,
					  const struct address *client, backend_id id, __u32 live,
					  const struct outside *outside)
{
	struct affinity_key key = { .client = *client, .service_port = service->service_port };
	__u32 low = id << AFFINITY_BACKEND_SHIFT |
		    (live >> BACKEND_GENERATION_SHIFT & AFFINITY_GENERATION);
	__u64 word = (__u64)outside->now << AFFINITY_SEEN_SHIFT | low;
	int result = outside->affinity_result;

	if (!result)
		result = bpf_map_update_elem(&affinity, &key, &word, BPF_ANY);
	if (result) {
		MARK(AFFINITY_FAILED);
		return;
	}
	log_write(WRITE_AFFINITY, service->service_port, outside->now, low);
}
