#!/usr/bin/env bash
# The whole test run: what `make test` and CI do.
set -euo pipefail
cd "$(dirname "$0")/.."
ONNXRUNTIME_LIB="$(scripts/onnxruntime.sh)"
export ONNXRUNTIME_LIB
scripts/lint.sh
if command -v npm >/dev/null; then
  scripts/console-ui.sh check
else
  echo "test: no npm here: the committed page is not compared with a fresh build" >&2
fi
go test -race -timeout 15m ./...
# A minute of the system as deployed, a process for each part: every event decided, once.
make --no-print-directory soak FOR=1m RATE=300
