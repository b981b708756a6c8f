"""harm: P(the player's history looks like those that ended in an intervention)."""

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cards
import data
import export
import plots

SPORTS, CASINO = ("fixedodds", "liveaction"), ("casino",)
CENTS = 100.0  # Gray has amounts in euros, Pitboss in minor units
PARAMS = dict(objective="binary", num_leaves=15, max_depth=4, learning_rate=0.03, min_data_in_leaf=20,
              feature_fraction_bynode=0.2, bagging_fraction=0.8, bagging_freq=1, lambda_l2=5.0, seed=data.SEED,
              deterministic=True, force_row_wise=True, num_threads=1, verbose=-1)
TREES = 200
REPEATS = 6  # of the cross-validation, each with its own folds and its own seed of the learner


def features(d: pd.DataFrame) -> pd.DataFrame:
    """Gray's columns under the names of the online features that mean the same."""
    out = {}
    for suffix, products in (("total", SPORTS + CASINO), ("sports", SPORTS), ("casino", CASINO)):
        def total(column):
            return sum(d[f"{column}_{p}"].fillna(0) for p in products)

        def widest(column):
            return pd.concat([d[f"{column}_{p}"].fillna(0) for p in products], axis=1).max(axis=1)

        rounds, stake, loss = total("sum_bets"), total("sum_stakes") * CENTS, total("net_loss") * CENTS
        days, span = widest("bettingdays"), widest("duration").clip(lower=1)
        per, days = "" if suffix == "total" else f"_{suffix}", days.clip(lower=1)
        out[f"rounds_{suffix}"] = rounds
        out[f"stake_sum_{suffix}"] = stake
        out[f"net_loss_{suffix}"] = loss
        out[f"loss_share{per}"] = (loss / stake.clip(lower=1e-9)).where(stake > 0, 0)
        out[f"rounds_per_active_day{per}"] = rounds / days
        out[f"stake_per_active_day{per}"] = stake / days
        out[f"loss_per_active_day{per}"] = loss / days
        # Days with a bet in an average month of the player. Gray does not say on which
        # days a player used two products, so the product with the most days counts for all.
        out[f"days{per or '_active'}_30d"] = (days * (30 / span).clip(upper=1)).clip(upper=30).where(rounds > 0, 0)
    return pd.DataFrame(out)


def fit(x, y, seed=data.SEED):
    return lgb.train(PARAMS | {"seed": seed}, lgb.Dataset(x, y, params={"use_missing": False}), TREES)


def linear(x, y, to, seed):
    """The yardstick: logistic regression on signed logarithms."""
    log = lambda v: np.sign(v) * np.log1p(np.abs(v))
    m = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000)).fit(log(x), y)
    return m.predict_proba(log(to))[:, 1]


def cross_validate(x, y, predict, repeats=REPEATS):
    """Out-of-fold predictions of the first repeat, and the AUC of every fold."""
    aucs, first = [], None
    for repeat in range(repeats):
        p = np.zeros(len(y))
        for train, test in StratifiedKFold(5, shuffle=True, random_state=data.SEED + repeat).split(x, y):
            p[test] = predict(x[train], y[train], x[test], data.SEED + repeat)
            aucs.append(roc_auc_score(y[test], p[test]))
        first = p if first is None else first
    return first, np.array(aucs)


def boosted(x, y, to, seed):
    return fit(x, y, seed).predict(to)


def at_specificity(y, p, specificity=0.9):
    fpr, tpr, threshold = roc_curve(y, p)
    i = np.searchsorted(fpr, 1 - specificity, side="right") - 1
    return float(tpr[i]), float(threshold[i])


def span(d):
    """Days from a player's first bet to the last."""
    return pd.concat([d[f"duration_{p}"].fillna(0) for p in SPORTS + CASINO], axis=1).max(axis=1)


def still_playing(d, y, p):
    """AUC among the players that the model meets online.

    Most controls had stopped playing years before the study's interventions; they are left out.
    """
    last = pd.to_datetime(d.First_Deposit_Date) + pd.to_timedelta(span(d), unit="D")
    return {f"auc_of_those_playing_since_{day}": round(float(roc_auc_score(y[last >= day], p[last >= day])), 4)
            for day in ("2008-11-01", "2009-06-01", "2009-12-01")}


def in_play(d):
    """Ten columns about bets during a match, which the event contract does not tell from other bets."""
    rounds, stake, loss = (d[f"{c}_liveaction"].fillna(0) for c in ("sum_bets", "sum_stakes", "net_loss"))
    stake, loss, days = stake * CENTS, loss * CENTS, d.bettingdays_liveaction.fillna(0)
    n, length = days.clip(lower=1), d.duration_liveaction.fillna(0).clip(lower=1)
    share = (loss / stake.clip(lower=1e-9)).where(rounds > 0, 0)
    return np.column_stack([rounds, stake, loss, days, share, rounds / n, stake / n, loss / n, stake / rounds.clip(lower=1),
                            (days / length).where(rounds > 0, 0)])


def left_out(d, x, y):
    """The AUC with each group of columns that the model does not use, to justify leaving them out."""
    country = d.CountryName.where(d.CountryName.map(d.CountryName.value_counts()) > 30, "other")
    first = pd.to_datetime(d.First_Deposit_Date).astype("int64").to_numpy()[:, None] / 1e9
    extra = {"with_in_play_apart": in_play(d), "with_country": pd.get_dummies(country).to_numpy(float), "with_duration": span(d).to_numpy()[:, None],
             "with_date_of_first_deposit": first, "with_date_and_duration": np.hstack([first, span(d).to_numpy()[:, None]])}
    return {k: round(float(cross_validate(np.hstack([x, v]), y, boosted)[1].mean()), 4) for k, v in extra.items()}


def domain(frame) -> dict:
    """The players that it was trained on: those of a bookmaker. Nearly all inputs from casino play are outside the training data."""
    most = {n: {"max": float(f"{frame[n].quantile(0.999):.3g}")} for n in ("rounds_per_active_day", "stake_per_active_day", "stake_sum_total")}
    return {"products": ["sports"], "history": ["rounds_total", "rounds_sports"], "ranges": {"rounds_total": {"min": 5.0}, "rounds_sports": {"min": 1.0}} | most}


def main():
    d = data.gray()
    frame, y = features(d), d.RG_case.to_numpy(int)
    names = list(frame)
    missing = set(names) - data.declared()
    assert not missing, f"features.yaml lacks {missing}"
    x = frame.to_numpy(np.float32)
    p, aucs = cross_validate(x, y, boosted)
    line, line_aucs = cross_validate(x, y, linear)
    repeats = aucs.reshape(-1, 5).mean(axis=1)
    sensitivity, threshold = at_specificity(y, p)
    metrics = {
        "auc_5fold": round(float(aucs.mean()), 4), "auc_of_repeats": f"{repeats.min():.4f} to {repeats.max():.4f}",
        "auc_sd_of_folds": round(float(aucs.std()), 4),
        "log_loss": round(float(log_loss(y, p)), 4), "accuracy": round(float(((p >= 0.5) == y).mean()), 4),
        "sensitivity_at_specificity_0.9": round(sensitivity, 4),
        "linear_auc_5fold": round(float(line_aucs.mean()), 4), "players": len(y),
        **still_playing(d, y, p), **left_out(d, x, y)}
    model = fit(x, y)
    onnx_model = export.lightgbm_to_onnx(model)
    metrics["parity_max_difference"] = export.parity(onnx_model, x, model.predict(x))
    rng = np.random.default_rng(data.SEED)
    rows = x[rng.choice(len(x), export.GOLDEN_ROWS, replace=False)]
    golden = [{"input": [float(v) for v in r], "output": [float(q)]} for r, q in zip(rows, model.predict(rows))]
    export.write(data.MODELS / "harm" / "v3", onnx_model, {
        "kind": "probability", "output": "harm", "input": "features", "output_tensor": "probability", "features": names,
        "domain": domain(frame),
        "trained": {"on": ["gray2012-train.tsv.gz"], "rows": len(y), "feature_set": data.feature_set_hash(),
                    "with": f"lightgbm {lgb.__version__}", "seed": data.SEED},
        "metrics": metrics, "thresholds": {"elevated": 0.5, "high": round(threshold, 4)},
        "reference": export.reference(x), "histograms": export.histograms(x, names)}, golden)
    plots.roc("harm", "out of fold", y, {"online model": p, "linear": line})
    plots.calibration("harm", "out of fold", y, p)
    plots.importance("harm", model, names)
    cards.fill("harm", {"gray2012-train": metrics})


if __name__ == "__main__":
    main()
