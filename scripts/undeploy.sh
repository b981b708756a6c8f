#!/usr/bin/env bash
# Takes Pitboss out of a namespace. Redis, Kafka, RabbitMQ, the Secrets, the
# ConfigMap pitboss-serving and the volume with the journal
# (PersistentVolumeClaim pitboss-journal) stay.
#
#   NAMESPACE=pitboss BROKER=kafka scripts/undeploy.sh
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=${NAMESPACE:-pitboss} broker=${BROKER:-kafka}
# Triggers first, so that the Broker keeps what is not delivered yet while the
# functions finish what they have.
kubectl -n "$namespace" delete trigger -l app.kubernetes.io/part-of=pitboss --ignore-not-found
kubectl -n "$namespace" delete ksvc,cronjob -l app.kubernetes.io/part-of=pitboss --ignore-not-found
kubectl delete -n "$namespace" -k "broker/$broker" --ignore-not-found
kubectl -n "$namespace" delete serviceaccount,networkpolicy pitboss-journal-write --ignore-not-found
