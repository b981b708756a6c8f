# Knative's Kafka Broker, by its module's own manifests, and a Kafka of one node, for
# BROKER=kafka. Sourced by scripts/cluster.sh.

kafka_module() {
  local name=knative.dev/eventing-kafka-broker
  (cd "$here/kafka" && export GOFLAGS=-mod=mod && go mod download "$name" && go list -m -f '{{.Dir}}' "$name")
}

source "$here/kafka/build.sh"

kafka_images() {
  program kafka-controller "$bin/kafka/kafka-controller"
  program webhook-kafka "$bin/kafka/webhook-kafka"
  # A runtime, and the programs that the manifests' commands and probes call.
  jvm() { "$bin/oci" push -libs -entrypoint "/java/bin/java $3" "$registry/$1:dev" "$bin/kafka/java=/java" "$bin/kafka/${2##*/}=$2" /bin/busybox=/bin/{sh,ls,cat}; }
  jvm kafka /server ""
  jvm kafka-receiver /app "-cp @/app/jib-classpath-file dev.knative.eventing.kafka.broker.receiverloom.Main"
  jvm kafka-dispatcher /app "-cp @/app/jib-classpath-file dev.knative.eventing.kafka.broker.dispatcherloom.Main"
}

# kafka_broker applies the module's own manifests: its CRDs, its control plane, and
# the Broker's data plane. Of Channel and Sink it takes the configuration only,
# which the controller reads.
kafka_broker() {
  local module files
  module=$(kafka_module)
  mkdir -p "$run/volume/kafka"
  chmod 777 "$run/volume/kafka"
  manifests "$here"/kafka/{kafka,small}.yaml | k apply --server-side -f - >>"$run/log/apply"
  mapfile -t files < <(find "$module"/control-plane/config/eventing-kafka-broker/100-* -name '*.yaml')
  apply_files "${files[@]}"
  k wait --for=condition=Established crd --all --timeout=60s >>"$run/log/apply"
  mapfile -t files < <(find "$module"/control-plane/config/eventing-kafka-broker/200-* "$module"/data-plane/config/{broker,channel/100-*,sink/100-*} -name '*.yaml')
  apply_files "${files[@]}"
  # Its two defaulting webhooks share one lease, so that of a new installation one
  # would never get its rules, and no Trigger a ConsumerGroup. It runs alone here.
  k -n knative-eventing patch deployment kafka-webhook-eventing --type json \
    -p '[{"op": "add", "path": "/spec/template/spec/containers/0/args", "value": ["--disable-ha"]}]' >>"$run/log/apply"
  # As for the in-memory Broker's parts. Without a limit, a JVM takes a quarter of the machine's memory for its heap.
  k -n knative-eventing set resources deployment kafka-broker-receiver --requests=cpu=500m,memory=450Mi --limits=memory=1Gi >>"$run/log/apply"
}
