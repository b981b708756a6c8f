#!/usr/bin/env bash
# Makes another version of a model live on a cluster, or rolls back, without a deploy. It
# changes the ConfigMap pitboss-serving, which score watches. The kubelet updates it in
# the instances within about a minute.
#
#   NAMESPACE=pitboss scripts/promote.sh leave v2
#   NAMESPACE=pitboss scripts/promote.sh leave --rollback
#   NAMESPACE=pitboss scripts/promote.sh leave --shadow v3
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $# -eq 2 || $# -eq 3 && $2 == --shadow ]] || { echo "promote.sh: want MODEL VERSION, MODEL --rollback or MODEL --shadow VERSION" >&2; exit 2; }
namespace=${NAMESPACE:-pitboss}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ln -s "$PWD"/models/* "$scratch/" # this checkout's models with the cluster's serving.yaml
serving=$scratch/serving.yaml
rm "$serving"
kubectl -n "$namespace" get configmap pitboss-serving -o 'jsonpath={.data.serving\.yaml}' > "$serving"
if [[ $2 == --rollback ]]; then
  bin/pitboss models --models "$scratch" rollback "$1"
elif [[ $2 == --shadow ]]; then
  bin/pitboss models --models "$scratch" shadow "$1" "$3"
else
  bin/pitboss models --models "$scratch" promote "$1" "$2"
fi
kubectl -n "$namespace" create configmap pitboss-serving --from-file="$serving" --dry-run=client -o yaml | kubectl -n "$namespace" replace -f -
