#!/usr/bin/env bash
# Builds and pushes the image, which holds every function, and writes its digest
# to .func/image, as registry/name@sha256:…
#
#   REGISTRY=registry.example/team [BASE_IMAGE=mirror/cc-debian12:nonroot] scripts/image.sh [func|docker]
#
# func (default) uses func's host builder, without Docker. It needs func v0.50 or later:
#   images of v0.49 are ended by SIGKILL and cannot drain.
# docker builds the Dockerfile with docker or podman.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
umask 022 # another user reads these files in the image
how=${1:-func}
die() { echo "image.sh: $*" >&2; exit 1; }
[[ -n ${REGISTRY:-} ]] || die "REGISTRY is not set, e.g. REGISTRY=registry.example/team"
base=${BASE_IMAGE:-gcr.io/distroless/cc-debian12:nonroot} # glibc and libstdc++, for ONNX Runtime
mkdir -p .func

case $how in
  docker)
    tool=$(command -v docker || command -v podman) || die "neither docker nor podman is here; use scripts/image.sh func"
    tag=$REGISTRY/pitboss:$(git describe --always --dirty)
    "$tool" build -t "$tag" .
    "$tool" push "$tag"
    "$tool" inspect --format '{{index .RepoDigests 0}}' "$tag" > .func/image
    ;;
  func)
    func=$(command -v func || command -v kn-func) || die "the func CLI (v0.50 or later) is not here"
    version=$("$func" version | grep -oE '[0-9]+\.[0-9]+' | head -1)
    [[ ${version#0.} -ge 50 ]] || die "func $version: v0.50 or later is needed (v0.49 images end on SIGKILL)"
    lib=$(scripts/onnxruntime.sh)
    # func gets a copy, since it rewrites func.yaml and leaves files behind. lib/ becomes
    # /func/lib/ in the image.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    chmod 755 "$scratch" # it becomes /func, and only its owner can read a folder of mktemp
    git archive HEAD | tar -x -C "$scratch"
    mkdir -p "$scratch/lib"
    cp "$lib" "$scratch/lib/libonnxruntime.so.1"
    # /func/cli is the command line, for broker/services/journal.yaml.
    (cd "$scratch" && GOFLAGS=-mod=mod CGO_ENABLED=1 scripts/go-build.sh -o cli ./internal/cli/pitboss)
    (cd "$scratch" && GOFLAGS=-mod=mod FUNC_GO="$root/scripts/go-cgo" "$func" build --path . --builder host --registry "$REGISTRY" \
      --base-image "$base" --push)
    cp "$scratch/.func/built-image" .func/image
    ;;
  *) die "unknown builder $how: func or docker" ;;
esac
cat .func/image
