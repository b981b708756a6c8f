#!/usr/bin/env bash
# Trains every model anew: exports the training sets with the code that serves,
# then fits, measures, plots and writes models/<name>/<version>.
#
#   scripts/train.sh [leave|harm|harm_casino|next_game]...     default: all
#   scripts/train.sh check     tests what trains on a journal (make train-check)
#
# With PITBOSS_JOURNAL, the address of the Redis that serves (and PITBOSS_SEGMENTS,
# the folder of what was written out), it trains `leave`, or the one of `leave` and
# `next_game` that is asked for, on the journal's own decisions instead. A candidate
# that is better than the live version goes into the shadow: into
# models/serving.yaml, or with NAMESPACE set into the cluster's.
#
# Needs Python 3.11 and the data folder (PITBOSS_DATA, default ../shared/data).
# The Python packages, each pinned, go into a virtual environment of their own.
# Equal inputs give equal files: everything is seeded and single runs are
# deterministic.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -z "${PITBOSS_JOURNAL:-}" && "${1:-}" != check ]]; then
  export PITBOSS_DATA=${PITBOSS_DATA:-../shared/data}
  [[ -d "$PITBOSS_DATA" ]] || { echo "train.sh: no data folder at $PITBOSS_DATA (PITBOSS_DATA)" >&2; exit 1; }
  PITBOSS_DATA=$(cd "$PITBOSS_DATA" && pwd)
fi
export PITBOSS_TRAINING_SETS=${PITBOSS_TRAINING_SETS:-$PWD/data}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OPENBLAS_NUM_THREADS=1 PYTHONHASHSEED=0

venv=models/train/.venv
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
if ! cmp -s models/train/requirements.txt "$venv/requirements.txt"; then
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
    { echo "train.sh: the pinned packages are for Python 3.11; set PYTHON" >&2; exit 1; }
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r models/train/requirements.txt
  cp models/train/requirements.txt "$venv/requirements.txt"
fi

if [[ "${1:-}" == check ]]; then
  cd models/train
  exec "$PWD/.venv/bin/python" -W ignore -m unittest renew_test
fi
mkdir -p "$PITBOSS_TRAINING_SETS"
export GOFLAGS=${GOFLAGS:--mod=mod}
if [[ -n "${PITBOSS_JOURNAL:-}" ]]; then
  go run ./broker/local training-set --from-journal --redis "$PITBOSS_JOURNAL" --since "${SINCE:-90d}" --games --out "$PITBOSS_TRAINING_SETS/journal.parquet"
  model=${1:-leave}
  model=${model/_/-}
  version=$("$venv/bin/python" -W ignore models/train/renew.py "$model")
  if [[ -n "${NAMESPACE:-}" ]]; then
    scripts/promote.sh "$model" --shadow "$version"
  else
    go run ./broker/local models shadow "$model" "$version"
  fi
  exit
fi
what=("$@")
[[ ${#what[@]} -gt 0 ]] || what=(leave harm harm_casino next_game)
if [[ " ${what[*]} " == *" leave "* || " ${what[*]} " == *" next_game "* ]]; then
  for recording in bustabit csgo-openings-2023; do
    go run ./broker/local training-set "$PITBOSS_DATA/$recording.csv.gz" --games --out "$PITBOSS_TRAINING_SETS/$recording.parquet"
  done
fi
for model in "${what[@]}"; do
  echo "== $model"
  "$venv/bin/python" -W ignore "models/train/$model.py"
done
