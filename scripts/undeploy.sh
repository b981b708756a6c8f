#!/usr/bin/env bash
# Removes Pitboss's functions from a namespace. The Broker and the Triggers stay, with
# their undelivered events. So do Redis, Kafka, RabbitMQ, the Secrets, the ConfigMap
# pitboss-serving and the volume with the journal (PersistentVolumeClaim
# pitboss-journal).
#
#   NAMESPACE=pitboss scripts/undeploy.sh
#   NAMESPACE=pitboss BROKER=kafka EVENTS=lose scripts/undeploy.sh
#
# EVENTS=lose removes the Broker and the Triggers, too. A Trigger's position is lost with
# it: its offsets on Kafka, its queue on RabbitMQ. The Triggers of the next deploy begin
# with new events, so what waits now is never delivered.
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=${NAMESPACE:-pitboss} broker=${BROKER:-kafka} events=${EVENTS:-keep}
[[ $events == keep || $events == lose ]] || { echo "undeploy.sh: EVENTS=$events: keep or lose" >&2; exit 1; }
# Functions that send events go first, since nobody would handle theirs any more.
kubectl -n "$namespace" delete ksvc pitboss-ingest pitboss-timer --ignore-not-found
if [[ $events == lose ]]; then
  echo "undeploy.sh: EVENTS=lose: acknowledged events that are not delivered yet, and dead letters that the console has not received, ARE LOST with the Triggers" >&2
  kubectl -n "$namespace" delete trigger -l app.kubernetes.io/part-of=pitboss --ignore-not-found
fi
kubectl -n "$namespace" delete ksvc,cronjob -l app.kubernetes.io/part-of=pitboss --ignore-not-found
if [[ $events == lose ]]; then
  kubectl delete -n "$namespace" -k "broker/$broker" --ignore-not-found
else
  echo "undeploy.sh: the Broker and the Triggers of $namespace stay, with their undelivered events. What is not delivered when the retries end (7 minutes) becomes a dead letter, which is kept. EVENTS=lose removes them, too, and loses those events" >&2
fi
kubectl -n "$namespace" delete serviceaccount,networkpolicy pitboss-journal-write --ignore-not-found
