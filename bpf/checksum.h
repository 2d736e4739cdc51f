/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * checksum.h: ones' complement arithmetic (RFC 1071, RFC 1624); twin of core/datapath/checksum.ts.
 * Sums are of 16-bit words in network order; since they are added with end-around carry, the host's
 * order gives the same bytes.
 */
#pragma once

static __always_inline __u32 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What changes in a sum when one address takes the place of another: ~old + new, not folded. */
static __always_inline __u32 checksum_address_delta(__be32 old, __be32 new)
{
	old = ~old;
	return (old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16);
}

static __always_inline __u32 checksum_port_delta(__be16 old, __be16 new)
{
	return (~(__u32)old & 0xffff) + new;
}

/* A complemented checksum after its data have changed by delta (RFC 1624, equation 3). */
static __always_inline __sum16 checksum_replace(__sum16 check, __u32 delta)
{
	return ~checksum_fold((~(__u32)check & 0xffff) + delta);
}

/*
 * The transport checksum after address and port have changed. In a CHECKSUM_PARTIAL packet the
 * field holds the sum of the pseudo-header, not complemented, and whoever completes it will add the
 * port: the address alone counts.
 */
static __always_inline __sum16 checksum_transport(__sum16 check, __u32 address_delta,
						  __u32 port_delta, __u32 mode)
{
	if (mode == CHECKSUM_MODE_PARTIAL) {
		MARK(CHECKSUM_PARTIAL);
		return checksum_fold((__u32)check + address_delta);
	}
	if (mode == CHECKSUM_MODE_COMPLETE)
		MARK(CHECKSUM_COMPLETE);
	else
		MARK(CHECKSUM_NONE);
	return checksum_replace(check, address_delta + port_delta);
}

/* The same for UDP, where 0 says that there is none, and what comes out as 0 is written as its
 * other form (RFC 768). */
static __always_inline __sum16 checksum_datagram(__sum16 check, __u32 address_delta,
						 __u32 port_delta, __u32 mode)
{
	if (!check && mode != CHECKSUM_MODE_PARTIAL) {
		MARK(UDP_UNCHECKED);
		return 0;
	}
	check = checksum_transport(check, address_delta, port_delta, mode);
	return check || mode == CHECKSUM_MODE_PARTIAL ? check : 0xffff;
}
