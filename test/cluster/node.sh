# The node: network, certificates, control plane, kubelet. Sourced by scripts/cluster.sh.

# A network namespace without a way out: no packet of the cluster leaves this
# machine. Pods hang on routed veth pairs, so that the node's nftables see every
# packet between them.
network() {
  ls /run/netns 2>/dev/null | grep '^cni-' >"$run/netns-before" || true
  ip netns add "$ns"
  inside ip link set lo up
  inside ip link add node0 type bridge
  inside ip addr add "$ip/32" dev node0
  inside ip link set node0 up
  inside ip route add "$services" dev node0 src "$ip" # for the node's own packets, until kube-proxy rewrites them
  inside sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

cgroup() {
  local g
  for g in $(cgroups | sed 's|.*|&\n&/system|'); do
    mkdir -p "$g"
    [[ ! -e $g/cpuset.cpus || -s $g/cpuset.cpus && -n $(cat "$g/cpuset.cpus") ]] || cat "$g/../cpuset.cpus" >"$g/cpuset.cpus"
    [[ ! -e $g/cpuset.mems || -n $(cat "$g/cpuset.mems") ]] || cat "$g/../cpuset.mems" >"$g/cpuset.mems"
  done
  # The control plane runs beside the pods, but users have it on nodes of its own. It gets
  # an eighth of the pods' share when both want the processors: with a half, each pod that
  # started held up the events for some 0.3 s.
  for g in $(cgroups); do
    [[ ! -e $g/system/cpu.shares ]] || echo 256 >"$g/system/cpu.shares"
    [[ ! -e $g/system/cpu.weight ]] || echo 10 >"$g/system/cpu.weight"
  done
}

# certificate NAME SUBJECT EXTENSION, signed by the cluster's own authority.
certificate() {
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 30 -extfile <(echo "$3") 2>/dev/null
}

# client NAME SUBJECT: a certificate and the kubeconfig that uses it.
client() {
  certificate "$1" "$2" extendedKeyUsage=clientAuth
  cat >"$run/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$ip:6443", certificate-authority: $run/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $run/pki/$1.crt, client-key: $run/pki/$1.key}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
END
}

certificates() (
  mkdir -p "$run/pki"
  cd "$run/pki"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=pitboss-cluster 2>/dev/null
  openssl genrsa -out accounts.key 2048 2>/dev/null
  certificate apiserver /CN=kube-apiserver "subjectAltName=IP:$ip,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  client admin /O=system:masters/CN=admin
  client policy /O=system:masters/CN=policy
  client kubelet "/O=system:nodes/CN=system:node:$node"
  for name in kube-proxy kube-scheduler kube-controller-manager; do client $name /CN=system:$name; done
)

control_plane() {
  local p=$run/pki name
  start etcd "$bin/etcd" --data-dir "$run/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  start kube-apiserver "$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address "$ip" \
    --tls-cert-file "$p/apiserver.crt" --tls-private-key-file "$p/apiserver.key" --client-ca-file "$p/ca.crt" \
    --kubelet-client-certificate "$p/admin.crt" --kubelet-client-key "$p/admin.key" --kubelet-preferred-address-types InternalIP \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true --service-cluster-ip-range "$services" \
    --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file "$p/accounts.key" --service-account-key-file "$p/accounts.key" \
    --feature-gates MutatingAdmissionPolicy=true --runtime-config admissionregistration.k8s.io/v1beta1=true
  await 180 "the API server" k get --raw /readyz
  for name in kube-controller-manager kube-scheduler; do
    local more=()
    [[ $name == kube-scheduler ]] || more=(--use-service-account-credentials=true --service-account-private-key-file "$p/accounts.key" --root-ca-file "$p/ca.crt")
    start $name "$bin/$name" --kubeconfig "$run/$name.kubeconfig" --authentication-kubeconfig "$run/$name.kubeconfig" \
      --authorization-kubeconfig "$run/$name.kubeconfig" --leader-elect=false --bind-address 127.0.0.1 "${more[@]}"
  done
}

# Images of what was built here: what pods run is pulled from the registry.
images() {
  start registry "$bin/oci" serve -addr "$registry" -dir "$run/registry" -netns "/proc/$$/ns/net"
  await 20 "the registry" curl -sf "http://$registry/v2/"
  program() { "$bin/oci" push -entrypoint "/$(basename "$2")" "$registry/$1:dev" "$2=/$(basename "$2")"; }
  program pause "$bin/pause"
  program net "$bin/net"
  local name
  for name in controller webhook activator autoscaler queue; do program "serving-$name" "$bin/serving/$name"; done
  for name in controller webhook mtchannel_broker ingress filter channel_controller channel_dispatcher; do program "eventing-$name" "$bin/eventing/$name"; done
  [[ $ingress != traefik ]] || program traefik "$bin/traefik"
  [[ $broker != kafka ]] || kafka_images
  "$bin/oci" push -libs -entrypoint /usr/bin/redis-server "$registry/redis:dev" /usr/bin/redis-server=/usr/bin/redis-server
  "$bin/oci" push -user 0 "$registry/busybox:dev" /bin/busybox=/bin/busybox
}

runtime() {
  mkdir -p "$run/cni"
  cat >"$run/cni/10-pitboss.conflist" <<END
{"cniVersion": "0.4.0", "name": "pitboss", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local",
  "dataDir": "$run/cni-addresses", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
  cat >"$run/containerd.toml" <<END
version = 2
root = "$run/containerd"
state = "$state/containerd"
[grpc]
  address = "$state/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$registry/pause:dev"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$run/cni"
END
  start containerd containerd --config "$run/containerd.toml"
  await 60 containerd ctr -a "$state/containerd.sock" version
}

kubelet() {
  mkdir -p "$run/kubelet"
  : >"$run/resolv.conf" # no name server but the cluster's
  cat >"$run/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $run/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$group
failCgroupV1: false
failSwapOn: false
clusterDNS: [$dns]
clusterDomain: cluster.local
resolvConf: $run/resolv.conf
containerRuntimeEndpoint: unix://$state/containerd.sock
podLogsDir: $run/pod-logs
evictionHard: {memory.available: 200Mi, nodefs.available: 500Mi, imagefs.available: 500Mi}
imageGCHighThresholdPercent: 100
syncFrequency: 10s
END
  start kubelet "$bin/kubelet" --config "$run/kubelet.yaml" --kubeconfig "$run/kubelet.kubeconfig" --root-dir "$run/kubelet" \
    --cert-dir "$run/kubelet/pki" --hostname-override "$node" --node-ip "$ip"
  cat >"$run/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $pods
hostnameOverride: $node
clientConnection: {kubeconfig: $run/kube-proxy.kubeconfig}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {minSyncPeriod: 100ms}
END
  start kube-proxy "$bin/kube-proxy" --config "$run/kube-proxy.yaml"
  await 180 "the node" k wait --for=condition=Ready "node/$node" --timeout=1s
}

# manifests FILE...: one text of them, with this cluster's addresses.
manifests() { awk 'FNR == 1 {print "---"} 1' "$@" | sed -e "s|REGISTRY|$registry|; s|DNS_ADDRESS|$dns|; s|VOLUME|$run/volume|; s|NODE_NAME|$node|"; }

base() {
  mkdir -p "$run/volume/redis"
  chmod 777 "$run/volume" "$run/volume/redis" # pods run as users of their own
  manifests "$here"/manifests/{dns,ingress,"ingress-$ingress",small,storage}.yaml | k apply --server-side -f - >>"$run/log/apply"
  start policy env KUBECONFIG="$run/policy.kubeconfig" "$bin/net" policy
  k -n kube-system rollout status deployment/dns --timeout=180s >>"$run/log/apply"
}
