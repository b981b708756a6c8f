"""leave: P(no further round within 10 minutes)."""

import lightgbm as lgb
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import cards
import data
import export
import plots

# The inputs are the player's pace and stake. Nothing is ever won in the recording
# whose label is worth learning, so a model with results or streaks as inputs
# would use them as a counter of rounds.
INPUTS = ["rounds_1m", "rounds_10m", "rounds_1h", "rounds_24h", "rounds_total", "gap_mean_s", "gap_1m_s",
        "gap_10s_s", "gap_last_s", "session_rounds", "session_minutes", "visit_rounds", "rounds_per_visit", "games_1h", "days_active_30d", "stake_last"]
RESULTS = ["stake_mean_1h", "stake_ratio", "stake_max_session", "net_10m", "net_1h", "net_24h",
         "session_net", "loss_streak", "win_streak", "loss_share"]
PARAMS = dict(objective="binary", num_leaves=31, max_depth=6, learning_rate=0.05, min_data_in_leaf=50,
              feature_fraction=0.7, bagging_fraction=0.8, bagging_freq=1, lambda_l2=5.0, seed=data.SEED,
              deterministic=True, force_row_wise=True, num_threads=1, verbose=-1)
TREES = 200


def fit(x, y, trees=TREES, **params):
    # use_missing is off because every feature that Pitboss serves is finite, and the exporter refuses splits on missing values.
    return lgb.train(PARAMS | params, lgb.Dataset(x, y, params={"use_missing": params.get("use_missing", False)}), trees)


def measure(y, p):
    return {"auc": round(float(roc_auc_score(y, p)), 4), "log_loss": round(float(log_loss(y, p)), 4)}


def baseline(gap, train, hold, y):
    """Logistic regression on the time since the player's previous round."""
    x = np.column_stack([np.log1p(np.nan_to_num(gap, nan=1e7)), np.log1p(np.nan_to_num(gap, nan=1e7)) ** 2, np.isnan(gap)])
    return LogisticRegression(max_iter=2000).fit(x[train], y[train]).predict_proba(x[hold])[:, 1]


def evaluate(recording, columns):
    """Fits on the first part of a recording and measures on the rest."""
    d, raw = data.exported(recording), data.recorded(recording)
    assert len(d) == len(raw) and (d.t.to_numpy() == raw.t.to_numpy()).all(), "the export was made from another recording"
    known = d.gone_10m.notna().to_numpy()
    y, train_hold = d.gone_10m.fillna(-1).to_numpy(), data.split(d.t.to_numpy(), known)
    train, hold = train_hold
    x = d[columns].to_numpy(np.float32)
    model = fit(x[train], y[train])
    # offline groups by the recording's own player ids. The export has hashes of the same ids.
    past = data.offline(raw)
    unlimited = past.to_numpy()
    bound = fit(unlimited[train], y[train], use_missing=True)
    p = {"online model": model.predict(x[hold]), "upper bound": bound.predict(unlimited[hold]),
         "baseline": baseline(past.gap1.to_numpy(), train, hold, y)}
    metrics = {k.replace(" ", "_"): measure(y[hold], v) for k, v in p.items()}
    if recording.startswith("csgo"):  # the other recording has only one game
        blind = past.drop(columns="game").to_numpy()
        metrics["upper_bound_without_the_game"] = measure(y[hold], fit(blind[train], y[train], use_missing=True).predict(blind[hold]))
    metrics |= {"gone_share": round(float(y[hold].mean()), 4), "train_rows": int(train.sum()), "hold_out_rows": int(hold.sum())}
    return model, x, y, train, hold, p, metrics


def golden(model, x, rng):
    rows = x[rng.choice(len(x), export.GOLDEN_ROWS, replace=False)]
    return [{"input": [float(v) for v in r], "output": [float(p)]} for r, p in zip(rows, model.predict(rows))]


def ship(version, model, x, y, train, hold, metrics, rows):
    rng = np.random.default_rng(data.SEED)
    onnx_model = export.lightgbm_to_onnx(model)
    metrics = metrics | {"parity_max_difference": export.parity(onnx_model, x[hold][:5000], model.predict(x[hold][:5000]))}
    export.write(data.MODELS / "leave" / version, onnx_model, {
        "kind": "probability", "output": "leave", "input": "features", "output_tensor": "probability",
        "features": INPUTS,
        "trained": {"on": ["csgo-openings-2023.csv.gz, first 75 % by time"], "rows": rows,
                    "feature_set": data.feature_set_hash(), "with": f"lightgbm {lgb.__version__}", "seed": data.SEED},
        "metrics": metrics, "thresholds": {"likely": 0.5, "very_likely": 0.8},
        "reference": export.reference(x[train]), "histograms": export.histograms(x[train], INPUTS)}, golden(model, x[hold], rng))


def main():
    missing = set(INPUTS + RESULTS) - data.declared()
    assert not missing, f"features.yaml lacks {missing}"
    results = {}
    model, x, y, train, hold, p, metrics = evaluate("csgo-openings-2023", INPUTS)
    results["csgo-openings-2023"] = metrics
    plots.roc("leave", "csgo hold-out", y[hold], p)
    plots.calibration("leave", "csgo hold-out", y[hold], p["online model"])
    plots.importance("leave", model, INPUTS)
    ship("v1", model, x, y, train, hold, metrics, int(train.sum()))
    # The shadow is a third of the size, to see whether a smaller model is good enough.
    small = fit(x[train], y[train], trees=60, max_depth=4, num_leaves=15, learning_rate=0.1)
    small_metrics = {"online_model": measure(y[hold], small.predict(x[hold])), "hold_out_rows": int(hold.sum())}
    ship("v2", small, x, y, train, hold, small_metrics, int(train.sum()))
    results["csgo-openings-2023, v2 (60 trees)"] = small_metrics
    _, _, yb, _, hb, pb, metrics = evaluate("bustabit", INPUTS + RESULTS)
    results["bustabit (fitted on bustabit, not served)"] = metrics
    plots.roc("leave-bustabit", "bustabit hold-out", yb[hb], pb)
    cards.fill("leave", results)


if __name__ == "__main__":
    main()
