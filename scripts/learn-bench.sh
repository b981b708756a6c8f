#!/usr/bin/env bash
# Measures learning: regret, coverage of intervals, calibration. docs/learning.md
# explains the figures.
# Usage: scripts/learn-bench.sh [learnbench options]; JSON=FILE writes the figures.
# It also sends the csgo recording through the functions; PITBOSS_RECORDED selects the
# part (later, first or all).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
export PITBOSS_DATA=${PITBOSS_DATA:-$PWD/../shared/data}
bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT
export ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
scripts/go-build.sh -o "$bin/learnbench" ./test/learnbench
"$bin/learnbench" ${JSON:+-json "$JSON"} "$@"
if [[ $# -eq 0 || "$*" == *csgo* ]]; then
  PITBOSS_RECORDED=${PITBOSS_RECORDED:-later} go test ./functions/timer -run TestRecordedDaysInServing -count 1 -timeout 30m -v
fi
