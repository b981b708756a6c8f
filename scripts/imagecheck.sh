#!/usr/bin/env bash
# Builds the image, pushes it to a registry of its own, pulls and unpacks it, and
# starts every function out of it: not root, no capabilities, read-only root. It
# runs scripts/image.sh with func's own host builder; see test/image.
# Needs root, for mounts and another user's processes.
#
#   [BASE=IMAGE] scripts/imagecheck.sh
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh redis
[[ $(id -u) -eq 0 ]] || { echo "imagecheck.sh: needs root: it mounts the image read-only and starts its functions as another user" >&2; exit 1; }
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd test/image && GOFLAGS=-mod=mod go build -o "$bin/image" .)
"$bin/image" -root "$PWD" ${BASE:+-base "$BASE"}
