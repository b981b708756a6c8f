#!/usr/bin/env bash
# Runs Knative Serving's queue-proxy, built from its module, in front of ingest. It
# checks that no more requests than containerConcurrency get through at once, and that
# nothing is lost when the pod is deleted under load. Takes 35 s; needs the ports 8022,
# 9090 and 9091.
#
#   [JSON=FILE] scripts/queueproxy.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/go-build.sh -o bin/ ./test/drill
exec bin/drill queueproxy -proxy "$(scripts/queueproxy-bin.sh)" ${JSON:+-json "$JSON"}
