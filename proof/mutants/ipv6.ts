// SPDX-License-Identifier: Apache-2.0
/** Faults that only IPv6 packets and AF_INET6 sockets show. */
import { FATE, type Fault } from './plant.ts';

/** Found by packets. */
export const ipv6Faults: readonly Fault[] = [
  {
    name: 'ipv6-last-word-only',
    file: 'verdict.h',
    find: 'place->words[word] = address->words[word];',
    replace: 'if (word == 3) place->words[word] = address->words[word];',
    meaning: 'an IPv6 address gets its last word only',
    shows: /ip\.(source|destination)$/,
  },
  {
    name: 'ipv6-delta-of-three-words',
    file: 'verdict.h',
    find: 'delta += checksum_address_delta(place->words[word], address->words[word]);',
    replace: 'if (word) delta += checksum_address_delta(place->words[word], address->words[word]);',
    meaning: 'the TCP checksum misses the first word of an address',
    shows: /(tcp|udp)\.checksum$/,
  },
  {
    name: 'icmp6-without-pseudo-header',
    file: 'answer.h',
    find: 'checksum_fold(type + pseudo + sum)',
    replace: 'checksum_fold(type + sum + (pseudo & 0))',
    meaning: 'the ICMPv6 checksum is summed like that of ICMP',
    shows: /icmp\.checksum$/,
  },
  {
    name: 'icmp6-pseudo-of-tcp',
    file: 'answer.h',
    find: 'bpf_htons(IPPROTO_ICMPV6);',
    replace: 'bpf_htons(IPPROTO_TCP);',
    meaning: 'the pseudo-header of an ICMPv6 message names TCP',
    shows: /icmp\.checksum$/,
  },
  {
    name: 'icmp6-code-of-icmp',
    file: 'hook_tc.h',
    find: 'v6 ? ICMP6_PORT_UNREACHABLE : ICMP_PORT_UNREACHABLE',
    replace: 'v6 ? ICMP_PORT_UNREACHABLE : ICMP_PORT_UNREACHABLE',
    meaning: 'an IPv6 client is told "time exceeded"',
    shows: /icmp\.type$/,
  },
  {
    name: 'icmp6-length-of-all',
    file: 'answer.h',
    find: 'bpf_htons(ICMP6_LENGTH - IPV6_LENGTH + quote_length)',
    replace: 'bpf_htons(ICMP6_LENGTH + quote_length)',
    meaning: 'the payload length of a refusal counts the IPv6 header',
    shows: /ip\.payloadLength$/,
  },
  {
    name: 'ipv6-complete-sum-mended',
    file: 'verdict.h',
    find: 'else if (mode == CHECKSUM_MODE_COMPLETE && !v6)',
    replace: 'else if (mode == CHECKSUM_MODE_COMPLETE)',
    meaning: "the device's sum over an IPv6 packet is changed though nothing in it changes",
    shows: /^returned$/,
  },
  {
    name: 'mapped-on-wire-accepted',
    file: 'parse.h',
    find: 'is_mapped(&packet->key.source) || is_mapped(&packet->key.destination)',
    replace: 'false',
    meaning: 'an IPv6 packet with v4-mapped addresses passes for an IPv4 one',
    shows: FATE,
  },
  {
    name: 'mapped-source-accepted',
    file: 'parse.h',
    find: 'is_mapped(&packet->key.source) || is_mapped(&packet->key.destination)',
    replace: 'is_mapped(&packet->key.destination)',
    meaning: 'an IPv6 packet from a v4-mapped address is served',
    shows: FATE,
  },
  {
    name: 'compatible-taken-for-mapped',
    file: 'packet.h',
    find: '!(address->words[0] | address->words[1]) && address->words[2] == bpf_htonl(0xffff)',
    replace: '!(address->words[0] | address->words[1])',
    meaning: 'addresses that only begin like v4-mapped ones are taken for them',
    shows: FATE,
  },
  {
    name: 'extension-taken-for-tcp',
    file: 'parse.h',
    find: 'if (is_extension(ip->next_header)) {',
    replace: 'if (is_extension(ip->next_header)) packet->key.protocol = IPPROTO_TCP; else if (false) {',
    meaning: 'an extension header is read as the TCP header',
    shows: FATE,
  },
  {
    name: 'fragment-header-unknown',
    file: 'parse.h',
    find: 'next_header == NEXT_FRAGMENT || next_header == NEXT_AUTHENTICATION ||',
    replace: 'next_header == NEXT_AUTHENTICATION ||',
    meaning: 'an IPv6 fragment counts as a protocol that is not TCP',
    shows: FATE,
  },
  {
    name: 'payload-length-believed',
    file: 'parse.h',
    find: 'ip->version_class >> 4 != 6 || packet->length > frame_length - ETHERNET_LENGTH',
    replace: 'ip->version_class >> 4 != 6 || packet->length > frame_length',
    meaning: 'an IPv6 payload length a little beyond the frame is believed',
    shows: FATE,
  },
  {
    name: 'ipv6-multicast-source-served',
    file: 'decision.h',
    find: 'return first >> 24 == 0xff ||',
    replace: 'return (first & 0) ||',
    meaning: 'packets from a multicast address are served',
    shows: FATE,
  },
];

/** Found by real sockets. */
export const ipv6SocketFaults: readonly Fault[] = [
  {
    name: 'connect6-first-word-kept',
    file: 'hook_sock.h',
    find: 'context->user_ip6[0] = address->words[0];',
    replace: '',
    meaning: 'an AF_INET6 socket keeps the first word of the Service address',
    shows: /^(address|errno)$/,
  },
  {
    name: 'mapped-socket-not-ipv4',
    file: 'hook_sock.h',
    find: 'address->words[2] = context->user_ip6[2];',
    replace: 'address->words[2] = context->user_ip6[2] == bpf_htonl(0xffff) ? 0 : context->user_ip6[2];',
    meaning: 'the IPv4 Service of an AF_INET6 socket is not found',
    shows: FATE,
  },
];
