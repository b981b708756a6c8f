#!/usr/bin/env bash
# Compares the one-machine Broker with a real Knative control plane, scenario by
# scenario. It builds the control plane first, which takes about 6 minutes on 2 cores
# without a cache.
#
#   [JSON=FILE] [VERBOSE=1] scripts/conformance.sh
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB ORT_DISABLE_TELEMETRY=1
scripts/go-build.sh -o bin/function ./functions/serve
bin=$(scripts/control-plane.sh)
case ${JSON:-} in '' | /*) json=${JSON:-} ;; *) json=$PWD/$JSON ;; esac
cd test/conformance
GOFLAGS=-mod=mod go build -o "$bin/conformance" .
exec "$bin/conformance" -bin "$bin" ${json:+-json "$json"} ${VERBOSE:+-v}
