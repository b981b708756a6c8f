#!/usr/bin/env bash
# Measures the whole path: redis-server, the Broker, every function and the
# loader are processes of their own. docs/performance.md explains the figures.
# Usage: scripts/bench.sh [pitboss bench options]; JSON=FILE writes the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB
exec bin/pitboss bench ${JSON:+--json "$JSON"} "$@"
