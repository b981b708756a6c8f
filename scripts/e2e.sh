#!/usr/bin/env bash
# Tests the console in a real browser (Debian's Chromium), with the whole system behind it.
# Usage: scripts/e2e.sh          run the tests
#        scripts/e2e.sh shots    take the screenshots of docs/images from the console at CONSOLE_URL
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh chromium
if [[ ${1:-} != shots ]]; then
  mkdir -p bin
  scripts/go-build.sh -o bin/pitboss ./broker/local
  ONNXRUNTIME_LIB="$(scripts/onnxruntime.sh)"
  export ONNXRUNTIME_LIB
fi
cd functions/console/e2e
npm ci --no-audit --no-fund --loglevel=error
if [[ ${1:-} == shots ]]; then
  exec node shots.mjs
fi
exec node --test --test-reporter=spec --test-concurrency=1
