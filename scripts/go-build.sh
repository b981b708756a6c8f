#!/usr/bin/env bash
# go build with the flags that all binaries share: a package that was built for one of
# them is not compiled again for the next. The binaries contain no DWARF (-s -w), so the
# compiler writes none (-dwarf=false), which makes a cold build a tenth faster. Stack
# traces don't need it.
#
#   [GO=go] [LDFLAGS="-X main.version=1"] scripts/go-build.sh [-v] -o FILE PACKAGE…
set -euo pipefail
exec "${GO:-go}" build -trimpath -gcflags=all=-dwarf=false -ldflags "-s -w ${LDFLAGS:-}" "$@"
