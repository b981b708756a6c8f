#!/usr/bin/env bash
# Measures learning: regret, coverage of intervals, calibration. docs/learning.md
# explains the figures.
# Usage: scripts/learn-bench.sh [learnbench options]; JSON=FILE writes the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT
export ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
go build -o "$bin/learnbench" ./test/learnbench
"$bin/learnbench" ${JSON:+-json "$JSON"} "$@"
