#!/usr/bin/env bash
# Builds Knative Serving's queue-proxy from its module, once, and prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/queue-proxy/$(grep 'knative.dev/serving ' test/conformance/go.mod | awk '{print $2}')
if [[ ! -x $bin/queue ]]; then
  mkdir -p "$bin"
  (cd test/conformance && GOFLAGS=-mod=mod CGO_ENABLED=0 ../../scripts/go-build.sh -o "$bin/queue" knative.dev/serving/cmd/queue) >&2
fi
echo "$bin/queue"
