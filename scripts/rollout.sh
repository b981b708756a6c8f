#!/usr/bin/env bash
# Replaces every function 20 times under 1,000 events/s, and counts events that were lost
# or applied twice, and errors that the Broker saw.
#
#   [JSON=FILE] [RATE=1000] [TIMES=20] scripts/rollout.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB
scripts/go-build.sh -o bin/ ./test/drill
exec bin/drill rollout ${JSON:+-json "$JSON"} -rate "${RATE:-1000}" -times "${TIMES:-20}"
