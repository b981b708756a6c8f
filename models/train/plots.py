"""Plots for the model cards: docs/models/<name>-<plot>.png."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

import data

plt.rcParams |= {"figure.figsize": (5.2, 4.2), "figure.dpi": 110, "axes.grid": True, "grid.alpha": 0.3,
                 "axes.spines.top": False, "axes.spines.right": False}


def _save(fig, name):
    data.DOCS.mkdir(parents=True, exist_ok=True)
    fig.tight_layout()
    fig.savefig(data.DOCS / f"{name}.png", metadata={"Software": None})  # without versions, equal runs write equal files
    plt.close(fig)


def roc(name, title, y, predictions):
    fig, ax = plt.subplots()
    for label, p in predictions.items():
        fpr, tpr, _ = roc_curve(y, p)
        ax.plot(fpr, tpr, label=f"{label} (AUC {roc_auc_score(y, p):.3f})")
    ax.plot([0, 1], [0, 1], "k:", lw=0.8)
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title=f"{name}: ROC, {title}")
    ax.legend(loc="lower right")
    _save(fig, f"{name}-roc")


def calibration(name, title, y, p, bins=10):
    edges = np.quantile(p, np.linspace(0, 1, bins + 1))
    of = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    said = [p[of == b].mean() for b in range(bins) if (of == b).any()]
    was = [y[of == b].mean() for b in range(bins) if (of == b).any()]
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], "k:", lw=0.8)
    ax.plot(said, was, "o-")
    ax.set(xlabel="score (mean of a tenth of the rows)", ylabel="share that came true", title=f"{name}: calibration, {title}")
    _save(fig, f"{name}-calibration")


def importance(name, model, names):
    gain = model.feature_importance("gain")
    order = np.argsort(gain)[-15:]
    fig, ax = plt.subplots()
    ax.barh([names[i] for i in order], gain[order] / gain.sum())
    ax.set(xlabel="share of the total gain", title=f"{name}: what the trees split on")
    _save(fig, f"{name}-features")


def bars(name, title, values):
    """Grouped bars: {series: {metric: value}}."""
    fig, ax = plt.subplots()
    metrics = list(next(iter(values.values())))
    width = 0.8 / len(values)
    for i, (series, v) in enumerate(values.items()):
        b = ax.bar(np.arange(len(metrics)) + i * width, [v[m] for m in metrics], width, label=series)
        ax.bar_label(b, fmt="%.3f", fontsize=7)
    ax.set_xticks(np.arange(len(metrics)) + 0.4 - width / 2, metrics)
    ax.set(title=f"{name}: {title}")
    ax.legend()
    _save(fig, name)
