"""Trains a candidate for `leave` or `next-game` on the journal's decisions.

    python renew.py leave|next-game        prints the version that it wrote

`pitboss training-set --from-journal --games` writes the rows. A row has the features of a decision, the games that the player had
opened, and whether the player was gone ten minutes later. The candidate is trained on the first 75 % by time and compared with the live
model on the rest. It is written only if it is better. scripts/train.sh then makes it the shadow, which scores the same events as the live
model; a person decides whether to promote it.

Two biases remain. A row exists only for the moments at which Pitboss decided, not for every round, and the recommendation may have
changed the outcome. For next-game, the next game is that of the player's next decision.
"""

import collections
import json
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
import next_game

LEAST_ROWS = 5000
LEAST_OF_EACH = 300  # rows of players who left, and of players who stayed, in each part


def live(model: str) -> tuple[str, dict, onnx.ModelProto]:
    """The live version of a model, its manifest and its file."""
    version = yaml.safe_load((data.MODELS / "serving.yaml").read_text())[model]["live"]
    folder = data.MODELS / model / version
    return version, yaml.safe_load((folder / "model.yaml").read_text()), onnx.load(folder / "model.onnx")


def next_version(model: str) -> str:
    taken = [int(p.name[1:]) for p in (data.MODELS / model).glob("v*") if p.name[1:].isdigit()]
    return f"v{max(taken) + 1}"


def enough(rows: int) -> None:
    if rows < LEAST_ROWS:
        raise SystemExit(f"renew.py: {rows} decisions with a known outcome, {LEAST_ROWS} are needed")


def better(candidate: float, today: float, version: str, metrics: dict) -> None:
    print(metrics, file=sys.stderr)
    if not candidate > today:
        raise SystemExit(f"renew.py: the candidate is no better than {version}, so it is not written: {metrics}")


def span(t: np.ndarray) -> str:
    began, ended = (pd.Timestamp(s, unit="s").isoformat() for s in (t.min(), t.max()))
    return f"the journal's decisions from {began} to {ended}, first 75 % by time"


def renew_leave(d: pd.DataFrame) -> str:
    d = d[d.gone_10m.notna()].reset_index(drop=True)
    enough(len(d))
    t, y = d.t.to_numpy(), d.gone_10m.to_numpy()
    train, hold = data.split(t, np.ones(len(d), bool))
    for part in (train, hold):
        if min((y[part] == v).sum() for v in (0, 1)) < LEAST_OF_EACH:
            raise SystemExit(f"renew.py: fewer than {LEAST_OF_EACH} who left, or who stayed, in the training rows or the hold-out")
    x = d[leave.INPUTS].to_numpy(np.float32)
    candidate = leave.fit(x[train], y[train])
    p = candidate.predict(x[hold])
    version, manifest, served = live("leave")
    today = export.run_onnx(served, d.loc[hold, manifest["features"]].to_numpy(np.float32)).reshape(-1)
    ours, theirs = ({"auc": round(float(roc_auc_score(y[hold], q)), 4), "log_loss": round(float(log_loss(y[hold], q)), 4)} for q in (p, today))
    metrics = {"online_model": ours, f"live_{version}": theirs, "gone_share": round(float(y[hold].mean()), 4), "hold_out_rows": int(hold.sum())}
    better(-ours["log_loss"], -theirs["log_loss"], version, metrics)
    new = next_version("leave")
    onnx_model = export.lightgbm_to_onnx(candidate)
    metrics["parity_max_difference"] = export.parity(onnx_model, x[hold][:5000], p[:5000])
    export.write(data.MODELS / "leave" / new, onnx_model, {
        "kind": "probability", "output": "leave", "input": "features", "output_tensor": "probability",
        "features": leave.INPUTS,
        "trained": {"on": [span(t)], "rows": int(train.sum()),
                    "feature_set": data.feature_set_hash(), "with": f"lightgbm {lgb.__version__}", "seed": data.SEED},
        "metrics": metrics, "thresholds": manifest.get("thresholds", {}),
        "reference": export.reference(x[train]), "histograms": export.histograms(x[train], leave.INPUTS)},
        leave.golden(candidate, x[hold], np.random.default_rng(data.SEED)))
    return new


def hits(scores: np.ndarray, x, rows, index: dict) -> dict:
    """HR@5 and NDCG@5. A model that knows none of the player's games gives no ranking, which counts as a miss."""
    rank = next_game.ranks(scores, rows, index)
    rank[np.asarray(x.sum(1)).ravel() == 0] = next_game.TOP
    return next_game.gains(rank)


def renew_next_game(d: pd.DataFrame) -> str:
    # Events other than rounds repeat the games of the previous round.
    d = d[(d.event_type == "round.settled") & (d.recent_games != "[]")]
    rows = next_game.histories(d)
    enough(len(rows))
    cut = np.quantile(d.t, data.TRAIN_SHARE)
    train, hold = [r for r in rows if r[2] < cut], [r for r in rows if r[2] >= cut]
    count = collections.Counter(json.loads(games)[0] for games in d.recent_games[d.t < cut])
    items = sorted(game for game, n in count.items() if n >= next_game.MIN_ROUNDS)
    *_, weights, known = next_game.learnt(train, items)
    index = {g: i for i, g in enumerate(items)}
    x = next_game.encode(hold, index)
    version, manifest, served = live("next-game")
    if manifest["history"] != {"length": next_game.LENGTH, "decays": next_game.DECAYS}:
        raise SystemExit(f"renew.py: next-game {version} has another history than next_game.py: {manifest['history']}")
    theirs = {g: i for i, g in enumerate(manifest["items"])}
    before = next_game.encode(hold, theirs)
    metrics = {"hold_out": hits(np.asarray(x @ weights), x, hold, index),
               f"live_{version}": hits(export.run_onnx(served, np.asarray(before.todense())), before, hold, theirs),
               "hold_out_rows": len(hold), "items": len(items)}
    better(metrics["hold_out"]["NDCG@5"], metrics[f"live_{version}"]["NDCG@5"], version, metrics)
    new = next_version("next-game")
    next_game.ship(new, weights, items, x, metrics, span(d.t.to_numpy()), known)
    return new


RENEWED = {"leave": renew_leave, "next-game": renew_next_game}

if __name__ == "__main__":
    print(RENEWED[sys.argv[1]](data.exported("journal")))
