#!/usr/bin/env bash
# The whole test run: what `make test` and CI do.
set -euo pipefail
cd "$(dirname "$0")/.."
ONNXRUNTIME_LIB="$(scripts/onnxruntime.sh)"
export ONNXRUNTIME_LIB
scripts/lint.sh
go test -race -timeout 15m ./...
