"""Trains candidates on a journal that this file makes up: `make train-check` runs it.

It needs the training environment (LightGBM, ONNX Runtime: some 700 MB), so `make test` does not run it.
"""

import contextlib
import io
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import yaml

import data
import export
import leave
import next_game
import renew

GAMES = ["reef", "cove", "dunes", "peak", "moor", "glen"]


def journal(rows: int, leaves) -> pd.DataFrame:
    """Decisions as `pitboss training-set --from-journal --games` writes them. leaves says how likely a player leaves, by gap_last_s."""
    rng = np.random.default_rng(7)
    d = pd.DataFrame({name: rng.random(rows).astype(np.float32) for name in leave.INPUTS})
    d["gap_last_s"] = rng.integers(0, 60, rows).astype(np.float32)
    d["gone_10m"] = (rng.random(rows) < leaves(d.gap_last_s.to_numpy())).astype(float)
    d.loc[d.index % 50 == 0, "gone_10m"] = np.nan  # nobody knows
    d["t"] = 1_800_000_000.0 + np.arange(rows) * 30
    d["player"] = [f"p{i}" for i in rng.integers(0, 200, rows)]
    d["event_type"] = np.where(np.arange(rows) % 10 == 0, "payment.failed", "round.settled")
    games, latest = [], {}
    for player, event in zip(d.player, d.event_type):
        before = latest.get(player, ["reef"])
        if event == "round.settled":  # mostly the next game of the list, sometimes any
            game = GAMES[(GAMES.index(before[0]) + 1) % len(GAMES)] if rng.random() < 0.8 else GAMES[rng.integers(len(GAMES))]
            before = [game] + [g for g in before if g != game]
        latest[player] = before[:8]
        games.append(json.dumps(latest[player]))
    d["recent_games"] = games
    return d


class Renew(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        models, data.MODELS = data.MODELS, Path(scratch.name)
        self.addCleanup(setattr, data, "MODELS", models)
        for name in ("leave", "next-game"):
            shutil.copytree(models / name, data.MODELS / name)
        for name in ("serving.yaml", "features.yaml"):
            shutil.copy(models / name, data.MODELS)
        quiet = contextlib.redirect_stderr(io.StringIO())
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)

    def written(self, model: str) -> list[str]:
        return sorted(p.name for p in (data.MODELS / model).glob("v*"))

    def golden(self, model: str, version: str) -> dict:
        """The manifest of a version, whose file gives what its golden rows say."""
        folder = data.MODELS / model / version
        rows = json.loads((folder / "golden.json").read_text())["rows"]
        got = export.run_onnx(onnx.load(folder / "model.onnx"), np.array([r["input"] for r in rows]))
        np.testing.assert_allclose(got, np.array([r["output"] for r in rows]), atol=2e-5)
        return yaml.safe_load((folder / "model.yaml").read_text())

    def test_leave_that_is_better_is_written(self):
        self.assertEqual(renew.renew_leave(journal(6000, lambda gap: 0.1 + 0.8 * (gap > 30))), "v3")
        m = self.golden("leave", "v3")
        self.assertGreater(m["metrics"]["online_model"]["auc"], 0.85)
        self.assertLess(m["metrics"]["online_model"]["log_loss"], m["metrics"]["live_v1"]["log_loss"])
        self.assertEqual(m["thresholds"], {"likely": 0.5, "very_likely": 0.8})
        self.assertIn("the journal's decisions", m["trained"]["on"][0])

    def test_leave_that_is_no_better_is_not_written(self):
        d = journal(6000, lambda gap: 0.1 + 0.8 * (gap > 30))
        late = d.t > d.t.quantile(data.TRAIN_SHARE)
        d.loc[late, "gone_10m"] = 1 - d.loc[late, "gone_10m"]  # what it learned is the opposite of what comes
        with self.assertRaisesRegex(SystemExit, "no better than v1"):
            renew.renew_leave(d)
        self.assertEqual(self.written("leave"), ["v1", "v2"])

    def test_little_is_not_trained_on(self):
        with self.assertRaisesRegex(SystemExit, "5000 are needed"):
            renew.renew_leave(journal(4000, lambda gap: 0.5 + 0 * gap))
        with self.assertRaisesRegex(SystemExit, "fewer than 300 who left"):
            renew.renew_leave(journal(6000, lambda gap: 0.01 + 0 * gap))
        with self.assertRaisesRegex(SystemExit, "5000 are needed"):
            renew.renew_next_game(journal(4000, lambda gap: 0.5 + 0 * gap))

    def test_next_game_learns_games_that_nobody_knew(self):
        self.assertEqual(renew.renew_next_game(journal(7000, lambda gap: 0.5 + 0 * gap)), "v3")
        m = self.golden("next-game", "v3")
        self.assertEqual(m["items"], sorted(GAMES))
        self.assertEqual(m["metrics"]["live_v2"]["HR@5"], 0)  # it knows none of them
        self.assertGreater(m["metrics"]["hold_out"]["NDCG@5"], 0.85)
        weights = export.run_onnx(onnx.load(data.MODELS / "next-game" / "v3" / "model.onnx"),
                                  np.asarray(next_game.encode([(("reef",), None)], {g: i for i, g in enumerate(m["items"])}).todense()))
        self.assertEqual(m["items"][int(weights.argmax())], "cove")


if __name__ == "__main__":
    unittest.main()
