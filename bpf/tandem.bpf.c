/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tandem.bpf.c: the one object. Everything is included here, so there is one set of maps and one
 * BTF; programs that are not wanted are switched off when it is loaded.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETH_P_IP       0x0800
#define ETH_P_IPV6     0x86dd
#define IPPROTO_ICMP   1
#define IPPROTO_TCP    6
#define IPPROTO_UDP    17
#define IPPROTO_ICMPV6 58
#define NULL	       ((void *)0)

#include "layout.h"
#include "test.h"
#include "packet.h"
#include "parse.h"
#include "classify.h"
#include "lookup.h"
#include "select.h"
#include "affinity.h"
#include "nat.h"
#include "flows.h"
#include "share.h"
#include "tcp.h"
#include "udp.h"
#include "fragment.h"
#include "decision.h"
#include "open.h"
#include "conntrack.h"
#include "netns.h"
#include "sockets.h"
#include "connect.h"
#include "peername.h"
#include "checksum.h"
#include "verdict.h"
#include "answer.h"
#include "hook_tc.h"
#include "hook_sock.h"
#include "hook_iter.h"

char _license[] SEC("license") = "Dual BSD/GPL";
