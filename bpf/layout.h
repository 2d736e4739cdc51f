/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * layout.h: every struct, enum, map, outside input and setting that C and TypeScript share.
 * core/layout.gen.ts is made from the object's BTF, so this file is the only place to change. Byte
 * order lives in the types: __be16 and
 * __be32 are network order, everything else is the host's (little-endian).
 */
#pragma once

#define DOC(text) __attribute__((btf_decl_tag(text)))

/* Limits; sizes of maps are defaults, user space may choose others at load. An enum, so that BTF
 * carries them. */
enum limit {
	FLOW_SLOTS = 16, /* entries of a bucket: one cache line of fingerprints, one of due times */
	FLOW_BUCKETS = 4096, /* power of two; 65,536 entries of 136 bytes: 8.9 MB */
	FLOW_LOCKS = 4096,   /* power of two; a lock serves every bucket with the same low bits */
	FLOW_STATES = 128,   /* life and flags */
	FLOW_CANDIDATES = 4, /* equal fingerprints that are looked at before giving up */
	FLOW_CROWDED =
		12,	 /* entries in the first bucket from which on the emptier bucket is taken */
	PORT_TRIES = 12, /* source ports tried where the reply tuple is taken */
	SERVICE_RANGES = 4,	  /* ranges of Service addresses of one family */
	CLASSIFIER_WORDS = 16384, /* power of two; 64 bits each: 1 Mbit, 128 KiB */
	FRONTENDS_MAX = 65536,
	SERVICES_MAX = 65536,
	SLOT_PAIRS_MAX = 262144,
	BACKENDS_MAX = 262144,
	SOURCE_RANGES_MAX = 65536, /* ranges of all sets together */
	SOURCE_RANGE_SETS_MAX = 16384,
	NODE_ADDRESSES_MAX = 1024,
	PEERS_MAX = 65536,
	/* sockets */
	AFFINITY_MAX = 65536,
	NETNS_MAX = 4096,
	SOCKET_ROWS = 9, /* of one UDP socket: the one it is connected by, and eight it sends to */
	TRACE_MAX = 96,
	WRITES_MAX = 24,
};

typedef __be16 port_number;
typedef __u8 protocol_number;  /* 0 in a frontend key: the whole address */
typedef __u32 service_port_id; /* names a Service port on this node; index of service_counters */
typedef __u32 backend_id;      /* index of backends; 0 is never given out */
typedef __u32 ticks;	       /* 2^20 ns of CLOCK_MONOTONIC_COARSE, wraps after 52 days */

struct address {
	__be32 words[4];
};

enum verdict {
	VERDICT_PASS = 0,    /* byte-identical, to the next program or the stack */
	VERDICT_FORWARD = 1, /* client to backend, destination rewritten */
	VERDICT_REPLY = 2,   /* backend to client, source rewritten */
	VERDICT_DROP = 3,
	VERDICT_REFUSE = 4, /* answered: ICMP port unreachable, or ECONNREFUSED from connect() */
};

enum reason {
	REASON_NOT_SERVICE = 0,
	REASON_NOT_IP = 1,
	REASON_OTHER_PROTOCOL = 2, /* passed: neither TCP nor UDP, nor an ICMP error */
	REASON_FRAGMENT = 3,	   /* passed: a fragment of something that is never translated */
	REASON_MALFORMED = 4, /* passed: a header that lies about lengths is the stack's business */
	REASON_MARTIAN = 5,   /* passed: a source that can't be on the wire is never translated */
	REASON_NEW_FLOW = 6,
	REASON_KNOWN_FLOW = 7,
	REASON_STATELESS = 8, /* forwarded by the pure choice alone: a reset makes no state */
	REASON_REPLY = 9,
	REASON_NO_ENDPOINTS = 10,
	REASON_UNKNOWN_PORT = 11,
	REASON_NO_LOCAL_ENDPOINTS = 12,
	REASON_TCP_FLAGS =
		13, /* a combination of flags that opens nothing and belongs to no flow */
	REASON_FLOWS_FULL = 14,
	REASON_TUPLE_TAKEN = 15, /* another live flow has this reply tuple */
	REASON_HAIRPIN =
		16, /* the backend is the client: sent back; dropped without an address for it */
	REASON_MAPS_DISAGREE = 17,  /* a slot or backend row that should be there is not */
	REASON_CANNOT_ANSWER = 18,  /* refused, but the packet can't be turned into an ICMP error */
	REASON_TRANSLATED = 19,	    /* connect() to a backend */
	REASON_PEER = 20,	    /* getpeername() shows the Service address */
	REASON_UNSUPPORTED = 21,    /* a socket the hooks don't serve yet */
	REASON_HEADERS = 22,	    /* passed: headers can't be made linear */
	REASON_EXTENSIONS = 23,	    /* passed: IPv6 headers that hide the transport, or too many */
	REASON_FIRST_MISSING = 24,  /* a later fragment, the first of which has not been seen */
	REASON_RELATED = 25,	    /* an ICMP error about a flow */
	REASON_FRAGMENTED = 26,	    /* a later fragment, sent after the first */
	REASON_UNALLOCATED = 27,    /* an address of a Service range that no Service has */
	REASON_BACKEND_REUSED = 28, /* the backend's address is another pod's now */
	REASON_TIME_TO_LIVE = 29,   /* would be sent on by us, but may go no further */
	REASON_DIRECT =
		30, /* no Service's, but its source port stands aside for a Service's flow */
	/* sockets */
	REASON_RESELECTED = 31,	     /* translated anew: the backend that the socket had is gone */
	REASON_ROW_OVERWRITTEN = 32, /* translated; the socket's oldest row gave way */
	REASON_NO_STORAGE = 33,	     /* refused: what the socket asked for can't be remembered */
	REASON_CLIENT_UNKNOWN =
		34,		  /* left to the packet road: affinity wants the client's address */
	REASON_OUT_OF_SCOPE = 35, /* left: not a socket of this node, or its pod wants it so */
	REASON_SOCKET_ENDED = 36, /* a connected UDP socket whose backend is gone */
	REASON_GROUP = 37,	  /* passed: a frame to a group of Ethernet addresses */
	REASON_MAX = 38,
};

enum direction {
	DIRECTION_FORWARD = 0,
	DIRECTION_REPLY = 1,
	DIRECTION_FRAGMENT = 2, /* or'ed: the ports are a datagram's identification */
};

enum frontend_kind {
	FRONTEND_CLUSTER_IP = 0,
	FRONTEND_NODE_PORT = 1,
	FRONTEND_LOAD_BALANCER = 2,
	FRONTEND_EXTERNAL_IP = 3,
	FRONTEND_HOST_PORT = 4,
	FRONTEND_WHOLE_ADDRESS = 5, /* port 0, protocol 0: what else arrives for an owned address */
};

enum algorithm {
	ALGORITHM_HASH = 0,
	ALGORITHM_MAGLEV = 1,
};

enum view_index {
	VIEW_INTERNAL = 0,
	VIEW_EXTERNAL = 1,
	VIEW_MAX = 2,
};

enum service_flag {
	SERVICE_DROP_WHEN_INTERNAL_EMPTY = 1, /* else refuse */
	SERVICE_DROP_WHEN_EXTERNAL_EMPTY = 2,
	SERVICE_EXTERNAL =
		4, /* answers clients that are not on this node; else none of its business */
	/* whose address backends see: the node's, of clients outside the pod ranges or of all */
	SERVICE_INTERNAL_OFF_CLUSTER = 8,
	SERVICE_INTERNAL_MASQUERADE = 16,
	SERVICE_EXTERNAL_OFF_CLUSTER = 32,
	SERVICE_EXTERNAL_MASQUERADE = 64,
};

struct frontend_key {
	struct address address;
	port_number port;
	protocol_number protocol;
	__u8 pad;
};

struct view {
	__u32 first_slot;
	__u32 count;
	__u32 table_size;
	__u32 algorithm;
};

/* A row is immutable while frontends names it. */
struct service {
	struct frontend_key key;
	service_port_id service_port;
	__u32 name_hash[2] DOC("of namespace/name:portName/protocol: the same on every node");
	__u32 flags;
	__u32 affinity_seconds;
	__u32 source_ranges DOC("set of ranges that clients must come from; 0: from everywhere");
	__u32 kind;
	struct view views[VIEW_MAX];
};

struct slot_pair {
	backend_id backends[2];
};

/* Key of a trie: what comes first counts in bits. A set without a row lets nobody in. */
struct source_range_key {
	__u32 prefix_length DOC("32 bits of the set and those of the range, IPv4 ones mapped");
	__u32 set;
	struct address address;
};

enum source_range_rule {
	SOURCE_RANGE_ALLOW = 1,
};

struct node_address_key {
	struct address address;
};

enum node_address_flag {
	NODE_ADDRESS_LOCAL = 1,	    /* of this node */
	NODE_ADDRESS_NODE_PORT = 2, /* serves NodePorts */
	NODE_ADDRESS_PRIMARY = 4,   /* the first of its family */
};

enum backend_live {
	BACKEND_STATE =
		3, /* mask: 0 free, 1 active, 2 terminating, 3 the address is another pod's now */
	BACKEND_ACTIVE = 1,
	BACKEND_TERMINATING = 2,
	BACKEND_REUSED = 3,
	BACKEND_IN_INTERNAL = 4,
	BACKEND_IN_EXTERNAL = 8,
	BACKEND_GENERATION_SHIFT = 8,
};

/* Belongs to one Service port. Everything but live is written while live is 0; live is one aligned
 * store. */
struct backend {
	struct address address;
	port_number port;
	protocol_number protocol;
	__u8 pad;
	service_port_id service_port;
	__u32 identity[2] DOC("hash of the pod's uid; equal addresses of another pod differ here");
	__u32 live;
	__u32 pad2;
};

struct classifier_word {
	__u32 bits[2];
};

struct flow_key {
	struct address source;
	struct address destination;
	port_number source_port;
	port_number destination_port;
	protocol_number protocol;
	__u8 direction;
	__u16 pad;
};

/* Bits of a flow's state: 0 and 1 its life, the rest what it is and what has passed. */
enum flow_state {
	FLOW_FREE = 0,
	FLOW_BUSY = 1,	  /* claimed, being written */
	FLOW_PENDING = 2, /* not completed: may be recycled for a newcomer */
	FLOW_ESTABLISHED = 3,
	FLOW_LIFE = 3,
	FLOW_DATAGRAM = 4,  /* UDP */
	FLOW_FIN = 8,	    /* seen in this direction */
	FLOW_ANSWERED = 8,  /* of a datagram flow's reply entry: an answer was seen */
	FLOW_PEER_FIN = 16, /* seen in the other direction */
	FLOW_RESET = 32,
	FLOW_EXCESS = 64, /* established beyond its share, or never answered: may be recycled */
};

enum flow_word {
	FLOW_STATE_SHIFT = 32,
	FLOW_VERSION_SHIFT = 40,
};

/*
 * One direction of a connection: two cache lines. word = last seen (ticks) | state << 32 | version
 * << 40 and changes only by compare-and-exchange; the version counts owners. The second line is
 * read only while the entry lives.
 */
struct flow {
	struct flow_key key;
	__u64 word;
	__u64 packets;
	__u64 bytes;
	struct flow_key translation DOC("what the packet becomes");
	service_port_id service_port;
	backend_id backend;
	__u32 generation;
	__u32 pad;
	__u64 note DOC(
		"of a reply: the backend's initial sequence number; of a datagram flow: tick of "
		"its second datagram | seconds with one << 32; | version << 40, void where that "
		"is not the word's");
};

struct flow_bucket {
	__u16 fingerprints[FLOW_SLOTS];
	__u32 spill; /* 1: an entry whose first bucket is this one lives in its second */
	__u32 pad[7];
	__u32 due[FLOW_SLOTS] DOC(
		"not expired before, in ticks; bit 0: may be recycled. A hint: the word decides");
	struct flow flows[FLOW_SLOTS];
};

struct peer {
	struct frontend_key frontend;
	struct address backend;
	port_number backend_port;
	__u16 pad;
	__u32 attempts;
};

/* sockets */

/* The client alone decides; a client is an address, whatever its port. */
struct affinity_key {
	struct address client;
	service_port_id service_port;
	__u32 pad;
};

/* A value of affinity is one aligned word, read and written whole: an element can be recycled under
 * a reader. */
enum affinity_word {
	AFFINITY_GENERATION = 0x3fff, /* mask: the low bits of the backend's generation */
	AFFINITY_BACKEND_SHIFT = 14,  /* 18 bits of backend id */
	AFFINITY_SEEN_SHIFT = 32,     /* ticks of the last new connection */
};

enum netns_flag {
	NETNS_SOCKETS_ON = 1,  /* translated even where the scope is the host alone */
	NETNS_SOCKETS_OFF = 2, /* left to the packet road */
};

/* A network namespace of this node: the addresses its sockets have where they are not bound. */
struct netns_row {
	__u64 cookie;
	__u32 flags;
	__u32 pad;
	struct address ipv4 DOC("zero: unknown");
	struct address ipv6 DOC("zero: unknown");
};

/* What a UDP socket asked for and what it got; unused while the backend is 0. */
struct socket_row {
	struct frontend_key asked;
	struct address address DOC("the backend's");
	port_number port DOC("the backend's");
	__u16 is_shown DOC("1: answers of this backend show the Service address");
	backend_id backend;
	__u32 generation;
	service_port_id service_port;
	__u32 turn DOC("when last sent to");
};

/* Rides on a UDP socket and ends with it; read and written under the socket's lock. Row 0 is the
 * one the socket is connected by. */
struct socket_state {
	struct socket_row rows[SOCKET_ROWS];
	__u32 turn DOC("of the last send");
	__u32 attempts DOC("connects so far");
};

enum socket_scope {
	SCOPE_EVERYTHING = 0, /* every socket of the node */
	SCOPE_HOST = 1,	      /* those of the node's own network namespace, and pods that ask */
	SCOPE_OFF = 2,
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

enum checksum_mode { /* skb->ip_summed */
		     CHECKSUM_MODE_NONE = 0,
		     CHECKSUM_MODE_UNNECESSARY = 1,
		     CHECKSUM_MODE_COMPLETE = 2,
		     CHECKSUM_MODE_PARTIAL = 3,
};

/*
 * Every answer from outside that a decision may depend on. Read once per packet into this struct
 * and nowhere else; in test mode test_control poses it.
 */
struct outside {
	__u64 socket_cookie;
	__u64 netns_cookie DOC("of the socket's network namespace");
	ticks now;
	__u32 checksum_mode;
	__u32 gso_size DOC("bytes of payload of each segment; 0: not a GSO packet");
	__s32 pull_result DOC("bpf_skb_pull_data: 0 or -errno");
	__s32 room_result DOC("bpf_skb_adjust_room: 0 or -errno");
	__s32 tail_result DOC("bpf_skb_change_tail: 0 or -errno");
	__s32 peer_result DOC("update of peers: 0 or -errno");
	__s32 affinity_result DOC("update of affinity: 0 or -errno");
	__s32 storage_result DOC("creation of a socket's storage: 0 or -errno");
	__u32 pad;
};

enum write_operation {
	WRITE_INSERT = 1,
	WRITE_STATE = 2,
	WRITE_SEEN = 3,
	WRITE_REPAIR = 4, /* a due hint that had fallen behind */
	WRITE_PEER = 5,
	WRITE_NOTE = 6,
	/* sockets */
	WRITE_AFFINITY = 7,
	WRITE_SOCKET = 8,
	WRITE_FORGET = 9,
};

struct write {
	__u32 operation;
	__u32 bucket;
	__u32 slot;
	__u32 value;
};

/* Marks of the branches taken; the twins are compared by sequence and by count. */
enum mark {
	MARK_NONE = 0,
	MARK_NOT_IP = 1,
	MARK_MALFORMED = 2,
	MARK_FRAGMENT = 3,
	MARK_OTHER_PROTOCOL = 4,
	MARK_OPTIONS = 5,
	MARK_CERTAINLY_NOT = 6,
	MARK_FRONTEND = 7,
	MARK_WHOLE_ADDRESS = 8,
	MARK_NO_FRONTEND = 9,
	MARK_ROW_MISMATCH = 10,
	MARK_EMPTY_REFUSE = 11,
	MARK_EMPTY_DROP = 12,
	MARK_SLOT_MISSING = 13,
	MARK_BACKEND_DEAD = 14,
	MARK_SELECTED = 15,
	MARK_FLOW_HIT_FIRST = 16,
	MARK_FLOW_HIT_SECOND = 17,
	MARK_FLOW_EXPIRED = 18,
	MARK_FLOW_MISS = 19,
	MARK_FLOW_SEEN = 20,
	MARK_INSERT_EXISTS = 21,
	MARK_INSERT_TAKE_OVER = 22,
	MARK_INSERT_FIRST = 23,
	MARK_INSERT_SECOND = 24,
	MARK_INSERT_RECYCLE = 25,
	MARK_INSERT_FULL = 26,
	MARK_HINT_REPAIRED = 27,
	MARK_FORWARD_KNOWN = 28,
	MARK_FORWARD_NEW = 29,
	MARK_FORWARD_RESELECT = 30,
	MARK_FORWARD_STATELESS = 31,
	MARK_FORWARD_FLAGS = 32,
	MARK_FORWARD_ADOPT = 33,
	MARK_FORWARD_TAKEN = 34,
	MARK_FORWARD_HEAL = 35,
	MARK_ESTABLISH = 36,
	MARK_REPLY_KNOWN = 37,
	MARK_REPLY_SYN_ACK = 38,
	MARK_FIN = 39,
	MARK_RESET = 40,
	MARK_RESET_WITHDRAWN = 41,
	MARK_MARTIAN = 42,
	MARK_HAIRPIN = 43,
	MARK_CHECKSUM_PARTIAL = 44,
	MARK_CHECKSUM_COMPLETE = 45,
	MARK_CHECKSUM_NONE = 46,
	MARK_REFUSE_ICMP = 47,
	MARK_REFUSE_TRIM = 48,
	MARK_REFUSE_IMPOSSIBLE = 49,
	MARK_SOCKET_UNSUPPORTED = 50,
	MARK_SOCKET_TRANSLATED = 51,
	MARK_SOCKET_LEFT = 52,
	MARK_PEER_KNOWN = 53,
	MARK_PEER_OTHER = 54,
	MARK_PEER_FAILED = 55,
	MARK_DIRECT_ENDS = 56,
	MARK_DIRECT_TAKEN = 57,
	MARK_FORWARD_REPLACE = 58,
	MARK_STEADY = 59,
	MARK_EXTENSIONS = 60,
	MARK_IPV6 = 61,
	MARK_UDP = 62,
	MARK_FRAGMENT_FIRST = 63,
	MARK_FRAGMENT_LATER = 64,
	MARK_FRAGMENT_KNOWN = 65,
	MARK_FRAGMENT_MISSING = 66,
	MARK_FRAGMENT_KEPT = 67,
	MARK_WALKED = 68,
	MARK_QUOTE = 69,
	MARK_QUOTE_ODD = 70,
	MARK_RELATED = 71,
	MARK_UNRELATED = 72,
	MARK_ANSWERED = 73,
	MARK_ONE_WAY_SECOND = 74,
	MARK_ONE_WAY = 75,
	MARK_SHARE_CLIENT = 76,
	MARK_SHARE_SERVICE = 77,
	MARK_OTHER_KEPT = 78,
	MARK_PORT_REPLACED = 79,
	MARK_PORTS_TAKEN = 80,
	MARK_DIRECT_NEW = 81,
	MARK_DIRECT_KNOWN = 82,
	MARK_DIRECT_ASIDE = 83,
	MARK_DIRECT_REPLY = 84,
	MARK_UNALLOCATED = 85,
	MARK_BACKEND_REUSED = 86,
	MARK_UDP_UNCHECKED = 87,
	MARK_HAIRPIN_REPLY = 88,
	MARK_REFUSE_RESET = 89,
	MARK_REFUSE_TIME = 90,
	MARK_QUOTE_CHECKSUM = 91,
	/* sockets */
	MARK_AFFINITY_HIT = 92,
	MARK_AFFINITY_MISS = 93,
	MARK_AFFINITY_OLD = 94,
	MARK_AFFINITY_GONE = 95,
	MARK_AFFINITY_FAILED = 96,
	MARK_SOCKET_BOUND = 97,
	MARK_SOCKET_NETNS = 98,
	MARK_SOCKET_UNKNOWN = 99,
	MARK_SOCKET_SCOPE = 100,
	MARK_SOCKET_NETNS_MISMATCH = 101,
	MARK_SOCKET_KEPT = 102,
	MARK_SOCKET_GONE = 103,
	MARK_SOCKET_ROW_FREE = 104,
	MARK_SOCKET_ROW_SAME = 105,
	MARK_SOCKET_ROW_OLDEST = 106,
	MARK_SOCKET_ROW_PEER = 107,
	MARK_SOCKET_NO_STORAGE = 108,
	MARK_SOCKET_HIDDEN = 109,
	MARK_SOCKET_DISCONNECTED = 110,
	MARK_SOCKET_ANSWER = 111,
	MARK_SOCKET_STRANGER = 112,
	MARK_PEER_FORGOTTEN = 113,
	MARK_SOCKET_OWN_PEER = 114,
	MARK_GROUP = 115,
	MARK_QUOTE_FIRST = 116,
	MARK_SOCKET_CERTAINLY_NOT = 117,
	MARK_MAX = 118,
};

/* Keeps the enums that no member names in BTF; takes no room. */
struct enums {
	enum limit limit[0];
	enum verdict verdict[0];
	enum reason reason[0];
	enum direction direction[0];
	enum frontend_kind frontend_kind[0];
	enum algorithm algorithm[0];
	enum view_index view_index[0];
	enum service_flag service_flag[0];
	enum backend_live backend_live[0];
	enum flow_state flow_state[0];
	enum flow_word flow_word[0];
	enum checksum_mode checksum_mode[0];
	enum affinity_word affinity_word[0];
	enum netns_flag netns_flag[0];
	enum socket_scope socket_scope[0];
	enum write_operation write_operation[0];
	enum mark mark[0];
};

/* What test mode poses (outside) and what it finds out; written by nobody in production. */
struct test_control {
	struct outside outside;
	__u32 verdict;
	__u32 reason;
	service_port_id service_port;
	backend_id backend;
	__u32 trace_length;
	__u32 writes_length;
	__u8 trace[TRACE_MAX];
	struct write writes[WRITES_MAX];
	__u32 marks[MARK_MAX + MARK_MAX % 2]; /* even: no padding after it */
	struct enums enums;
};

/* address & mask = base; a mask of zero: no range. */
struct service_range {
	struct address base;
	struct address mask;
};

/* Settings fixed at load; the verifier drops what they switch off. */
struct config {
	__u32 test_mode;
	__u32 flow_bucket_mask;
	__u32 classifier_mask;
	__u32 flow_lifetimes[FLOW_STATES] DOC(
		"by state, in ticks, even, 0 for none; bit 0: a newcomer may take its place");
	__u32 flow_secret[12] DOC("key of the flow table's hash: the node's own");
	__u32 selection_key[2] DOC(
		"key of the choice of a backend: the same on every node of a cluster");
	__u32 share_client
		DOC("established flows of one client protected in two buckets of the table");
	__u32 share_service DOC("the same of one Service port");
	__u32 port_first DOC("source ports that may take the place of a client's: the first");
	__u32 port_count;
	struct address
		hairpin_source[2] DOC("of IPv4 and IPv6: the address from which a pod that is "
				      "its own backend hears itself; zero: dropped by name");
	struct service_range service_ranges[2 * SERVICE_RANGES] DOC(
		"IPv4, then IPv6; addresses in them that no Service has are dropped");
	/* sockets */
	__u32 socket_scope DOC("SCOPE_*");
	__u32 netns_known
		DOC("1: sockets of a network namespace without a row are not this node's");
	__u32 netns_cookie[2] DOC(
		"of the node's own network namespace, low word first; 0: not told");
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CLASSIFIER_WORDS);
	__type(key, __u32);
	__type(value, struct classifier_word);
} classifier SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FRONTENDS_MAX);
	__type(key, struct frontend_key);
	__type(value, __u32);
} frontends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVICES_MAX);
	__type(key, __u32);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLOT_PAIRS_MAX);
	__type(key, __u32);
	__type(value, struct slot_pair);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BACKENDS_MAX);
	__type(key, backend_id);
	__type(value, struct backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SOURCE_RANGES_MAX);
	__type(key, struct source_range_key);
	__type(value, enum source_range_rule);
} source_ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, NODE_ADDRESSES_MAX);
	__type(key, struct node_address_key);
	__type(value, enum node_address_flag);
} node_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_BUCKETS);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flows SEC(".maps");

/* Apart from the buckets: a value that holds a lock can't be mapped. */
struct flow_lock {
	struct bpf_spin_lock lock;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_LOCKS);
	__type(key, __u32);
	__type(value, struct flow_lock);
} flow_locks SEC(".maps");

/* Socket cookie to what was translated; losing a row shows the backend's address and nothing else.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PEERS_MAX);
	__type(key, __u64);
	__type(value, struct peer);
} peers SEC(".maps");

/* sockets */

/* Which backend a client is kept on; a lost or recycled element means the pure choice. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AFFINITY_MAX);
	__type(key, struct affinity_key);
	__type(value, __u64);
} affinity SEC(".maps");

/* Cookie of a network namespace to its row. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, NETNS_MAX);
	__type(key, __u64);
	__type(value, __u32);
} netns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NETNS_MAX);
	__type(key, __u32);
	__type(value, struct netns_row);
} netns_rows SEC(".maps");

/* From user space the key is a descriptor of the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __s32);
	__type(value, struct socket_state);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASON_MAX);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SERVICES_MAX);
	__type(key, service_port_id);
	__type(value, struct counter);
} service_counters SEC(".maps");

/* Not created in production: every use is behind config.test_mode. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test_control);
} test_control SEC(".maps");

const volatile struct config config = {
	.flow_bucket_mask = FLOW_BUCKETS - 1,
	.classifier_mask = CLASSIFIER_WORDS - 1,
};
