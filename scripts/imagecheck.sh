#!/usr/bin/env bash
# Builds the image with scripts/image.sh and func's host builder, pushes it to a registry
# that it starts, pulls and unpacks it, and starts every function from it: not as root,
# without capabilities, with a read-only root. See test/image. It needs root itself to
# mount the image and to run processes as another user.
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
