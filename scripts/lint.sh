#!/usr/bin/env bash
# Static checks. Each says what is wrong, where, and what to do.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(gofmt -l . | grep -v node_modules || true)
if [[ -n $unformatted ]]; then
  echo "lint: run gofmt -w on:" >&2
  echo "$unformatted" >&2
  exit 1
fi
go vet ./...
go run honnef.co/go/tools/cmd/staticcheck@v0.7.0 ./...
