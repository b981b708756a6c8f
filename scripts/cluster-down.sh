#!/usr/bin/env bash
# Stops the cluster of scripts/cluster.sh and removes its state: processes, pods,
# mounts and network. It keeps the build cache, and reports what it could not remove.
cd "$(dirname "$0")/.."
source test/cluster/env.sh

# members prints the ids of the cluster's processes, including those of its pods.
members() {
  local g
  for g in $(cgroups); do [[ ! -d $g ]] || find "$g" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done | sort -un
}
for ((i = 0; i < 50; i++)); do # some start others while they are being killed
  ids=$(members)
  [[ -n $ids ]] || break
  # shellcheck disable=SC2086
  kill -9 $ids 2>/dev/null || true
  sleep 0.1
done
# A cgroup can be removed once it has no processes and no children, so children go first.
for g in $(cgroups); do [[ ! -d $g ]] || find "$g" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
mounts() { awk -v a="$run/" -v b="$state/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}' /proc/self/mountinfo; }
for ((i = 0; i < 5; i++)); do mounts | sort -r | xargs -r umount -l 2>/dev/null || true; done
if [[ -e $run/netns-before ]]; then # each pod has a namespace, named by the CNI plugins
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
