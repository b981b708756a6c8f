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
# The image is the one that scripts/image.sh built. These Secrets must exist:
# pitboss-redis (key url), pitboss-ingest-hmac (key keys) and pitboss-console (key
# tokens); see docs/deploy.md. The first deploy makes the ConfigMap pitboss-serving,
# which names the live models, from models/serving.yaml. Later deploys leave it alone;
# scripts/promote.sh changes it.
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

ours=app.kubernetes.io/part-of=pitboss # so that it leaves other teams' Triggers alone
applied=$(kubectl apply --server-side -n "$namespace" -k "broker/$broker")
echo "$applied"
# func can't deploy the journal's CronJob, so that comes from broker/services either way.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
services=$scratch/broker-services
cp -r broker/services "$services"
[[ $method == kubectl ]] || sed -i '/services.yaml/d' "$services/kustomization.yaml"
printf 'images:\n  - name: pitboss\n    newName: %s\n    digest: %s\n' "$(cut -d@ -f1 .func/image)" "$(cut -d@ -f2 .func/image)" >> "$services/kustomization.yaml"
# The SinkBinding's webhook puts K_SINK into the Services and so owns that field. It
# does so again in this request, so force loses nothing.
kubectl apply --server-side --force-conflicts -n "$namespace" -k "$services"
if [[ $method == func ]]; then
  for file in functions/*/func.yaml; do
    name=$(basename "$(dirname "$file")")
    [[ -z ${FUNCTIONS:-} || " $FUNCTIONS " == *" $name "* ]] || continue
    mkdir "$scratch/$name" # a copy, since func rewrites func.yaml
    cp "$file" "$scratch/$name/func.yaml"
    # With a digest func needs both flags, or it builds or pushes again.
    "$func" deploy --path "$scratch/$name" --image "$(cat .func/image)" --build=false --push=false -n "$namespace"
  done
fi
if ! kubectl -n "$namespace" wait --for=condition=Ready --timeout=180s broker,trigger,ksvc -l "$ours"; then
  [[ $broker != kafka ]] || echo "deploy.sh: if Triggers stay not ready although their Services are, restart Kafka's controller (docs/broker.md): kubectl -n knative-eventing rollout restart deployment kafka-controller" >&2
  die "not everything is ready after 180 s: kubectl -n $namespace get broker,trigger,ksvc"
fi

# Old Triggers are not deleted here, since their undelivered events would be lost. Until
# they are, an event may be delivered twice, which functions recognise.
old=$(kubectl -n "$namespace" get trigger -l "$ours" -o name | grep -vxF "$(cut -d' ' -f1 <<<"$applied")" || true)
[[ -z $old ]] || echo "deploy.sh: new Triggers replace these of an earlier version; delete each of them once it has delivered everything (docs/broker.md): kubectl -n $namespace delete" $old >&2
