#!/usr/bin/env bash
# Builds bin/pitboss alone, all that `make run` needs, and shows how far it is:
# on an empty build cache that takes a minute or two.
#
#   scripts/build-run.sh BINARY VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1 version=$2
go=${GO:-go}
all=$("$go" list -deps ./broker/local | wc -l)
terminal=
if [[ -t 1 ]]; then terminal=1; fi

# With -v the compiler names each package that it compiles, alone on a line;
# whatever else it says is passed on.
mkdir -p "$(dirname "$binary")"
"$go" build -v -trimpath -ldflags "-s -w -X main.version=$version" -o "$binary" ./broker/local 2>&1 |
  awk -v all="$all" -v terminal="$terminal" '
    !/^[A-Za-z0-9._~\/-]+$/ { print; fflush(); next }
    { n++ }
    terminal { printf "\rcompiling: %d packages of at most %d ", n, all; fflush(); next }
    n % 50 == 0 { printf "compiling: %d packages of at most %d\n", n, all; fflush() }
    END { if (terminal && n) print "" }'
