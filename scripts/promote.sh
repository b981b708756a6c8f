#!/usr/bin/env bash
# Makes another version of a model live on a cluster, or goes back, without a
# deploy: the ConfigMap pitboss-serving is what score looks at. The kubelet brings
# it to the instances within a minute or so.
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
ln -s "$PWD"/models/* "$scratch/" # what this checkout has of the models, and what the cluster has of the lineup
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
