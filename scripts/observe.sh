#!/usr/bin/env bash
# Runs Prometheus (Debian's) beside `make run`: metrics, alerts, exemplars.
# Usage: scripts/observe.sh          run it until Ctrl-C
#        scripts/observe.sh check    check configuration, rules and their tests
# TARGET is the address with /metrics (default 127.0.0.1:8080, the local Broker);
# OBSERVE_ADDR is where Prometheus listens (default 127.0.0.1:9090).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh prometheus

check() {
  promtool check config docs/observability/prometheus.yml
  promtool test rules docs/observability/rules_test.yml
  local alert
  for alert in $(sed -n 's/^ *- alert: //p' docs/observability/rules.yml); do
    [[ -f docs/playbooks/$alert.md ]] || { echo "observe: alert $alert has no playbook docs/playbooks/$alert.md" >&2; return 1; }
    grep -q "alertname: $alert" docs/observability/rules_test.yml || { echo "observe: alert $alert has no test in rules_test.yml" >&2; return 1; }
  done
}
if [[ ${1:-} == check ]]; then
  check
  exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sed "s|127.0.0.1:8080|${TARGET:-127.0.0.1:8080}|" docs/observability/prometheus.yml > "$scratch/prometheus.yml"
cp docs/observability/rules.yml "$scratch/"
echo "Prometheus: http://${OBSERVE_ADDR:-127.0.0.1:9090}/alerts   dashboards for Grafana: docs/observability/dashboards"
prometheus --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/data" --storage.tsdb.retention.time=6h \
  --web.listen-address="${OBSERVE_ADDR:-127.0.0.1:9090}" --enable-feature=exemplar-storage --log.level=warn
