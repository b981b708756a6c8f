#!/usr/bin/env bash
# Compares two benchmarks, e.g. the last release's and this one's, with benchstat.
# Usage: scripts/bench-compare.sh OLD.json NEW.json
# Each is a file that `make bench JSON=FILE` wrote, or several of one commit,
# separated by commas. With six or more, benchstat tells differences from noise.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ $# != 2 ]]; then
  echo "usage: scripts/bench-compare.sh OLD.json[,OLD2.json…] NEW.json[,NEW2.json…]" >&2
  exit 2
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
scripts/go-build.sh -o bin/ ./test/bench/pitboss-bench
bin/pitboss-bench format ${1//,/ } >"$dir/old"
bin/pitboss-bench format ${2//,/ } >"$dir/new"
# x/perf has no releases, so this pins a commit.
go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da -ignore commit "$dir/old" "$dir/new"
