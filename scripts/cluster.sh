#!/usr/bin/env bash
# Starts a one-node Kubernetes with Knative on this machine, deploys Pitboss on it
# as its users do, and prints what was seen as one table. Needs root on Debian, and
# no container engine; everything comes from Debian's packages and Go modules. The
# cluster is in a network namespace of its own without a way out.
#
#   [METHOD=kubectl|func] [INGRESS=pitboss|traefik] [JSON=FILE] [ROWS="ready story …"] scripts/cluster.sh [PART...]
#
# Parts: build up image secrets deploy consumer rows; all by default, in this
# order. scripts/cluster-down.sh stops it.
cd "$(dirname "$0")/.."
source test/cluster/env.sh
source test/cluster/build.sh
source test/cluster/node.sh
source test/cluster/knative.sh
source test/cluster/pitboss.sh
[[ $(id -u) -eq 0 ]] || die "needs root: it makes network namespaces, cgroups and mounts"

up() {
  [[ ! -e $netns ]] || die "a cluster runs already: scripts/cluster-down.sh"
  mkdir -p "$run/log" "$run/registry" "$state"
  local part free
  # The kubelet evicts every pod when little is left, and the cluster then never becomes ready.
  free=$(df --output=avail -BM "$run" | tail -1 | tr -dc 0-9)
  ((free > 4000)) || die "$run has $free MB free; the cluster needs 4,000 (go clean -cache frees what Go keeps)"
  for part in cgroup network certificates images control_plane runtime kubelet base knative; do
    "$part"
    say "$part"
  done
}
# The rows do not starve beside the load that they make.
rows() { inside nice -n -10 "$bin/rows" -began "$run/began" ${JSON:+-json "$JSON"} ${ROWS:-}; }

for part in ${*:-build up image secrets deploy consumer rows}; do
  [[ " build up image secrets deploy consumer rows " == *" $part "* ]] || die "unknown part $part: build, up, image, secrets, deploy, consumer or rows"
  "$part"
  say "$part"
done
