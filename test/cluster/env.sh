# What the parts of scripts/cluster.sh share. Sourced from the repository's root.
set -euo pipefail
here=test/cluster
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/cluster
bin=$cache/bin # built once
run=$cache/run # the running cluster's state; make cluster-down removes it
group=pitboss-cluster # the cgroup that every process of the cluster is in: pods in kubepods, all else in system, as systemd has it on a node
ns=pitboss-cluster netns=/run/netns/pitboss-cluster
state=/run/pitboss-cluster # sockets, which want short paths
node=pitboss-node ip=10.200.0.1 pods=10.244.0.0/22 services=10.96.0.0/16 dns=10.96.0.10
registry=127.0.0.1:30500
ingress=${INGRESS:-pitboss} # or traefik
broker=${BROKER:-in-memory} # or kafka
export PATH=$bin:$PATH # kubectl: Debian has none of this age
export KUBECONFIG=$run/admin.kubeconfig

inside() { nsenter --net="$netns" -- "$@"; }
k() { inside kubectl "$@"; }
say() { printf 'cluster: %4d s  %s\n' "$SECONDS" "$*" >&2; }
die() { echo "cluster.sh: $*" >&2; exit 1; }

# cgroups: the folders of the cluster's cgroup, one in each hierarchy (v1) or one in all (v2).
cgroups() {
  local h
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup/$group
    return
  fi
  for h in /sys/fs/cgroup/*/; do [[ -e $h/cgroup.procs ]] && echo "$h$group"; done
}

# start NAME COMMAND...: a process of the cluster, in its network and its cgroup.
start() {
  local name=$1 g
  shift
  (
    for g in $(cgroups); do echo $BASHPID >"$g/system/cgroup.procs"; done
    exec nsenter --net="$netns" -- setsid "$@" >"$run/log/$name" 2>&1 </dev/null
  ) &
  disown
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { "$@" >&2 || true; die "$what: not in time; logs are in $run/log"; }
    sleep 0.3
  done
}
