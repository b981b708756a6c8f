# Knative Serving and Eventing from their modules' own manifests, with the images
# built here. Sourced by scripts/cluster.sh.

module() { (cd "$here" && GOFLAGS=-mod=mod go list -m -f '{{.Dir}}' "knative.dev/$1"); }

# apply_files FILE...: with this cluster's images for ko's import paths.
apply_files() {
  awk 'FNR == 1 {print "---"} 1' "$@" |
    sed -E "s#ko://knative.dev/(serving|eventing)/cmd/(broker/|in_memory/)?([a-z_]+)#$registry/\1-\3:dev#
      s#ko://knative.dev/eventing-kafka-broker/control-plane/cmd/([a-z-]+)#$registry/\1:dev#
      s#\\$\\{KNATIVE_KAFKA_(RECEIVER|DISPATCHER)_IMAGE\\}#$registry/kafka-\L\1:dev#" |
    k apply --server-side --force-conflicts -f - >>"$run/log/apply"
}

knative() {
  local serving eventing networking caching n d files channels=()
  serving=$(module serving) eventing=$(module eventing) networking=$(module networking) caching=$(module caching)
  for n in knative-serving knative-eventing; do k create namespace $n >>"$run/log/apply"; done
  mapfile -t files < <(find "$serving/config/core/300-resources" "$networking/config" "$caching/config" "$eventing/config/core/resources" \
    "$eventing/config/channels/in-memory-channel/resources" -name '*.yaml' ! -name 'config-*')
  apply_files "${files[@]}"
  k wait --for=condition=Established crd --all --timeout=60s >>"$run/log/apply"
  mapfile -t files < <(find "$serving/config/core" -name '*.yaml' ! -path '*/300-resources/*' ! -name '*hpa*' ! -name certmanager.yaml ! -name 300-knativecertificate.yaml)
  apply_files "${files[@]}" "$networking/config/config-network.yaml"
  n=(k -n knative-serving patch configmap --type merge)
  "${n[@]}" config-network -p "{\"data\": {\"ingress-class\": \"$ingress.ingress.networking.knative.dev\"}}" >>"$run/log/apply"
  "${n[@]}" config-domain -p '{"data": {"pitboss.test": ""}}' >>"$run/log/apply"
  "${n[@]}" config-deployment -p "{\"data\": {\"registries-skipping-tag-resolving\": \"$registry\"}}" >>"$run/log/apply"
  [[ $broker != in-memory ]] || channels=("$eventing"/config/{channels/in-memory-channel,brokers/mt-channel-broker})
  mapfile -t files < <(find "$eventing/config/core" "${channels[@]}" \
    "$eventing/third_party/eventing-integrations-latest" -name '*.yaml' ! -path '*/resources/*' ! -name '*hpa*' ! -name request-reply.yaml \
    ! -name job-sink.yaml ! -name pingsource-mt-adapter.yaml)
  apply_files "${files[@]}"
  # What every event passes asks for CPU in proportion to what it uses (docs/sizing.md).
  # The manifests ask for nothing for the Channel's dispatcher and controller, which are
  # then the first to starve.
  if [[ $broker == in-memory ]]; then
    k -n knative-eventing set resources deployment imc-dispatcher mt-broker-filter --requests=cpu=2 >>"$run/log/apply"
    k -n knative-eventing set resources deployment mt-broker-ingress --requests=cpu=1 >>"$run/log/apply"
    k -n knative-eventing set resources deployment imc-controller --requests=cpu=100m >>"$run/log/apply"
  else
    kafka_broker
  fi
  k -n knative-serving set resources deployment activator -c activator --requests=cpu=500m >>"$run/log/apply"
  for n in kourier-system knative-serving knative-eventing $([[ $broker != kafka ]] || echo kafka); do
    for d in $(k -n $n get deployment -o name); do k -n $n rollout status "$d" --timeout=600s >>"$run/log/apply"; done
    say "$n is up"
  done
}
