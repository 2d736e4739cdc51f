/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lookup.h: an address and port to its Service row; twin of core/datapath/lookup.ts. frontends
 * holds one word, the number of a row that carries its own key: an element recycled under the
 * reader shows as a mismatch.
 */
#pragma once

static __always_inline bool same_frontend(const struct frontend_key *left,
					  const struct frontend_key *right)
{
	const __u32 *a = (const __u32 *)left, *b = (const __u32 *)right;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]));
}

/* The row of exactly this key, or none; looks twice where a row was recycled meanwhile. */
static __always_inline struct service *lookup_row(const struct frontend_key *key)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		__u32 *row = bpf_map_lookup_elem(&frontends, key);

		if (!row)
			return NULL;
		__u32 index = *row;
		struct service *service = bpf_map_lookup_elem(&services, &index);

		if (service && same_frontend(&service->key, key))
			return service;
		MARK(ROW_MISMATCH);
	}
	return NULL;
}

/*
 * The frontend of address, port and protocol, else the row of the whole address, else none; *key
 * is left changed then. Before the whole address answers, the frontend is looked for once more: a
 * hash can miss an element that is replaced while its chain is walked, and it may have come since.
 */
static __always_inline struct service *lookup_frontend(struct frontend_key *key)
{
	__u16 port = key->port;
	__u8 protocol = key->protocol;
	struct service *service = lookup_row(key), *whole;

	if (service) {
		MARK(FRONTEND);
		return service;
	}
	key->port = 0;
	key->protocol = 0;
	whole = lookup_row(key);
	if (!whole) {
		MARK(NO_FRONTEND);
		return NULL;
	}
	key->port = port;
	key->protocol = protocol;
	service = lookup_row(key);
	if (service) {
		MARK(FRONTEND);
		return service;
	}
	MARK(WHOLE_ADDRESS);
	return whole;
}
