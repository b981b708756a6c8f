"""Writes internal/policy/testdata/estimators.json: decision logs and the estimates that numpy computes from them.

    python models/train/estimators.py internal/policy/testdata/estimators.json

The estimates are IPS, SNIPS and DR with 95 % intervals, and the effective sample size. The test of
internal/policy/offpolicy.go compares with them to 1e-12. The logs are seeded; requirements.txt has the packages.
"""

import json
import sys

import numpy as np

rng = np.random.default_rng(20261129)
Z = 1.959963984540054
cases = []
for n in (2, 50, 500):
    log = {
        "Reward": rng.choice([0.0, 1.0, -0.25], size=n, p=[0.6, 0.3, 0.1]),
        "Propensity": rng.uniform(0.05, 0.95, size=n),
        "Target": rng.uniform(0.0, 1.0, size=n),
        "Fitted": rng.uniform(0.0, 1.0, size=n),
        "Direct": rng.uniform(0.0, 1.0, size=n),
    }
    w = log["Target"] / log["Propensity"]

    def mean(x):
        half = Z * np.std(x, ddof=1) / np.sqrt(n)
        return [np.mean(x), np.mean(x) - half, np.mean(x) + half]

    snips = np.sum(w * log["Reward"]) / np.sum(w)
    half = Z * np.sqrt(np.sum((w * (log["Reward"] - snips)) ** 2)) / np.sum(w)
    cases.append({
        "log": [dict(zip(log, map(float, row))) for row in zip(*log.values())],
        "effective": float(np.sum(w) ** 2 / np.sum(w**2)),
        "ips": list(map(float, mean(w * log["Reward"]))),
        "snips": [float(snips), float(snips - half), float(snips + half)],
        "dr": list(map(float, mean(log["Direct"] + w * (log["Reward"] - log["Fitted"])))),
    })
with open(sys.argv[1], "w") as file:
    json.dump(cases, file)
