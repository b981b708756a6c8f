"""harm-casino: P(the player is among those whom a casino called high-risk)."""

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

import cards
import data
import export
import plots
from harm import at_specificity, cross_validate, fit, linear

CENTS = 100.0  # the file does not name the currency; its stakes of 0.25 to 20 are read as major units
LEAST_ROUNDS = 20  # with fewer rounds, the share of the stakes that was lost means little
NAMES = ["rounds_casino", "rounds_per_visit", "stake_sum_casino", "stake_mean_casino", "net_loss_casino", "loss_share_casino"]


def chen() -> pd.DataFrame:
    return pd.read_csv(data.FOLDER / "chen2022-players.csv.gz")


def features(d: pd.DataFrame) -> pd.DataFrame:
    """Chen's columns under the names of the online features that mean the same."""
    stake = d.n_round_total * d.bet_mean * CENTS
    loss = d.total_spent * CENTS
    return pd.DataFrame({
        "rounds_casino": d.n_round_total, "rounds_per_visit": d.n_round_mean, "stake_sum_casino": stake,
        "stake_mean_casino": d.bet_mean * CENTS, "net_loss_casino": loss, "loss_share_casino": (loss / stake.clip(lower=1e-9)).where(stake > 0, 0)})


def boosted(x, y, to, seed):
    return fit(x, y, seed).predict(to)


def strata(d, y, p, threshold) -> dict:
    """Ranking and sensitivity by rounds played, risk group and gender, to show where the model fails."""
    out = {}
    for low, high in ((LEAST_ROUNDS, 100), (100, 1000), (1000, 10000), (10000, 10**9)):
        of = ((d.n_round_total >= low) & (d.n_round_total < high)).to_numpy()
        key = f"{low}_to_{high}_rounds" if high < 10**9 else f"from_{low}_rounds"
        both = 0 < y[of].sum() < of.sum()
        out[f"auc_{key}"] = f"{roc_auc_score(y[of], p[of]):.3f} of {of.sum()} players, {y[of].mean():.0%} high-risk" if both else f"none: {of.sum()} players"
    for risk in ("risk_3", "risk_4", "risk_5"):
        of = d[risk].to_numpy() == 1
        out[f"sensitivity_{risk}"] = round(float((p[of] >= threshold).mean()), 3)
    for gender in ("Female", "Male"):
        of = (d.gender == gender).to_numpy()
        out[f"auc_{gender.lower()}"] = round(float(roc_auc_score(y[of], p[of])), 3)
        out[f"false_alarms_{gender.lower()}"] = round(float((p[of & (y == 0)] >= threshold).mean()), 3)
    return out


def markers(d, y, p, threshold) -> dict:
    """Compares the model with the markers of markers.yaml that these summaries can show.

    These are a net loss of 2,000 in all and a mean session of 200 rounds.
    """
    seen = ((d.total_spent >= 2000) | (d.n_round_mean >= 200)).to_numpy()
    said = p >= threshold
    return {"marker_sensitivity": round(float(seen[y == 1].mean()), 3), "marker_false_alarms": round(float(seen[y == 0].mean()), 3),
            "high_risk_seen_by_both": round(float((seen & said)[y == 1].mean()), 3),
            "high_risk_seen_by_the_marker_alone": round(float((seen & ~said)[y == 1].mean()), 3),
            "high_risk_seen_by_neither": round(float((~seen & ~said)[y == 1].mean()), 3)}


def domain(x: np.ndarray) -> dict:
    """The range of the training data. The model gives no score outside it."""
    ranges = {}
    for i, name in enumerate(NAMES):
        low, high = np.quantile(x[:, i], [0.001, 0.999])
        ranges[name] = {"min": float(LEAST_ROUNDS) if name == "rounds_casino" else float(f"{min(low, 0):.3g}") if low < 0 else 0.0, "max": float(f"{high:.3g}")}
    return {"products": ["casino", "live"], "history": ["rounds_casino"], "ranges": ranges}


def main():
    d = chen()
    d = d[d.n_round_total >= LEAST_ROUNDS].reset_index(drop=True)
    frame, y = features(d), (d.group == "High-Risk").to_numpy(int)
    assert list(frame) == NAMES and not set(NAMES) - data.declared()
    x = frame.to_numpy(np.float32)
    p, aucs = cross_validate(x, y, boosted)
    line, line_aucs = cross_validate(x, y, linear)
    alone, _ = cross_validate(x[:, :1], y, linear, repeats=1)
    sensitivity, threshold = at_specificity(y, p)
    metrics = {
        "auc_5fold": round(float(aucs.mean()), 4), "auc_sd_of_folds": round(float(aucs.std()), 4), "log_loss": round(float(log_loss(y, p)), 4),
        "sensitivity_at_specificity_0.9": round(sensitivity, 4), "linear_auc_5fold": round(float(line_aucs.mean()), 4),
        "auc_of_rounds_alone": round(float(roc_auc_score(y, alone)), 4), "players": len(y), "high_risk_share": round(float(y.mean()), 3),
        **strata(d, y, p, threshold), **markers(d, y, p, threshold)}
    model = fit(x, y)
    onnx_model = export.lightgbm_to_onnx(model)
    metrics["parity_max_difference"] = export.parity(onnx_model, x, model.predict(x))
    rows = x[np.random.default_rng(data.SEED).choice(len(x), export.GOLDEN_ROWS, replace=False)]
    golden = [{"input": [float(v) for v in r], "output": [float(q)]} for r, q in zip(rows, model.predict(rows))]
    export.write(data.MODELS / "harm-casino" / "v1", onnx_model, {
        "kind": "probability", "output": "harm", "input": "features", "output_tensor": "probability", "features": NAMES,
        "domain": domain(x),
        "trained": {"on": ["chen2022-players.csv.gz"], "rows": len(y), "feature_set": data.feature_set_hash(),
                    "with": f"lightgbm {lgb.__version__}", "seed": data.SEED},
        "metrics": metrics, "thresholds": {"elevated": 0.5, "high": round(threshold, 4)},
        "reference": export.reference(x), "histograms": export.histograms(x, NAMES)}, golden)
    plots.roc("harm-casino", "out of fold", y, {"online model": p, "linear": line, "rounds alone": alone})
    plots.calibration("harm-casino", "out of fold", y, p)
    plots.importance("harm-casino", model, NAMES)
    cards.fill("harm-casino", {"chen2022-players": metrics})


if __name__ == "__main__":
    main()
