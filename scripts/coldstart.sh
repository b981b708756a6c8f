#!/usr/bin/env bash
# Starts profile, score and decide 50 times each and measures the time from exec to
# the first answer.
#
#   [JSON=FILE] [TIMES=50] scripts/coldstart.sh      (needs make build)
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB ORT_DISABLE_TELEMETRY=1
scripts/go-build.sh -o bin/ ./test/drill
exec bin/drill coldstart ${JSON:+-json "$JSON"} -times "${TIMES:-50}"
