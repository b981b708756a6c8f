"""Trains a candidate of `leave` on the journal's own decisions.

The rows are what `pitboss training-set --from-journal` wrote: the features that each decision was made on, and whether the player was
gone ten minutes later. The first 75 % by time are trained on; on the rest the candidate and the model that is live are compared. A
candidate that is no better by its log loss is not written. One that is goes into the shadow (scripts/train.sh), where it is compared with
the live one on the same events; a person promotes it, or not.

The rows are of players at the moments at which Pitboss decides, not at every round, and what was recommended to them is in what came.
"""

import sys

import lightgbm as lgb
import numpy as np
import onnx
import pandas as pd
import yaml
from sklearn.metrics import log_loss, roc_auc_score

import data
import export
import leave

LEAST_ROWS = 5000
LEAST_OF_EACH = 300  # rows of players who left, and who stayed, in either part


def rows() -> pd.DataFrame:
    d = data.exported("journal")
    return d[d.gone_10m.notna()].reset_index(drop=True)


def live() -> tuple[str, dict, onnx.ModelProto]:
    """The version of `leave` that serves, its manifest and its file."""
    version = yaml.safe_load((data.MODELS / "serving.yaml").read_text())["leave"]["live"]
    folder = data.MODELS / "leave" / version
    return version, yaml.safe_load((folder / "model.yaml").read_text()), onnx.load(folder / "model.onnx")


def next_version() -> str:
    taken = [int(p.name[1:]) for p in (data.MODELS / "leave").glob("v*") if p.name[1:].isdigit()]
    return f"v{max(taken) + 1}"


def measure(y, p):
    return {"auc": round(float(roc_auc_score(y, p)), 4), "log_loss": round(float(log_loss(y, p)), 4)}


def main() -> str | None:
    d = rows()
    if len(d) < LEAST_ROWS:
        raise SystemExit(f"renew.py: {len(d)} decisions with a known outcome, {LEAST_ROWS} are needed")
    t, y = d.t.to_numpy(), d.gone_10m.to_numpy()
    train, hold = data.split(t, np.ones(len(d), bool))
    for part in (train, hold):
        if min((y[part] == v).sum() for v in (0, 1)) < LEAST_OF_EACH:
            raise SystemExit(f"renew.py: fewer than {LEAST_OF_EACH} who left, or who stayed, in the training rows or the hold-out")
    x = d[leave.INPUTS].to_numpy(np.float32)
    candidate = leave.fit(x[train], y[train])
    p = candidate.predict(x[hold])
    version, manifest, served = live()
    today = export.run_onnx(served, d.loc[hold, manifest["features"]].to_numpy(np.float32)).reshape(-1)
    metrics = {"online_model": measure(y[hold], p), f"live_{version}": measure(y[hold], today),
               "gone_share": round(float(y[hold].mean()), 4), "hold_out_rows": int(hold.sum())}
    print(metrics, file=sys.stderr)
    if not metrics["online_model"]["log_loss"] < metrics[f"live_{version}"]["log_loss"]:
        raise SystemExit(f"renew.py: the candidate is no better than {version}, so it is not written: {metrics}")
    new = next_version()
    onnx_model = export.lightgbm_to_onnx(candidate)
    metrics["parity_max_difference"] = export.parity(onnx_model, x[hold][:5000], p[:5000])
    began, ended = (pd.Timestamp(s, unit="s").isoformat() for s in (t.min(), t.max()))
    export.write(data.MODELS / "leave" / new, onnx_model, {
        "kind": "probability", "output": "leave", "input": "features", "output_tensor": "probability",
        "features": leave.INPUTS,
        "trained": {"on": [f"the journal's decisions from {began} to {ended}, first 75 % by time"], "rows": int(train.sum()),
                    "feature_set": data.feature_set_hash(), "with": f"lightgbm {lgb.__version__}", "seed": data.SEED},
        "metrics": metrics, "thresholds": manifest.get("thresholds", {}),
        "reference": export.reference(x[train]), "histograms": export.histograms(x[train], leave.INPUTS)},
        leave.golden(candidate, x[hold], np.random.default_rng(data.SEED)))
    return new


if __name__ == "__main__":
    print(main())
