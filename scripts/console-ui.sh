#!/usr/bin/env bash
# Builds the console's page, functions/console/ui/dist, from ui/src.
# Usage: scripts/console-ui.sh          build it
#        scripts/console-ui.sh check    build it and compare with what is committed
set -euo pipefail
cd "$(dirname "$0")/../functions/console/ui"

committed=$(mktemp -d)
trap 'rm -rf "$committed"' EXIT
cp -r dist "$committed/" 2>/dev/null || mkdir "$committed/dist"
npm ci --no-audit --no-fund --loglevel=error
npm run --silent build
if [[ ${1:-} == check ]] && ! diff -rq "$committed/dist" dist; then
  echo "console-ui: dist differs from what src builds: run scripts/console-ui.sh and commit functions/console/ui/dist" >&2
  exit 1
fi
