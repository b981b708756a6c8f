#!/usr/bin/env bash
# Trains every model: exports the training sets with the code that serves, then fits,
# measures, plots and writes models/<name>/<version>.
#
#   scripts/train.sh [leave|harm|harm_casino|next_game]...     default: all
#   scripts/train.sh check     test the training on a journal (make train-check)
#
# With PITBOSS_JOURNAL, the address of the live Redis (and PITBOSS_SEGMENTS, the folder of
# the journal's segments), it trains `leave` or `next_game` (default: leave) on the
# journal's decisions instead. A candidate that is better than the live version becomes a
# shadow in models/serving.yaml, or with NAMESPACE set in the cluster's.
#
# Needs Python 3.11 and the data folder (PITBOSS_DATA, default ../shared/data). The Python
# packages are pinned and go into a virtual environment. Equal inputs give equal files,
# since everything is seeded and runs on one thread.
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
