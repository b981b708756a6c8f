#!/usr/bin/env bash
# Takes Pitboss's functions out of a namespace. The Broker and the Triggers
# stay, with what is not delivered yet; so do Redis, Kafka, RabbitMQ, the Secrets,
# the ConfigMap pitboss-serving and the volume with the journal
# (PersistentVolumeClaim pitboss-journal).
#
#   NAMESPACE=pitboss scripts/undeploy.sh
#   NAMESPACE=pitboss BROKER=kafka EVENTS=lose scripts/undeploy.sh
#
# EVENTS=lose takes the Broker and the Triggers too. A Trigger's place goes with
# it: its offsets on Kafka, its queue on RabbitMQ. The next deploy's Triggers
# begin with what comes then, so what waits now is never delivered.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=${NAMESPACE:-pitboss} broker=${BROKER:-kafka} events=${EVENTS:-keep}
[[ $events == keep || $events == lose ]] || { echo "undeploy.sh: EVENTS=$events: keep or lose" >&2; exit 1; }
# Who brings events goes first: what is acknowledged from here on, nobody would handle.
kubectl -n "$namespace" delete ksvc pitboss-ingest pitboss-timer --ignore-not-found
if [[ $events == lose ]]; then
  echo "undeploy.sh: EVENTS=lose: events that were acknowledged and not delivered yet, and dead letters that the console has not fetched, ARE LOST with the Triggers" >&2
  kubectl -n "$namespace" delete trigger -l app.kubernetes.io/part-of=pitboss --ignore-not-found
fi
kubectl -n "$namespace" delete ksvc,cronjob -l app.kubernetes.io/part-of=pitboss --ignore-not-found
if [[ $events == lose ]]; then
  kubectl delete -n "$namespace" -k "broker/$broker" --ignore-not-found
else
  echo "undeploy.sh: the Broker and the Triggers of $namespace stay, with what is not delivered yet. What is not delivered when the retries end (7 minutes on Kafka) becomes a dead letter, which is kept. EVENTS=lose takes them too, and loses that" >&2
fi
kubectl -n "$namespace" delete serviceaccount,networkpolicy pitboss-journal-write --ignore-not-found
