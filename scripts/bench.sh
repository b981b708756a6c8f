#!/usr/bin/env bash
# Measures the whole path: redis-server, the Broker, every function and the
# loader are processes of their own. docs/performance.md explains the figures.
# Usage: scripts/bench.sh [pitboss-bench options]; JSON=FILE writes the figures,
# PLOTS=FOLDER draws them. scripts/bench.sh soak … is a long run.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB
scripts/go-build.sh -o bin/ ./test/bench/pitboss-bench
if [[ ${1:-} == soak ]]; then
  shift
  exec bin/pitboss-bench soak ${JSON:+--json "$JSON"} "$@"
fi
scripts/go-build.sh -o bin/ ./test/benchstate ./test/drill
proxy=$(scripts/queueproxy-bin.sh)
exec bin/pitboss-bench ${JSON:+--json "$JSON"} ${PLOTS:+--plots "$PLOTS"} --queue-proxy "$proxy" "$@"
