#!/usr/bin/env bash
# Deploys Pitboss into a namespace: the Broker and its surroundings, then every
# function.
#
#   NAMESPACE=pitboss BROKER=kafka scripts/deploy.sh
#
# BROKER   kafka (default), rabbitmq or in-memory: the overlay under broker/
# METHOD   func (default): kn func deploy, function by function
#          kubectl: broker/services, the same Services with a read-only root
# FUNCTIONS  which functions (METHOD=func); default: all
#
# The image is that of scripts/image.sh. Secrets pitboss-redis (key url) and, for
# ingest, pitboss-ingest-hmac (key keys), for the console pitboss-console (key
# tokens) must exist: docs/deploy.md. The ConfigMap pitboss-serving, which says
# what models are live, is made from models/serving.yaml the first time and then
# left as it is: scripts/promote.sh changes it.
set -euo pipefail
cd "$(dirname "$0")/.."
die() { echo "deploy.sh: $*" >&2; exit 1; }
namespace=${NAMESPACE:-pitboss} broker=${BROKER:-kafka} method=${METHOD:-func}
[[ -d broker/$broker && -f broker/$broker/kustomization.yaml ]] || die "BROKER=$broker: kafka, rabbitmq or in-memory"
[[ $method == func || $method == kubectl ]] || die "METHOD=$method: func or kubectl"
[[ $method == kubectl ]] || func=$(command -v func || command -v kn-func) || die "the func CLI (v0.50 or later) is not here; or METHOD=kubectl"
[[ -s .func/image ]] || die "no image yet: run make image"
go run ./broker/lint
for secret in pitboss-redis pitboss-ingest-hmac pitboss-console; do
  kubectl -n "$namespace" get secret "$secret" >/dev/null || die "the Secret $secret is not in $namespace: see docs/deploy.md"
done
kubectl -n "$namespace" get configmap pitboss-serving >/dev/null 2>&1 ||
  kubectl -n "$namespace" create configmap pitboss-serving --from-file=models/serving.yaml

ours=app.kubernetes.io/part-of=pitboss # another team's Triggers are its own business
applied=$(kubectl apply --server-side -n "$namespace" -k "broker/$broker")
echo "$applied"
# What func can't deploy, the journal's schedule, comes from broker/services either way.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
services=$scratch/broker-services
cp -r broker/services "$services"
[[ $method == kubectl ]] || sed -i '/services.yaml/d' "$services/kustomization.yaml"
printf 'images:\n  - name: pitboss\n    newName: %s\n    digest: %s\n' "$(cut -d@ -f1 .func/image)" "$(cut -d@ -f2 .func/image)" >> "$services/kustomization.yaml"
# The SinkBinding's webhook puts K_SINK into the Services and so owns part of
# them; it does so again within this request, so nothing is lost by force.
kubectl apply --server-side --force-conflicts -n "$namespace" -k "$services"
if [[ $method == func ]]; then
  for file in functions/*/func.yaml; do
    name=$(basename "$(dirname "$file")")
    [[ -z ${FUNCTIONS:-} || " $FUNCTIONS " == *" $name "* ]] || continue
    mkdir "$scratch/$name" # func rewrites the func.yaml it is given
    cp "$file" "$scratch/$name/func.yaml"
    # A digest needs both flags: else func builds, or pushes, again.
    "$func" deploy --path "$scratch/$name" --image "$(cat .func/image)" --build=false --push=false -n "$namespace"
  done
fi
kubectl -n "$namespace" wait --for=condition=Ready --timeout=180s broker,trigger,ksvc -l "$ours"

# Not deleted here: what a Trigger has not delivered yet goes with it. Until then
# an event may come twice, which the functions recognise.
old=$(kubectl -n "$namespace" get trigger -l "$ours" -o name | grep -vxF "$(cut -d' ' -f1 <<<"$applied")" || true)
[[ -z $old ]] || echo "deploy.sh: Triggers of an earlier version, which new ones replace; once nothing waits in them, delete them one by one (docs/broker.md): kubectl -n $namespace delete" $old >&2
