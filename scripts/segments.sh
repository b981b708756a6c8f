#!/usr/bin/env bash
# Runs a pitboss command on a cluster with the volume of the journal's segments mounted.
# Decisions that were written out of Redis are only there. It runs as a Job made from the
# CronJob that writes them.
#
#   NAMESPACE=pitboss scripts/segments.sh explain --player alice --until 2026-01-02T14:02:59Z
#   NAMESPACE=pitboss scripts/segments.sh journal verify
set -euo pipefail
[[ $# -gt 0 ]] || { echo "segments.sh: want a pitboss command, such as: explain DECISION" >&2; exit 2; }
namespace=${NAMESPACE:-pitboss} job=pitboss-segments-$RANDOM
command=
for word in /func/cli "$@" --segments /journal; do
  word=${word//\\/\\\\}
  command+=${command:+,}\"${word//\"/\\\"}\"
done
at=/spec/template/spec/containers/0/command
kubectl -n "$namespace" create job "$job" --from=cronjob/pitboss-journal-write --dry-run=client -o yaml |
  kubectl patch --local -f - --type=json -o yaml \
    -p "[{\"op\":\"replace\",\"path\":\"$at\",\"value\":[$command]},{\"op\":\"add\",\"path\":\"/spec/backoffLimit\",\"value\":0}]" |
  kubectl -n "$namespace" apply -f - >&2
trap 'kubectl -n "$namespace" delete job "$job" --wait=false >&2' EXIT

# pod PATH prints a field of the pod's status; nothing while there is no pod.
pod() { kubectl -n "$namespace" get pods -l "job-name=$job" -o "jsonpath={.items[*].status.$1}"; }
# phase WORD... waits until the pod is in one of these phases. kubectl logs fails while
# the container is being created, and an image or a volume may delay that.
phase() {
  local now
  for ((i = 0; i < 600; i++)); do
    now=$(pod phase)
    [[ -n $now && " $* " == *" $now "* ]] && return
    sleep 0.2
  done
  echo "segments.sh: the pod of $job is ${now:-not there} after 2 minutes: $(pod 'containerStatuses[*].state.waiting.reason')" >&2
  return 1
}
phase Running Succeeded Failed
kubectl -n "$namespace" logs -f "job/$job"
phase Succeeded Failed
[[ $(pod phase) == Succeeded ]] || { echo "segments.sh: the command failed" >&2; exit 1; }
