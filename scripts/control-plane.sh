#!/usr/bin/env bash
# Builds a Kubernetes and Knative Eventing control plane from its Go modules into a
# cache folder, and prints the folder. It installs nothing. The first build takes 6
# minutes on 2 cores; later calls take seconds.
#
#   scripts/control-plane.sh
set -euo pipefail
cd "$(dirname "$0")/../test/conformance"

bin=${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/control-plane/$({ grep -E 'k8s.io|knative.dev|etcd' go.mod; cat cmd/*/*.go; sed -n '/^copy()/,$p' "../../scripts/$(basename "$0")"; } | sha256sum | cut -c1-16)
if [[ -e $bin/complete ]]; then
  echo "$bin"
  exit
fi
mkdir -p "$bin"
export GOFLAGS=-mod=mod CGO_ENABLED=0

# Every Knative process serves health probes on port 8080, and the in-memory channel's
# dispatcher serves events there. That works in pods but not on one machine. Copies of
# the two modules give the probes any free port and the dispatcher port 18083. They
# change three constants and nothing else.
copy() { # module, file, sed expression
  local from to
  go mod download "$1"
  from=$(go list -m -f '{{.Dir}}' "$1")
  to=$bin/src/$1
  mkdir -p "$(dirname "$to")"
  cp -r "$from" "$to"
  chmod -R u+w "$to"
  sed -E -i "$3" "$to/$2"
  if cmp -s "$from/$2" "$to/$2"; then
    echo "control-plane.sh: $1/$2 does not have the constant any more" >&2
    exit 1
  fi
}
rm -rf "$bin/src"
copy knative.dev/pkg injection/health_check.go 's/(HealthCheckDefaultPort) = 8080/\1 = 0/'
copy knative.dev/eventing pkg/reconciler/inmemorychannel/dispatcher/controller.go 's/(httpPort +)= 8080/\1= 18083/; s/(httpsPort +)= 8443/\1= 18446/'
cp go.mod "$bin/go.mod"
cp go.sum "$bin/go.sum"
(cd "$bin" && go mod edit -replace "knative.dev/pkg=$bin/src/knative.dev/pkg" -replace "knative.dev/eventing=$bin/src/knative.dev/eventing")

build() {
  echo "control-plane.sh: building $1" >&2
  go build -modfile="$bin/go.mod" -trimpath -ldflags "-s -w ${3:-}" -o "$bin/$1" "$2"
}
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
build etcd go.etcd.io/etcd/server/v3
build kube-apiserver ./cmd/kube-apiserver "-X k8s.io/component-base/version.gitVersion=$kubernetes"
build kube-controller-manager ./cmd/kube-controller-manager "-X k8s.io/component-base/version.gitVersion=$kubernetes"
for cmd in controller webhook mtchannel_broker broker/ingress broker/filter in_memory/channel_controller in_memory/channel_dispatcher; do
  build "knative-$(basename "$cmd")" "knative.dev/eventing/cmd/$cmd"
done
touch "$bin/complete"
echo "$bin"
