#!/usr/bin/env bash
# Measures player state: redis-server, the profile function and a load
# generator share this machine. docs/state.md explains the figures.
# Usage: scripts/bench-state.sh [benchstate options]; JSON=FILE writes the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT
scripts/go-build.sh -o "$bin/benchstate" ./test/benchstate
"$bin/benchstate" ${JSON:+-json "$JSON"} "$@"
