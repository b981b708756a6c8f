#!/usr/bin/env bash
# Knative Serving's queue-proxy, built from its module, in front of ingest: no
# more requests at once than containerConcurrency, and nothing lost when the pod
# is deleted under load. Takes 35 s; needs ports 8022, 9090 and 9091.
#
#   [JSON=FILE] scripts/queueproxy.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
exec go run ./test/drill queueproxy -proxy "$(scripts/queueproxy-bin.sh)" ${JSON:+-json "$JSON"}
