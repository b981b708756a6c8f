#!/usr/bin/env bash
# Installs the Debian packages that a target needs and that are missing.
# Usage: scripts/deps.sh NAME... (redis, chromium, curl, openssl, …: the names below)
set -euo pipefail

declare -A command=([redis]=redis-server [chromium]=chromium [prometheus]=prometheus [rabbitmq]=rabbitmq-server [curl]=curl [openssl]=openssl
  [npm]=npm [java]=javac [maven]=mvn [containerd]=containerd [runc]=runc [cni]=/usr/lib/cni/ptp [nftables]=nft [iptables]=iptables [conntrack]=conntrack [busybox]=busybox [iproute2]=ip)
declare -A package=([redis]=redis-server [chromium]=chromium [prometheus]=prometheus [rabbitmq]=rabbitmq-server [curl]=curl [openssl]=openssl
  [npm]=npm [java]=default-jdk-headless [maven]=maven [containerd]=containerd [runc]=runc [cni]=containernetworking-plugins [nftables]=nftables [iptables]=iptables [conntrack]=conntrack
  [busybox]=busybox-static [iproute2]=iproute2)

missing=()
for name in "$@"; do
  if [[ -z ${command[$name]:-} ]]; then
    echo "deps: unknown dependency '$name': want one of ${!command[*]}" >&2
    exit 2
  fi
  PATH="$PATH:/usr/sbin:/sbin" command -v "${command[$name]}" >/dev/null || missing+=("${package[$name]}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

sudo=()
if [[ $(id -u) -ne 0 ]]; then sudo=(sudo); fi
if ! command -v apt-get >/dev/null; then
  echo "deps: install ${missing[*]} with your package manager, then run this again" >&2
  exit 1
fi
echo "deps: installing ${missing[*]}" >&2
# Services of the packages must not start, since tests start their own on free ports.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null && "${sudo[@]}" chmod +x $policy
  trap '"${sudo[@]}" rm -f $policy' EXIT
fi
install() { DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2; }
install || { "${sudo[@]}" apt-get update -qq >&2; install; }
