// SPDX-License-Identifier: Apache-2.0
/** No hidden input: every BPF helper and kfunc that is called, and the member of `struct outside` that holds its answer. */
import { withoutComments, type Finding, type Source } from './sources.ts';

/** `outside.<member>`: its answer is an input; otherwise why it is none. */
export type Helpers = Readonly<Record<string, `outside.${string}` | 'map' | 'effect' | 'arithmetic'>>;

/** The helpers that may be called. An answer that decides anything gets a member of `struct outside` first. */
export const helpers: Helpers = {
  bpf_cast_to_kern_ctx: 'outside.checksum_mode',
  bpf_csum_update: 'effect',
  bpf_get_netns_cookie: 'outside.netns_cookie',
  bpf_get_socket_cookie: 'outside.socket_cookie',
  bpf_htonl: 'arithmetic',
  bpf_htons: 'arithmetic',
  bpf_ktime_get_coarse_ns: 'outside.now',
  bpf_map_delete_elem: 'effect',
  bpf_map_lookup_elem: 'map',
  bpf_map_update_elem: 'outside.peer_result',
  bpf_ntohl: 'arithmetic',
  bpf_ntohs: 'arithmetic',
  bpf_redirect: 'effect',
  bpf_seq_write: 'effect',
  bpf_set_retval: 'effect',
  bpf_sk_storage_get: 'outside.storage_result',
  bpf_skb_adjust_room: 'outside.room_result',
  bpf_skb_change_tail: 'outside.tail_result',
  bpf_skb_pull_data: 'outside.pull_result',
  bpf_sock_destroy: 'effect',
  bpf_spin_lock: 'effect',
  bpf_spin_unlock: 'effect',
};

/** Calls outside the list, and members of `struct outside` that the list names but layout.h does not have. */
export function checkOutside(sources: readonly Source[], known: Helpers = helpers): readonly Finding[] {
  const code = sources.filter(({ path }) => /^bpf\/.*\.[ch]$/.test(path));
  const calls = code.flatMap((source) =>
    [...withoutComments(source.text).matchAll(/\b(bpf_\w+)\(/g)].map((match) => ({
      source,
      name: match[1] ?? '',
      at: match.index,
    })),
  );
  const unknown = calls
    .filter(({ name }) => !(name in known))
    .map(({ source, name, at }) => ({
      path: source.path,
      line: source.text.slice(0, at).split('\n').length,
      message: `calls ${name}, which test/house/outside.ts does not list: pose its answer in struct outside, then list it`,
    }));
  return [...unknown, ...checkMembers(code, known, new Set(calls.map(({ name }) => name)))];
}

function checkMembers(code: readonly Source[], known: Helpers, called: ReadonlySet<string>): readonly Finding[] {
  const layout = code.find(({ path }) => path === 'bpf/layout.h');
  if (layout === undefined) return [];
  const body = /struct outside \{([\s\S]*?)\n\};/.exec(layout.text)?.[1] ?? '';
  return Object.entries(known)
    .filter(([name, role]) => called.has(name) && role.startsWith('outside.'))
    .map(([name, role]) => ({ name, member: role.slice('outside.'.length) }))
    .filter(({ member }) => !new RegExp(`\\b${member}\\b`).test(body))
    .map(({ name, member }) => ({
      path: layout.path,
      message: `struct outside has no ${member} for the answer of ${name}`,
    }));
}
