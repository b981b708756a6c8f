#!/usr/bin/env bash
# Replaces every function 20 times under 1,000 events/s and counts what was
# lost, applied twice, or seen as an error by the Broker.
#
#   [JSON=FILE] [RATE=1000] [TIMES=20] scripts/rollout.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB
exec go run ./test/drill rollout ${JSON:+-json "$JSON"} -rate "${RATE:-1000}" -times "${TIMES:-20}"
