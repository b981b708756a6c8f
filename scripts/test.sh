#!/usr/bin/env bash
# Runs all tests, for `make test` and CI.
set -euo pipefail
cd "$(dirname "$0")/.."
ONNXRUNTIME_LIB="$(scripts/onnxruntime.sh)"
export ONNXRUNTIME_LIB
scripts/lint.sh
if command -v npm >/dev/null; then
  scripts/console-ui.sh check
else
  echo "test: npm is not installed, so the committed page is not compared with a fresh build" >&2
fi
go test -race -timeout 15m ./...
# Runs the system for a minute as it is deployed, with a process for each part: every
# event must lead to one decision.
make --no-print-directory soak FOR=1m RATE=300
