# Builds what the cluster runs from its Go modules, into the cache: half an hour of
# one core cold, seconds when nothing changed. Sourced by scripts/cluster.sh.

build() {
  scripts/deps.sh redis curl openssl containerd runc cni nftables iptables conntrack busybox iproute2
  mkdir -p "$bin"
  local v
  compile() { (cd "$here" && GOFLAGS="-mod=mod -buildvcs=false" CGO_ENABLED=0 nice go build -p "${BUILD_P:-2}" -trimpath -ldflags "-s -w ${flags:-}" -o "$@"); }
  v=$(cd "$here" && GOFLAGS=-mod=mod go list -m -f '{{.Version}}' k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${v#v}"
  local p=k8s.io/component-base/version
  flags="-X $p.gitVersion=$v -X $p.gitMajor=$major -X $p.gitMinor=$minor -X $p.gitTreeState=clean" compile "$bin/kube" ./kube
  for v in etcd kubelet kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl; do ln -sf kube "$bin/$v"; done
  say "Kubernetes built"
  mkdir -p "$bin/serving" "$bin/eventing" "$bin/func"
  compile "$bin/serving/" knative.dev/serving/cmd/{controller,webhook,activator,autoscaler,queue}
  compile "$bin/eventing/" knative.dev/eventing/cmd/{controller,webhook,mtchannel_broker,broker/ingress,broker/filter,in_memory/channel_controller,in_memory/channel_dispatcher}
  say "Knative built"
  compile "$bin/" ./net ./oci ./pause ./rows
  [[ $ingress != traefik ]] || (here=$here/traefik && compile "$bin/" github.com/traefik/traefik/v3/cmd/traefik)
  [[ $broker != kafka ]] || build_kafka
  (cd test/image && GOFLAGS="-mod=mod -buildvcs=false" nice go build -o "$bin/func/func" ./func) # builds images
  [[ ${METHOD:-kubectl} != func ]] || (cd "$here/func" && GOFLAGS="-mod=mod -buildvcs=false" CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w" -o "$bin/cli/func" .) # deploys
  say "everything built"
}
