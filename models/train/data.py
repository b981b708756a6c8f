"""Reads the training sets that Pitboss exported and the recorded files beside them."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

MODELS = Path(__file__).resolve().parent.parent
DOCS = MODELS.parent / "docs" / "models"
FOLDER = Path(os.environ.get("PITBOSS_DATA", MODELS.parent.parent / "shared" / "data"))
EXPORTED = Path(os.environ.get("PITBOSS_TRAINING_SETS", MODELS.parent / "data"))
SEED = 20261122
TRAIN_SHARE = 0.75  # of a recording, by time; the rest is the hold-out
LEAVE_WINDOW_S = 600


def exported(recording: str) -> pd.DataFrame:
    """The rows that `pitboss training-set` wrote: the features as served, and the labels."""
    d = pd.read_parquet(EXPORTED / f"{recording}.parquet")
    d["t"] = d.event_time.astype("datetime64[ms, UTC]").astype("int64") / 1000
    return d.sort_values("t", kind="stable").reset_index(drop=True)


def feature_set_hash() -> str:
    return hashlib.sha256((MODELS / "features.yaml").read_bytes()).hexdigest()[:16]


def declared() -> set[str]:
    features = yaml.safe_load((MODELS / "features.yaml").read_text())["features"]
    return {f["name"] for f in features if not f.get("helper")}


def split(t: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the training rows and the hold-out, by time.

    A training row's label must be settled before the hold-out begins.
    """
    cut = np.quantile(t, TRAIN_SHARE)
    return known & (t + LEAVE_WINDOW_S < cut), known & (t >= cut)


def gray() -> pd.DataFrame:
    """Gray et al. 2012, without the players that have no daily data."""
    d = pd.read_csv(FOLDER / "gray2012-train.tsv.gz", sep="\t", na_values=[" "], skipinitialspace=True)
    return d[d.Missing_Daily_Transactions == 0].reset_index(drop=True)


def offline(d: pd.DataFrame) -> pd.DataFrame:
    """Features without limits on memory, computed from each player's own past, for the upper bound of `leave`.

    Needs columns t (s), player, game, stake and win, sorted by t. Nothing here
    is bounded in memory or time, so no online feature could do better with
    the same information. Wall-clock time and other players' rounds are left
    out, because in the csgo recording they show when the recorder paused.
    """
    out = np.zeros((len(d), 10 + 17))
    t, stake, win, game = (d[c].to_numpy() for c in ("t", "stake", "win", "game"))
    for rows in d.groupby("player", sort=False).indices.values():
        out[rows] = _one_player(t[rows].astype(float), stake[rows].astype(float), win[rows].astype(float), game[rows])
    columns = [f"gap{k}" for k in range(1, 11)] + [
        "rounds", "gap_log_mean", "gap_log_sd", "gap_median", "gap_max", "breaks", "session_rounds", "session_s",
        "rounds_per_session", "rounds_1m", "rounds_10m", "rounds_1h", "stake", "net", "stake_ratio", "game_run", "games"]
    frame = pd.DataFrame(out, columns=columns)
    frame["game"] = d.game.astype("category").cat.codes.to_numpy()
    return frame


def _one_player(t, stake, win, game):
    n = len(t)
    gaps = np.diff(t, prepend=np.nan)
    rows = np.empty((n, 27))
    session = run = breaks = 0
    began, kinds, logs = t[0], {}, []
    for i in range(n):
        if i and gaps[i] > LEAVE_WINDOW_S:
            breaks, session, began = breaks + 1, 0, t[i]
        session += 1
        run = run + 1 if i and game[i] == game[i - 1] else 1
        kinds[game[i]] = 1
        if i:
            logs.append(np.log1p(gaps[i]))
        recent = np.full(10, np.nan)
        past = gaps[max(1, i - 9):i + 1][::-1]
        recent[:len(past)] = past
        known = gaps[1:i + 1]
        rows[i, :10] = recent
        rows[i, 10:] = (
            i + 1, np.mean(logs) if logs else np.nan, np.std(logs) if logs else np.nan,
            np.median(known) if i else np.nan, known.max() if i else np.nan, breaks, session, t[i] - began,
            (i + 1) / (breaks + 1), *(i + 1 - np.searchsorted(t[:i + 1], t[i] - w) for w in (60, 600, 3600)),
            stake[i], win[:i + 1].sum() - stake[:i + 1].sum(), stake[i] / max(stake[:i + 1].mean(), 1e-9), run, len(kinds))
    return rows


def recorded(recording: str) -> pd.DataFrame:
    """The recording, in the order of exported()."""
    d = pd.read_csv(FOLDER / f"{recording}.csv.gz")
    if recording == "bustabit":
        d["t"] = pd.to_datetime(d.played_at).dt.tz_localize(None).astype("datetime64[s]").astype("int64")
        d["stake"], d["game"] = d.bet * 100.0, "crash"
        d["win"] = np.where(d.cashed_out.notna(), d.stake + d.profit.fillna(0) * 100, 0.0)
    else:
        d["t"], d["stake"], d["win"], d["game"] = d.unix_seconds, 249.0, 0.0, d["case"]
    return d[["t", "player", "game", "stake", "win"]].sort_values("t", kind="stable").reset_index(drop=True)
