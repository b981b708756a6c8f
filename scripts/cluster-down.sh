#!/usr/bin/env bash
# Stops what scripts/cluster.sh started and removes its state: processes, pods,
# mounts, network. What was built stays in the cache. Says what is left, if anything.
cd "$(dirname "$0")/.."
source test/cluster/env.sh

# members: the ids of the cluster's processes, its pods' included.
members() {
  local g
  for g in $(cgroups); do [[ ! -d $g ]] || find "$g" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done | sort -un
}
for ((i = 0; i < 50; i++)); do # some start others while they end
  ids=$(members)
  [[ -n $ids ]] || break
  # shellcheck disable=SC2086
  kill -9 $ids 2>/dev/null || true
  sleep 0.1
done
# A cgroup without processes or children can be removed; pods' are nested.
for g in $(cgroups); do [[ ! -d $g ]] || find "$g" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
mounts() { awk -v a="$run/" -v b="$state/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}' /proc/self/mountinfo; }
for ((i = 0; i < 5; i++)); do mounts | sort -r | xargs -r umount -l 2>/dev/null || true; done
if [[ -e $run/netns-before ]]; then # pods have namespaces of their own, named by the plugins
  for f in /run/netns/cni-*; do
    [[ ! -e $f ]] || grep -qxF "${f##*/}" "$run/netns-before" || ip netns del "${f##*/}"
  done
fi
[[ ! -e $netns ]] || ip netns del "$ns"
[[ -n $(mounts) ]] || rm -rf "$run" "$state"
left=0
tell() { [[ -z $2 ]] || { echo "cluster-down.sh: left: $1: $2" >&2; left=1; }; }
tell processes "$(members | tr '\n' ' ')"
tell mounts "$(mounts)"
tell network "$([[ ! -e $netns ]] || echo "$netns")"
tell state "$([[ ! -e $run ]] || echo "$run")"
exit $left
