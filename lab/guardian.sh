#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Ends a lab: kills the processes in its cgroups, then takes away its mounts, namespaces, cgroups and run directory.
#
#   guardian.sh guard  CGROUP RUN TOKEN   makes CGROUP and RUN, says "ready", and ends the lab when standard input
#                                         does (whoever held it has died); a line "keep" lets the lab stay
#   guardian.sh remove CGROUP RUN         ends the lab now
#
# CGROUP and RUN end in /tandem-NAME. Only processes that are in the lab's own cgroups are ever ended.

# A dead reader of our output must not end us half way.
trap '' PIPE

cgroup=$2
run=$3
token=${4:-}
name=${run##*/}

case $name in
tandem-?*) ;;
*) echo "guardian: not a lab: $run" >&2; exit 2 ;;
esac

populated() {
  [ -e "$cgroup/cgroup.events" ] && grep -q '^populated 1' "$cgroup/cgroup.events"
}

end_processes() {
  # Thirty rounds of 0.1 s: a process in an uninterruptible sleep may need a moment.
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    populated || return 0
    if [ -e "$cgroup/cgroup.kill" ]; then
      echo 1 >"$cgroup/cgroup.kill"
    else # before Linux 5.14
      find "$cgroup" -name cgroup.procs -exec cat {} + | while read -r pid; do kill -9 "$pid"; done
    fi
    populated || return 0
    sleep 0.1
  done
  echo "guardian: processes of $name do not end" >&2
}

remove_mounts() {
  while read -r _ target _; do
    case $target in
    "$run"/*) umount -l "$target" ;;
    esac
  done </proc/mounts
}

remove_namespaces() {
  for namespace in /run/netns/"$name"-*; do
    [ -e "$namespace" ] && ip netns delete "${namespace##*/}"
  done
}

# Processes join the cgroups below the lab's own and nothing else: once those are gone, nobody can join any more, and
# what is made is all there will be.
close_cgroups() {
  end_processes
  [ -d "$cgroup" ] || return 0
  find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null
  [ -z "$(find "$cgroup" -mindepth 1 -type d 2>/dev/null)" ]
}

remove_lab() {
  # Again: a helper that was just being started may have joined behind our back.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    close_cgroups && break
    sleep 0.1
  done
  remove_mounts
  remove_namespaces
  rm -rf --one-file-system "$run"
  # Last, for it is what reserves the name: a new lab must not meet our removal of its directory.
  [ -d "$cgroup" ] && rmdir "$cgroup"
  [ ! -d "$cgroup" ] && [ ! -d "$run" ]
}

guard() {
  mkdir "$cgroup" 2>/dev/null || { echo taken; exit 1; }
  mkdir -p "$run" && echo "$token" >"$run/owner"
  # Told to end by a signal, end the lab too: read returns.
  trap : INT TERM HUP
  echo ready
  read -r word
  [ "$word" = keep ] && exit 0
  # Somebody removed this lab and made a new one of the same name: not ours.
  [ "$(cat "$run/owner" 2>/dev/null)" = "$token" ] || exit 0
  remove_lab
}

case $1 in
guard) guard ;;
remove) remove_lab ;;
*) exit 2 ;;
esac
