#!/usr/bin/env bash
# Measures learning: regret, coverage of intervals, calibration. docs/learning.md
# explains the figures.
# Usage: scripts/learn-bench.sh [learnbench options]; JSON=FILE writes the figures.
# The csgo recording is played through the functions besides, as it is served:
# PITBOSS_RECORDED says which part of it (later, first, all).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
export PITBOSS_DATA=${PITBOSS_DATA:-$PWD/../shared/data}
bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT
export ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
go build -o "$bin/learnbench" ./test/learnbench
"$bin/learnbench" ${JSON:+-json "$JSON"} "$@"
if [[ $# -eq 0 || "$*" == *csgo* ]]; then
  PITBOSS_RECORDED=${PITBOSS_RECORDED:-later} go test ./functions/timer -run TestRecordedDaysInServing -count 1 -timeout 30m -v
fi
