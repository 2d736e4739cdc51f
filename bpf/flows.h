/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows.h: the flow table, set-associative in an array; twin of core/datapath/flows.ts. Lookup
 * takes no lock; every change of an entry's life is a compare-and-exchange of its word, so a
 * recycler loses against the packet that refreshed the flow meanwhile. Insertion claims a slot,
 * fills it, and only then, under the lock of the key's first bucket, looks whether another CPU was
 * faster and publishes: equal keys meet there.
 */
#pragma once

#define barrier() asm volatile("" ::: "memory")
#define HIDE(x)                                                                                    \
	asm volatile(                                                                              \
		""                                                                                 \
		: "+r"(x)) /* or clang makes branches of it and the verifier walks 3^16 paths */
#define READ_ONCE(x)	       (*(const volatile __typeof__(x) *)&(x))
#define EXCHANGE(at, old, new) __sync_val_compare_and_swap(at, old, new)

#define FLOW_NOTE_NONE (~0ull)
#define FLOW_KEEP_NONE (~0u) /* as keep_bucket */
#define FLOW_NO_OLDEST 0xffffffffull
#define FLOW_ALL       0xff /* cleared, a flow is free */
#define FLOW_PROMOTE   1    /* pending | 1 = established */

enum flow_how {
	FLOW_IF_ABSENT = 0,
	FLOW_REPLACE = 1, /* a live entry of this key is written over */
};

enum flow_result {
	FLOW_INSERTED = 0, /* *record says where */
	FLOW_EXISTS = 1,   /* *record says now what the entry holds */
	FLOW_REFUSED = 2,
};

struct flow_hash {
	__u32 first;
	__u32 second;
};

/* What an entry holds, and where it stands. */
struct flow_record {
	struct flow_key translation;
	service_port_id service_port;
	backend_id backend;
	__u32 generation;
	__u32 state;
	__u64 note;
	__u32 version;
	ticks seen; /* before this packet */
	__u32 bucket;
	__u32 slot;
	__u32 first; /* of the key looked for last: both buckets and the fingerprint */
	__u32 second;
	__u32 fingerprint;
	__u32 keep_bucket; /* an entry that placing this one must not recycle: the connection's
			      other half */
	__u32 keep_slot;
};

/* NH with a secret key and a keyed finish: 64 bits of a 40-byte key. */
static __always_inline struct flow_hash flow_hash(const struct flow_key *key)
{
	const __u32 *words = (const __u32 *)key;
	__u64 sum = (__u64)config.flow_secret[10] << 32 | config.flow_secret[11];

#pragma unroll
	for (int i = 0; i < 10; i += 2)
		sum += (__u64)(__u32)(words[i] + config.flow_secret[i]) *
		       (__u32)(words[i + 1] + config.flow_secret[i + 1]);
	__u32 x = sum, y = sum >> 32;

	x ^= y * 0x9e3779b1u;
	x ^= x >> 15;
	x *= 0x2c1b3c6du;
	x ^= x >> 13;
	y += x * 0x85ebca77u;
	y ^= y >> 16;
	y *= 0x297a2d39u;
	y ^= y >> 15;
	x += y * 0xc2b2ae3du;
	x ^= x >> 14;
	return (struct flow_hash){ x, y };
}

static __always_inline __u32 flow_fingerprint(struct flow_hash hash)
{
	__u32 fingerprint = hash.second >> 16;

	return fingerprint ? fingerprint : 1;
}

static __always_inline __u32 flow_word_state(__u64 word)
{
	return (__u32)(word >> FLOW_STATE_SHIFT) & 0xff;
}

static __always_inline __u32 flow_word_version(__u64 word)
{
	return (__u32)(word >> FLOW_VERSION_SHIFT);
}

static __always_inline __u64 flow_make_word(__u32 version, __u32 state, ticks seen)
{
	return (__u64)version << FLOW_VERSION_SHIFT | (__u64)state << FLOW_STATE_SHIFT | seen;
}

/* Reset, or FIN from both sides. */
static __always_inline bool flow_closing(__u32 state)
{
	return (state & FLOW_RESET) ||
	       (state & (FLOW_FIN | FLOW_PEER_FIN)) == (FLOW_FIN | FLOW_PEER_FIN);
}

/*
 * How long a flow in this state lives, an even number of ticks, 0 for none; bit 0: a newcomer may
 * take its place. A table, because each branch here would be walked by the verifier once for every
 * slot that is looked at.
 */
static __always_inline __u32 flow_lifetime(__u32 state)
{
	return config.flow_lifetimes[state & (FLOW_STATES - 1)];
}

static __always_inline bool flow_live(__u64 word, ticks now)
{
	return (__s32)((ticks)word + (flow_lifetime(flow_word_state(word)) & ~1u) - now) > 0 &&
	       flow_lifetime(flow_word_state(word));
}

/* The due hint of a word. */
static __always_inline __u32 flow_hint(__u64 word)
{
	__u32 lifetime = flow_lifetime(flow_word_state(word));

	return (((ticks)word + lifetime) & ~1u) | (lifetime & 1);
}

/* The slots whose fingerprint is this one, as bits: four 16-bit lanes at a time. */
static __always_inline __u32 flow_matches(struct flow_bucket *bucket, __u32 fingerprint)
{
	const __u64 *lanes = (const __u64 *)bucket->fingerprints;
	__u64 pattern = fingerprint * 0x0001000100010001ull;
	__u32 mask = 0;

#pragma unroll
	for (int i = 0; i < FLOW_SLOTS / 4; i++) {
		__u64 x = lanes[i] ^ pattern;

		/* To the bit: a lane that is off by one must not use up the candidates. */
		x = ~(((x & 0x7fff7fff7fff7fffull) + 0x7fff7fff7fff7fffull) | x) &
		    0x8000800080008000ull;
		mask |= (__u32)((x >> 15) * 0x0001000200040008ull >> 48 & 15) << 4 * i;
	}
	return mask;
}

/* The number of the lowest bit of a 16-bit mask that is not 0. */
static __always_inline __u32 flow_lowest(__u32 mask)
{
	return (0xcd7ea84fb6935210ull >> ((((mask & -mask) * 0x09af) >> 12 & 15) * 4)) &
	       (FLOW_SLOTS - 1);
}

static __always_inline __u32 flow_count(__u32 mask)
{
	mask -= mask >> 1 & 0x5555;
	mask = (mask & 0x3333) + (mask >> 2 & 0x3333);
	mask = (mask + (mask >> 4)) & 0x0f0f;
	return (mask + (mask >> 8)) & 31;
}

static __always_inline bool same_flow(const struct flow_key *left, const struct flow_key *right)
{
	const __u64 *a = (const __u64 *)left, *b = (const __u64 *)right;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]));
}

/* The slot of the key's entry, live or not, and its word as read before the key; -1: none. */
static __always_inline int flow_find(struct flow_bucket *bucket, __u32 fingerprint,
				     const struct flow_key *key, __u64 *word)
{
	__u32 mask = flow_matches(bucket, fingerprint);

	for (int n = 0; n < FLOW_CANDIDATES && mask; n++) {
		__u32 slot = flow_lowest(mask);
		struct flow *flow = &bucket->flows[slot];

		*word = READ_ONCE(flow->word);
		barrier();
		if ((flow_word_state(*word) & FLOW_LIFE) >= FLOW_PENDING &&
		    same_flow(&flow->key, key))
			return slot;
		mask &= mask - 1;
	}
	return -1;
}

static __always_inline void flow_copy(struct flow_record *record, struct flow *flow, __u64 word)
{
	const volatile __u64 *from = (const volatile __u64 *)&flow->translation;
	__u64 *to = (__u64 *)&record->translation;

#pragma unroll
	for (int i = 0; i < (int)sizeof(struct flow_key) / 8; i++)
		to[i] = from[i];
	record->service_port = READ_ONCE(flow->service_port);
	record->backend = READ_ONCE(flow->backend);
	record->generation = READ_ONCE(flow->generation);
	record->note = READ_ONCE(flow->note);
	record->state = flow_word_state(word);
	record->version = flow_word_version(word);
	record->seen = word;
}

/*
 * Reads the entry if it lives; with a length it is also counted and, once a tick, refreshed, which
 * at the same time proves that nobody recycled it meanwhile.
 */
static __always_inline bool flow_take(struct flow_bucket *bucket, __u32 slot, __u64 word, ticks now,
				      __u32 length, struct flow_record *record)
{
	struct flow *flow = &bucket->flows[slot & (FLOW_SLOTS - 1)];

	if (!flow_live(word, now)) {
		MARK(FLOW_EXPIRED);
		return false;
	}
	flow_copy(record, flow, word);
	barrier();
	__u64 again = READ_ONCE(flow->word);

	if (flow_word_version(again) != flow_word_version(word))
		return false;
	record->state = flow_word_state(again);
	if (!length)
		return true;
	if ((ticks)again != now) {
		__u64 seen = (again & ~0xffffffffull) | now;

		if (EXCHANGE(&flow->word, again, seen) != again &&
		    flow_word_version(READ_ONCE(flow->word)) != flow_word_version(word))
			return false;
		MARK(FLOW_SEEN);
		log_write(WRITE_SEEN, record->bucket, slot, record->state);
	}
	flow->packets++;
	flow->bytes += length;
	return true;
}

/* The bucket that holds the key's entry, live or not, and none where it has none; *record says
 * which and where, *word as it was read before the key. */
static __always_inline struct flow_bucket *flow_seek(const struct flow_key *key,
						     struct flow_record *record, __u64 *word)
{
	struct flow_hash hash = flow_hash(key);
	__u32 fingerprint = flow_fingerprint(hash);

	record->first = hash.first & config.flow_bucket_mask;
	record->second = hash.second & config.flow_bucket_mask;
	record->fingerprint = fingerprint;
	record->bucket = record->first;
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &record->bucket);

	if (!bucket)
		return NULL;
	int slot = flow_find(bucket, fingerprint, key, word);

	if (slot >= 0) {
		MARK(FLOW_HIT_FIRST);
		record->slot = slot;
		return bucket;
	}
	if (!bucket->spill)
		return NULL;
	record->bucket = record->second;
	bucket = bpf_map_lookup_elem(&flows, &record->bucket);
	if (!bucket)
		return NULL;
	slot = flow_find(bucket, fingerprint, key, word);
	if (slot < 0)
		return NULL;
	MARK(FLOW_HIT_SECOND);
	record->slot = slot;
	return bucket;
}

/* Finds the live entry of a key; length: bytes of the packet that asks, 0 to look without leaving a
 * trace. */
__noinline bool flow_lookup(struct flow_key *key, struct flow_record *record, __u32 length,
			    ticks now)
{
	if (!key || !record)
		return false;
	__u64 word;
	struct flow_bucket *bucket = flow_seek(key, record, &word);

	if (!bucket) {
		MARK(FLOW_MISS);
		return false;
	}
	return flow_take(bucket, record->slot, word, now, length, record);
}

/* The slot of a bucket that placing this record must not recycle, FLOW_SLOTS: none. */
static __always_inline __u32 flow_kept(const struct flow_record *record, __u32 index)
{
	return record->keep_bucket == index ? record->keep_slot : FLOW_SLOTS;
}

/*
 * Low 16 bits: the free or, by their hints, expired slots. From bit 16: the recyclable slot that is
 * due first, as ticks left << 4 | slot; FLOW_NO_OLDEST where there is none. keep: a slot that is
 * not to be recycled, FLOW_SLOTS for none. Without branches, or the verifier walks 3^16 paths.
 */
__noinline __u64 flow_scan(__u32 index, ticks now, __u32 keep)
{
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &index);
	__u64 best = FLOW_NO_OLDEST, mask = 0;

	if (!bucket)
		return best << 16;
#pragma clang loop unroll(disable)
	for (int i = 0; i < FLOW_SLOTS; i++) {
		__u64 due = bucket->due[i], fingerprint = bucket->fingerprints[i];
		__u64 left = (__u32)(due - now);
		__u64 gone = (left - 1) >> 63 | (left >> 31 & 1) | (fingerprint - 1) >> 63;

		HIDE(gone);
		mask |= gone << i;
		__u64 candidate = (left << 4 | i) & FLOW_NO_OLDEST;

		__u64 kept = (__u64)((i ^ keep) - 1ull) >> 63;

		HIDE(kept);
		candidate = (candidate | (0 - (gone | kept | (~due & 1)))) & FLOW_NO_OLDEST;
		HIDE(candidate);
		best = candidate ^ ((candidate ^ best) & (0 - ((best - candidate) >> 63)));
		HIDE(best);
	}
	return best << 16 | mask;
}

/* Makes the entry with this word ours to write; false where anything happened to it meanwhile. */
static __always_inline bool flow_seize(struct flow_bucket *bucket, __u32 slot, __u64 word)
{
	__u64 busy = flow_make_word(flow_word_version(word) + 1, FLOW_BUSY, 0);

	return EXCHANGE(&bucket->flows[slot & (FLOW_SLOTS - 1)].word, word, busy) == word;
}

/* Claims one of the slots of mask, -1: none; a hint that had fallen behind is repaired and its slot
 * left alone. */
__noinline int flow_claim(__u32 index, __u32 mask, ticks now)
{
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &index);

	if (!bucket)
		return -1;
	for (int n = 0; n < FLOW_SLOTS && mask; n++, mask &= mask - 1) {
		__u32 slot = flow_lowest(mask);
		__u64 word = READ_ONCE(bucket->flows[slot].word);

		if (flow_word_state(word) == FLOW_BUSY)
			continue;
		if (flow_live(word, now)) {
			MARK(HINT_REPAIRED);
			bucket->due[slot] = flow_hint(word);
			log_write(WRITE_REPAIR, index, slot, bucket->due[slot]);
			continue;
		}
		if (flow_seize(bucket, slot, word))
			return slot;
	}
	return -1;
}

/* Claims the slot of a flow that a newcomer may replace, -1: it may no longer. */
static __always_inline int flow_recycle(struct flow_bucket *bucket, __u64 oldest)
{
	__u32 slot = oldest & (FLOW_SLOTS - 1);
	__u64 word = READ_ONCE(bucket->flows[slot].word);

	return (flow_lifetime(flow_word_state(word)) & 1) && flow_seize(bucket, slot, word)
		       ? (int)slot
		       : -1;
}

/*
 * Claims a slot for a key that has none: free or expired, in the first bucket as long as that is
 * not crowded, then in the emptier one; else the one that may be recycled and is due first. record
 * says where. false: all are live.
 */
__noinline bool flow_place(struct flow_record *record, ticks now)
{
	if (!record)
		return false;
	__u32 index1 = record->first, index2 = record->second;
	struct flow_bucket *first = bpf_map_lookup_elem(&flows, &index1);
	struct flow_bucket *second = bpf_map_lookup_elem(&flows, &index2);

	if (!first || !second)
		return false;
	__u64 scan1 = flow_scan(index1, now, flow_kept(record, index1));
	__u64 scan2 = flow_scan(index2, now, flow_kept(record, index2));
	__u64 oldest1 = scan1 >> 16, oldest2 = scan2 >> 16;
	__u32 mask1 = scan1 & 0xffff, mask2 = scan2 & 0xffff;
	__u32 free1 = flow_count(mask1), free2 = flow_count(mask2);
	bool other = free1 <= FLOW_SLOTS - FLOW_CROWDED && free2 > free1;
	int slot = -1;

	for (int attempt = 0; attempt < 2 && slot < 0; attempt++, other = !other) {
		record->bucket = other ? index2 : index1;
		slot = flow_claim(record->bucket, other ? mask2 : mask1, now);
	}
	if (slot >= 0) {
		record->slot = slot;
		if (record->bucket == index1)
			MARK(INSERT_FIRST);
		else
			MARK(INSERT_SECOND);
		return true;
	}
	if (oldest1 != FLOW_NO_OLDEST || oldest2 != FLOW_NO_OLDEST) {
		other = oldest2 < oldest1;
		record->bucket = other ? index2 : index1;
		slot = flow_recycle(other ? second : first, other ? oldest2 : oldest1);
	}
	if (slot < 0) {
		MARK(INSERT_FULL);
		return false;
	}
	MARK(INSERT_RECYCLE);
	record->slot = slot;
	return true;
}

/* Writes all of a claimed entry but its word. */
static __always_inline void flow_fill(struct flow *flow, const struct flow_key *key,
				      const struct flow_record *record)
{
	flow->key = *key;
	flow->packets = 0;
	flow->bytes = 0;
	flow->translation = record->translation;
	flow->service_port = record->service_port;
	flow->backend = record->backend;
	flow->generation = record->generation;
	flow->note = FLOW_NOTE_NONE;
}

/*
 * Publishes the claimed entry unless another CPU was faster: then the claim is given back. The lock
 * is that of the key's first bucket, whichever bucket the entry is in.
 */
__noinline int flow_publish(struct flow_key *key, struct flow_record *record, ticks now)
{
	if (!key || !record)
		return FLOW_REFUSED;
	__u32 fingerprint = record->fingerprint, index1 = record->first, index2 = record->second;
	__u32 index = record->bucket, slot = record->slot & (FLOW_SLOTS - 1),
	      lock_index = index1 & (FLOW_LOCKS - 1);
	struct flow_bucket *first = bpf_map_lookup_elem(&flows, &index1);
	struct flow_bucket *second = bpf_map_lookup_elem(&flows, &index2);
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &index);
	struct flow_lock *lock = bpf_map_lookup_elem(&flow_locks, &lock_index);

	if (!first || !second || !bucket || !lock)
		return FLOW_REFUSED;
	struct flow *flow = &bucket->flows[slot];
	__u64 word = flow_make_word(flow_word_version(flow->word), record->state, now), found;

	flow_fill(flow, key, record);
	bpf_spin_lock(&lock->lock);
	if (index != index1)
		first->spill = 1;
	int twin = flow_find(first, fingerprint, key, &found);

	if (twin < 0 && first->spill)
		twin = flow_find(second, fingerprint, key, &found);
	if (twin < 0) {
		bucket->fingerprints[slot] = fingerprint;
		bucket->due[slot] = flow_hint(word);
		__sync_lock_test_and_set(&flow->word, word);
	} else {
		__sync_lock_test_and_set(
			&flow->word, flow_make_word(flow_word_version(flow->word), FLOW_FREE, 0));
	}
	bpf_spin_unlock(&lock->lock);
	if (twin >= 0)
		return FLOW_EXISTS;
	log_write(WRITE_INSERT, index, slot, record->state);
	return FLOW_INSERTED;
}

/*
 * The key's own entry, live or not; *record says where. FLOW_EXISTS: it lives and stays, *record
 * says what it holds; FLOW_INSERTED: it was expired, or is to be replaced, and is claimed in place,
 * or a reader with an older clock could revive it beside the new one; FLOW_REFUSED: there is none.
 */
__noinline int flow_own(struct flow_key *key, struct flow_record *record, ticks now, __u32 how)
{
	if (!key || !record)
		return FLOW_REFUSED;
	__u64 word;
	struct flow_bucket *bucket = flow_seek(key, record, &word);

	if (!bucket)
		return FLOW_REFUSED;
	__u32 slot = record->slot & (FLOW_SLOTS - 1);

	if ((how == FLOW_IF_ABSENT && flow_live(word, now)) || !flow_seize(bucket, slot, word)) {
		MARK(INSERT_EXISTS);
		flow_copy(record, &bucket->flows[slot], word);
		return FLOW_EXISTS;
	}
	MARK(INSERT_TAKE_OVER);
	return FLOW_INSERTED;
}

/* Inserts *record, with its state, under key. */
__noinline int flow_insert(struct flow_key *key, struct flow_record *record, ticks now, __u32 how)
{
	if (!key || !record)
		return FLOW_REFUSED;
	int own = flow_own(key, record, now, how);

	if (own == FLOW_EXISTS)
		return FLOW_EXISTS;
	if (own == FLOW_REFUSED && !flow_place(record, now))
		return FLOW_REFUSED;
	if (flow_publish(key, record, now) == FLOW_INSERTED)
		return FLOW_INSERTED;
	return flow_lookup(key, record, 0, now) ? FLOW_EXISTS : FLOW_REFUSED;
}

/* Sets and clears bits of the state of the key's live entry; nothing where it is gone. */
__noinline bool flow_change(struct flow_key *key, __u32 set, __u32 clear, ticks now)
{
	if (!key)
		return false;
	struct flow_record place;
	__u64 word;
	struct flow_bucket *bucket = flow_seek(key, &place, &word);

	if (!bucket)
		return false;
	__u32 slot = place.slot & (FLOW_SLOTS - 1);
	struct flow *flow = &bucket->flows[slot];

	for (int n = 0; n < 4 && flow_live(word, now); n++) {
		__u32 state = (flow_word_state(word) | set) & ~clear & 0xff;
		__u64 changed = flow_make_word(flow_word_version(word), state, now);
		__u64 found = EXCHANGE(&flow->word, word, changed);

		if (found == word) {
			bucket->due[slot] = flow_hint(changed);
			log_write(WRITE_STATE, place.bucket, slot, state);
			return true;
		}
		if (flow_word_version(found) != flow_word_version(word))
			return false;
		word = found;
	}
	return false;
}

/* Keeps a number and a count with the entry the record was read from. */
static __always_inline void flow_note(const struct flow_record *record, __u32 number, __u32 count)
{
	__u64 noted = flow_make_word(record->version, count & 0xff, number);

	if (record->note == noted)
		return;
	__u32 index = record->bucket;
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &index);

	if (!bucket)
		return;
	*(volatile __u64 *)&bucket->flows[record->slot & (FLOW_SLOTS - 1)].note = noted;
	log_write(WRITE_NOTE, index, record->slot, number);
}

/* Whether the note of a record was made for the entry's owner of now. */
static __always_inline bool flow_noted(const struct flow_record *record)
{
	return flow_word_version(record->note) == record->version;
}
