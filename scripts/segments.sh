#!/usr/bin/env bash
# Runs a pitboss command on a cluster beside the volume with the journal's
# segments: decisions that were written out and left Redis are there only. It is
# a Job made of the CronJob that writes them.
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
  kubectl patch --local -f - --type=json -p "[{\"op\":\"replace\",\"path\":\"$at\",\"value\":[$command]}]" -o yaml |
  kubectl -n "$namespace" apply -f - >&2
trap 'kubectl -n "$namespace" delete job "$job" --wait=false >&2' EXIT
kubectl -n "$namespace" logs -f --pod-running-timeout=2m "job/$job"
