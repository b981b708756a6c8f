#!/usr/bin/env bash
# Kills every process of Pitboss and of Knative's RabbitMQ Broker under load, and checks
# each acknowledged event and each decision that was due. It builds the Broker's ingress
# and dispatcher first, which takes 3 minutes on 2 cores without a cache.
#
#   [JSON=FILE] [RATE=300] [TIMES=3] scripts/durable.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis rabbitmq
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB ORT_DISABLE_TELEMETRY=1
bin=${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/rabbitmq-broker/$(cat test/durable/{go.mod,main.go} | sha256sum | cut -c1-16)
if [[ ! -e $bin/complete ]]; then
  mkdir -p "$bin"
  broker=knative.dev/eventing-rabbitmq/cmd
  (cd test/durable && GOFLAGS=-mod=mod CGO_ENABLED=0 ../../scripts/go-build.sh -o "$bin/" . $broker/ingress $broker/dispatcher)
  touch "$bin/complete"
fi
scripts/go-build.sh -o bin/ ./test/drill
exec bin/drill durable -rabbit "$bin" ${JSON:+-json "$JSON"} -rate "${RATE:-300}" -times "${TIMES:-3}"
