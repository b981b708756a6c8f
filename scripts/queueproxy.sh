#!/usr/bin/env bash
# Knative Serving's queue-proxy, built from its module, in front of ingest: no
# more requests at once than containerConcurrency, and nothing lost when the pod
# is deleted under load. Takes 35 s; needs ports 8022, 9090 and 9091.
#
#   [JSON=FILE] scripts/queueproxy.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/queue-proxy/$(grep 'knative.dev/serving ' broker/conformance/go.mod | awk '{print $2}')
if [[ ! -x $bin/queue ]]; then
  mkdir -p "$bin"
  (cd broker/conformance && GOFLAGS=-mod=mod CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$bin/queue" knative.dev/serving/cmd/queue)
fi
exec go run ./broker/drill queueproxy -proxy "$bin/queue" ${JSON:+-json "$JSON"}
