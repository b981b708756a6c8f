"""next-game predicts which game a player opens next from the latest games opened.

A multinomial logistic regression over the last game and the different games
before it. Its prior is a first-order Markov chain that prefers games the player
knows, so without evidence it equals that chain.
"""

import json

import numpy as np
from onnx import helper, numpy_helper
from scipy import sparse
from scipy.optimize import minimize

import cards
import data
import export
import plots

# DECAYS, RETURN and PENALTY were chosen on the last quarter of the training part,
# with models fitted on the first three quarters.
LENGTH, DECAYS = 8, [0.0, 0.8]
RETURN = 3.0         # log-odds that a game the player knows gets in addition, times DECAYS[1]**k for the k-th latest
PENALTY = 3.0        # of the squared distance to the prior's weights
MIN_ROUNDS = 5       # that an item needs in the training part
SMOOTHING = 1.0      # pseudo-counts, spread by popularity, that each row of the chain gets
ITERATIONS = 150
TOP = 5


def histories(d):
    """(recent games, next game, its time, player) of every round that has a predecessor.

    recent_games are those that serving would have sent right after the predecessor.
    """
    last, out = {}, []
    for t, player, games in zip(d.t.to_numpy(), d.player.to_numpy(), d.recent_games.map(json.loads)):
        if player in last:
            out.append((tuple(last[player]), games[0], t, player))
        last[player] = games
    return out


def encode(rows, index):
    """Input rows, as internal/model/ranking.go builds them."""
    i, j, w = [], [], []
    for r, (recent, *_) in enumerate(rows):
        for k, game in enumerate(recent):
            if game not in index:
                continue
            for d, decay in enumerate(DECAYS):
                if decay > 0 or k == 0:
                    i.append(r), j.append(d * len(index) + index[game]), w.append(decay ** k if k else 1.0)
    return sparse.csr_matrix((w, (i, j)), shape=(len(rows), len(DECAYS) * len(index)), dtype=np.float64)


def markov(rows, index):
    """Popularity and the smoothed log-probabilities of the first-order chain."""
    n = len(index)
    popularity, chain = np.zeros(n), np.zeros((n, n))
    for recent, game, *_ in rows:
        if game in index:
            popularity[index[game]] += 1
            if recent[0] in index:
                chain[index[recent[0]], index[game]] += 1
    share = (popularity + 1e-3) / (popularity + 1e-3).sum()
    p = (chain + SMOOTHING * share) / (chain.sum(1, keepdims=True) + SMOOTHING)
    return popularity, np.log(p)


def fit(x, y, prior):
    """Weights [columns, items] that minimise the log-loss plus the penalty for leaving the prior."""
    n, (columns, items) = len(y), prior.shape
    one_hot = sparse.csr_matrix((np.ones(n), (np.arange(n), y)), shape=(n, items))

    def loss(flat):
        delta = flat.reshape(columns, items)
        z = x @ (prior + delta)
        z -= z.max(1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        grad = x.T @ (np.exp(log_p) - one_hot.toarray()) + 2 * PENALTY * delta
        return -log_p[np.arange(n), y].sum() + PENALTY * (delta ** 2).sum(), np.asarray(grad).ravel()

    best = minimize(loss, np.zeros(columns * items), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    return prior + best.x.reshape(columns, items)


def learnt(rows, items):
    """Popularity, the chain's log-probabilities, the weights, and the number of rows that they were learnt from."""
    index = {g: i for i, g in enumerate(items)}
    popularity, chain = markov(rows, index)
    known = [r for r in rows if r[1] in index]
    prior = np.vstack([chain - RETURN * np.eye(len(items)), RETURN * np.eye(len(items))])
    weights = fit(encode(known, index), np.array([index[r[1]] for r in known]), prior)
    return popularity, chain, weights, len(known)


def measure(scores, rows, index):
    """HR@5 and NDCG@5; a game that the training part did not have counts as a miss."""
    return gains(ranks(scores, rows, index))


def gains(rank):
    gain = np.where(rank < TOP, 1 / np.log2(rank + 2.0), 0)
    return {"HR@5": round(float((rank < TOP).mean()), 4), "NDCG@5": round(float(gain.mean()), 4)}


def ranks(scores, rows, index):
    return np.array([int((s > s[index[game]]).sum()) if game in index else TOP for s, (_, game, *_) in zip(scores, rows)])


def lead(scores, others, rows, index, samples=1000):
    """95 % bootstrap intervals of the difference in HR@5 and NDCG@5 between scores and others.

    The bootstrap draws players instead of rows, because the rows of one player are similar.
    """
    a, b = (ranks(s, rows, index) for s in (scores, others))
    gain = lambda r: np.where(r < TOP, 1 / np.log2(r + 2.0), 0)
    ahead = {"HR@5": (a < TOP) * 1.0 - (b < TOP), "NDCG@5": gain(a) - gain(b)}
    rng, out = np.random.default_rng(data.SEED), {}
    players = np.unique([r[3] for r in rows], return_inverse=True)[1]
    weights = np.array([np.bincount(rng.integers(0, players.max() + 1, players.max() + 1), minlength=players.max() + 1)
                        for _ in range(samples)])
    size = np.bincount(players)
    for name, v in ahead.items():
        total = np.bincount(players, weights=v)
        low, high = np.quantile((weights @ total) / (weights @ size), [0.025, 0.975])
        out[name] = f"{low:.4f} to {high:.4f}"
    return out


def to_onnx(weights):
    columns, items = weights.shape
    w = numpy_helper.from_array(weights.astype(np.float32), "weights")
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["logits"]),
             helper.make_node("Softmax", ["logits"], ["scores"], axis=-1)]
    return export._model(nodes, [w], columns, "scores", items)


def ship(version, weights, items, x, metrics, on, rows):
    """Writes a version. Its golden rows are drawn from x."""
    model = to_onnx(weights)
    dense = np.asarray(x[:2000].todense(), np.float32)
    logits = dense.astype(np.float64) @ weights
    want = np.exp(logits - logits.max(1, keepdims=True))
    want /= want.sum(1, keepdims=True)
    metrics["parity_max_difference"] = export.parity(model, dense, want)
    pick = np.random.default_rng(data.SEED).choice(len(dense), 16, replace=False)
    golden = [{"input": [float(v) for v in dense[i]], "output": [float(v) for v in want[i]]} for i in pick]
    export.write(data.MODELS / "next-game" / version, model, {
        "kind": "ranking", "output": "next_game", "input": "features", "output_tensor": "scores",
        "items": items, "history": {"length": LENGTH, "decays": DECAYS},
        "trained": {"on": [on], "rows": rows, "with": "scipy L-BFGS", "seed": data.SEED},
        "metrics": metrics}, golden)


def main():
    d = data.exported("csgo-openings-2023")
    d["game"] = d.recent_games.map(lambda games: json.loads(games)[0])
    rows = histories(d)
    cut = np.quantile(d.t, data.TRAIN_SHARE)
    train, hold = [r for r in rows if r[2] < cut], [r for r in rows if r[2] >= cut]
    games = d.game[d.t < cut].value_counts()
    items = sorted(games[games >= MIN_ROUNDS].index)
    index = {g: i for i, g in enumerate(items)}
    popularity, chain, weights, known = learnt(train, items)

    x = encode(hold, index)
    last = np.array([index.get(r[0][0], -1) for r in hold])
    p = {"model": np.asarray(x @ weights),
         "Markov chain": np.where(last[:, None] >= 0, chain[last], np.log(popularity + 1e-3)[None, :]),
         "popularity": np.tile(popularity, (len(hold), 1))}
    # Pitboss gives no ranking when it knows none of the player's games; here all three use popularity instead.
    blank = np.asarray(x.sum(1)).ravel() == 0
    p["model"][blank] = np.log(popularity + 1e-3)
    only_last = measure(np.asarray(encode([(r[0][:1], *r[1:]) for r in hold], index) @ weights), hold, index)
    gain = lead(p["model"], p["Markov chain"], hold, index)
    moved = np.array([r[0][0] != r[1] for r in hold])
    results = {k: measure(v, hold, index) for k, v in p.items()}
    switch = {k: measure(v[moved], [r for r, m in zip(hold, moved) if m], index) for k, v in p.items()}

    metrics = {"hold_out": results["model"], "given_the_last_game_only": only_last,
               "baseline_markov": results["Markov chain"], "baseline_popularity": results["popularity"],
               "lead_over_markov_95": gain,
               "where_the_game_changes": switch["model"], "where_the_game_changes_markov": switch["Markov chain"],
               "hold_out_rows": len(hold), "items": len(items)}
    ship("v2", weights, items, x, metrics, "csgo-openings-2023.csv.gz, first 75 % by time", known)
    plots.bars("next-game", "hold-out of csgo", results)
    cards.fill("next-game", {"csgo-openings-2023": metrics})


if __name__ == "__main__":
    main()
