#!/usr/bin/env bash
# Starts a one-node Kubernetes with Knative on this machine, deploys Pitboss on it
# as users do, and prints the results as one table. It needs root on Debian but no
# container engine: everything comes from Debian's packages and Go modules. The
# cluster runs in its own network namespace, which has no route out.
#
#   [METHOD=kubectl|func] [INGRESS=pitboss|traefik] [BROKER=in-memory|kafka] [JSON=FILE] [ROWS="ready story …"] scripts/cluster.sh [PART...]
#
# Parts: build up image secrets deploy consumer rows. Without PART it runs all of
# them in this order. scripts/cluster-down.sh stops the cluster.
cd "$(dirname "$0")/.."
source test/cluster/env.sh
source test/cluster/build.sh
source test/cluster/node.sh
source test/cluster/knative.sh
source test/cluster/kafka/kafka.sh
source test/cluster/pitboss.sh
[[ $broker == in-memory || $broker == kafka ]] || die "BROKER=$broker: in-memory or kafka"
[[ $(id -u) -eq 0 ]] || die "needs root: it makes network namespaces, cgroups and mounts"

up() {
  [[ ! -e $netns ]] || die "a cluster runs already: scripts/cluster-down.sh"
  mkdir -p "$run/log" "$run/registry" "$state"
  local part free
  # With little space left the kubelet evicts every pod, and the cluster never becomes ready.
  free=$(df --output=avail -BM "$run" | tail -1 | tr -dc 0-9)
  ((free > 4000)) || die "$run has $free MB free; the cluster needs 4,000 (go clean -cache frees what Go keeps)"
  for part in cgroup network certificates images control_plane runtime kubelet base knative; do
    "$part"
    say "$part"
  done
}
# A higher priority keeps the rig running under the load that it makes.
rows() { inside nice -n -10 "$bin/rows" -began "$run/began" ${JSON:+-json "$JSON"} ${ROWS:-}; }

for part in ${*:-build up image secrets deploy consumer rows}; do
  [[ " build up image secrets deploy consumer rows " == *" $part "* ]] || die "unknown part $part: build, up, image, secrets, deploy, consumer or rows"
  "$part"
  say "$part"
done
