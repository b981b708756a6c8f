# Pitboss, as its users deploy it: make image, the Secrets of docs/deploy.md, make
# deploy, and a consuming team. Sourced by scripts/cluster.sh.

image() {
  local lib at files=()
  for lib in libstdc++.so.6 libgcc_s.so.1 libc.so.6 libm.so.6 libdl.so.2 librt.so.1 libpthread.so.0 libresolv.so.2; do
    at=$(ldconfig -p | awk -v l="$lib" '$1 == l && !n++ {print $NF}')
    files+=("$at=$at")
  done
  for at in /lib64/ld-linux*.so.* /lib/ld-linux*.so.*; do [[ ! -e $at ]] || break; done # where the kernel looks for the loader
  # In distroless/cc's place, which no registry here has: this machine's libraries.
  "$bin/oci" push "$registry/cc-debian12:nonroot" "${files[@]}" "$at=$at"
  PATH="$bin/func:$PATH" REGISTRY="$registry/team" BASE_IMAGE="$registry/cc-debian12:nonroot" scripts/image.sh func
}

secrets() {
  k create namespace pitboss >>"$run/log/apply"
  manifests "$here/manifests/redis.yaml" | k apply --server-side -f - >>"$run/log/apply"
  secret() { k -n pitboss create secret generic "$@" >>"$run/log/apply"; }
  secret pitboss-redis --from-literal=url=redis://redis:6379
  secret pitboss-ingest-hmac --from-literal=keys='acme 0123456789abcdef0123456789abcdef'
  secret pitboss-console --from-literal=tokens='viewer,operator,compliance vera 0123456789abcdef-vera
viewer,operator,compliance carl 0123456789abcdef-carl'
}

deploy() {
  touch "$run/began"
  PATH="$bin/cli:$PATH" NAMESPACE=pitboss BROKER=$broker METHOD="${METHOD:-kubectl}" inside scripts/deploy.sh
}

consumer() {
  CGO_ENABLED=0 GOFLAGS=-mod=mod go build -trimpath -o "$run/lobby" ./docs/consumer
  "$bin/oci" push -entrypoint /lobby "$registry/lobby:dev" "$run/lobby=/lobby"
  manifests "$here/manifests/consumer.yaml" | k apply --server-side -f - >>"$run/log/apply"
  k apply -n pitboss -f docs/consumer/trigger.yaml >>"$run/log/apply"
  k -n pitboss wait --for=condition=Ready ksvc/lobby trigger/lobby-service-messages --timeout=300s >>"$run/log/apply"
}
