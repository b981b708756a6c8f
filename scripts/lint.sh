#!/usr/bin/env bash
# Static checks. Each reports what is wrong, where, and what to do.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files '*.go' | xargs gofmt -l)
if [[ -n $unformatted ]]; then
  echo "lint: run gofmt -w on:" >&2
  echo "$unformatted" >&2
  exit 1
fi
go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./... # go vet and staticcheck among others: .golangci.yaml
go run ./broker/lint # Broker, Triggers, func.yaml files, kustomizations
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/pitboss" ./broker/local
"$bin/pitboss" features check
"$bin/pitboss" rules check
"$bin/pitboss" models check
