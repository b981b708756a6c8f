#!/usr/bin/env bash
# Measures Pitboss, Restate and Kafka Streams on this machine, one after another, with
# one loader, and writes one table into docs/compared.md, which says what is compared.
# The other systems come from npm, Maven Central and Debian's packages, and stay in the
# cache.
#
#   [JSON=FILE] [SYSTEMS="pitboss kafka"] [REPS=3] [D=10s] [PLAYERS=5000] [RATES="250 500 1000"] [COLDS=3] scripts/compare.sh
#   DOCS= scripts/compare.sh     does not write the document
#   SMOKE=1 scripts/compare.sh   checks in seconds, with a low load, that each system works; writes no document
set -euo pipefail
cd "$(dirname "$0")/.."

restate_version=1.7.12
systems=${SYSTEMS:-pitboss pitboss-fsync pitboss-http restate restate-tuned kafka kafka-tuned}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pitboss/peers
bin=$PWD/bin
docs=${DOCS-docs/compared.md}
settings=(-reps "${REPS:-3}" -d "${D:-10s}" -players "${PLAYERS:-5000}" -rates "${RATES:-250 500 1000}" -colds "${COLDS:-3}")
if [[ ${SMOKE:-} ]]; then
  docs=
  settings=(-reps 1 -d "${D:-3s}" -warm 1s -players 200 -rates 20 -kill 20 -colds 1)
fi
say() { echo "compare: $*" >&2; }

say "building Pitboss and the loader"
scripts/deps.sh redis
ONNXRUNTIME_LIB=$(scripts/onnxruntime.sh)
export ONNXRUNTIME_LIB
scripts/go-build.sh -o "$bin/" ./test/benchstate
(cd test/peers && ../../scripts/go-build.sh -o "$bin/" . ./restateapp)

case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
package=@restatedev/restate-server-linux-$arch # only the binary; the package around it reports installations to a third party
restate=$cache/npm-$restate_version/node_modules/$package/bin/restate-server
install_restate() {
  [[ -x $restate ]] && return
  say "installing restate-server $restate_version"
  scripts/deps.sh npm &&
    npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$cache/npm-$restate_version" "$package@$restate_version" >&2
}

streams=$cache/streams-$(cat test/peers/streams/pom.xml test/peers/streams/src/main/java/peers/*.java | sha256sum | cut -c1-16)
install_kafka() {
  scripts/deps.sh java || return
  [[ -e $streams/complete ]] && return
  say "installing Kafka and Kafka Streams"
  mkdir -p "$streams"
  cp -r test/peers/streams/. "$streams"
  scripts/deps.sh maven && (cd "$streams" && mvn -q -B package dependency:copy-dependencies -DoutputDirectory=target >&2) && touch "$streams/complete"
}
# A system that cannot be installed fails when it is started, and its rows stay empty.
if [[ $systems == *restate* ]]; then install_restate || say "restate-server is not there"; fi
if [[ $systems == *kafka* ]]; then install_kafka || say "Kafka is not there"; fi

# Logs and stores are on the cache's disk, since /tmp may be in memory, where fsync costs nothing.
mkdir -p "$cache"
TMPDIR=$(mktemp -d "$cache/run-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
if [[ ! ${SMOKE:-} ]]; then
  say "the machine's limits"
  if "$bin/benchstate" -only limits -seconds 5s -json "$TMPDIR/limits.json" >&2; then settings+=(-limits "$TMPDIR/limits.json"); fi
fi
"$bin/peers" -systems "$systems" "${settings[@]}" -bin "$bin" -restate "$restate" -streams "$streams/target" \
  ${docs:+-docs "$docs"} ${JSON:+-json "$JSON"}
