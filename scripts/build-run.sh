#!/usr/bin/env bash
# Builds bin/pitboss, which is all that `make run` needs, and shows the progress: on
# an empty build cache it takes a minute or two.
#
#   scripts/build-run.sh BINARY VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1 version=$2
go=${GO:-go}
all=$("$go" list -deps ./broker/local | wc -l)
terminal=
if [[ -t 1 ]]; then terminal=1; fi

# With -v go build names each package that it compiles, alone on a line. All other
# output is passed on.
mkdir -p "$(dirname "$binary")"
LDFLAGS="-X main.version=$version" scripts/go-build.sh -v -o "$binary" ./broker/local 2>&1 |
  { # awk may buffer its input and show no progress
    n=0
    while IFS= read -r line; do
      if [[ ! $line =~ ^[A-Za-z0-9._~/-]+$ ]]; then
        echo "$line"
        continue
      fi
      n=$((n + 1))
      if [[ $terminal ]]; then
        printf '\rcompiling: %d packages of at most %d ' "$n" "$all"
      elif ((n % 50 == 0)); then
        echo "compiling: $n packages of at most $all"
      fi
    done
    if [[ $terminal && $n -gt 0 ]]; then echo; fi
  }
