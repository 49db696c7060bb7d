"""How well scores rank and separate frauds: as a whole, at thresholds, and for groups of transactions.

Rates are 0 to 1. A confidence interval is Wilson's of 95 % (Wilson, 1927), which holds for small counts too; it takes rows as
independent, which the transactions of one card are not, so read it as the least there is to doubt.
"""

import math

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from training.errors import Wrong

FALSE_POSITIVE_RATES = (0.001, 0.01)
GROUPS_MAX = 20
GROUP_ROWS_MIN = 100
"""A group with fewer rows is counted with the other small ones."""
OTHERS = "(others)"
NORMAL_QUANTILE = 1.959963984540054


def wilson(part, whole):
    """[low, high] of the share part / whole; None for nothing of nothing."""
    if not whole:
        return None
    share, square = part / whole, NORMAL_QUANTILE**2
    centre = (share + square / (2 * whole)) / (1 + square / whole)
    half = NORMAL_QUANTILE / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole**2))
    return [max(0.0, centre - half), min(1.0, centre + half)]


def threshold_at(labels, scores, rate):
    """The lowest score such that of the legitimate rows at most `rate` score as high; None when there is none."""
    legitimate = np.sort(scores[labels == 0])[::-1]
    allowed = int(math.floor(rate * len(legitimate) + 1e-9))
    candidates = np.unique(scores)
    if allowed < len(legitimate):
        candidates = candidates[candidates > legitimate[allowed]]
    return float(candidates[0]) if len(candidates) else None


def at_threshold(labels, scores, threshold):
    """What stopping every row from that score on does."""
    frauds, legitimate = int((labels == 1).sum()), int((labels == 0).sum())
    if threshold is None:
        alerts = caught = 0
    else:
        stopped = scores >= np.float32(threshold)
        alerts, caught = int(stopped.sum()), int((stopped & (labels == 1)).sum())
    return {
        "threshold": threshold,
        "recall": caught / frauds if frauds else None,
        "recall_95": wilson(caught, frauds),
        "precision": caught / alerts if alerts else None,
        "false_positive_rate": (alerts - caught) / legitimate if legitimate else None,
        "false_positive_rate_95": wilson(alerts - caught, legitimate),
        "alerts": alerts,
        "frauds_caught": caught,
    }


def ranking(labels, scores):
    """What does not depend on a threshold; None where only one kind of row is there."""
    if not 0 < labels.sum() < len(labels):
        return {"auc_roc": None, "average_precision": None}
    return {"auc_roc": float(roc_auc_score(labels, scores)),
            "average_precision": float(average_precision_score(labels, scores))}


def measure(rows, scores, thresholds):
    """Everything that metrics.json says of some rows."""
    labels = rows.labels
    metrics = rows.describe() | ranking(labels, scores)
    metrics["log_loss"] = float(log_loss(labels, scores.astype(np.float64), labels=[0, 1]))
    metrics["brier"] = float(brier_score_loss(labels, scores.astype(np.float64)))
    metrics["mean_score"] = float(scores.mean(dtype=np.float64))
    metrics["at_false_positive_rate"] = {
        f"{rate:g}": at_threshold(labels, scores, threshold_at(labels, scores, rate)) for rate in FALSE_POSITIVE_RATES
    }
    metrics["at_thresholds"] = {name: at_threshold(labels, scores, value) for name, value in thresholds.items()}
    metrics["groups"] = {name: measure_groups(labels, scores, values, thresholds) for name, values in rows.groups.items()}
    return metrics


def measure_groups(labels, scores, values, thresholds):
    """The same model and the same thresholds for each value: who is stopped wrongly, and whose fraud is missed. The largest first."""
    kinds, counts = np.unique(values, return_counts=True)
    order = np.lexsort((kinds, -counts))
    shown = [str(kinds[at]) for at in order[:GROUPS_MAX] if counts[at] >= GROUP_ROWS_MIN]
    groups = {kind: values == kind for kind in shown}
    others = ~np.isin(values, shown)
    if others.any():
        groups[OTHERS] = others
    measured = {}
    for kind, chosen in groups.items():
        part = {"rows": int(chosen.sum()), "frauds": int(labels[chosen].sum()),
                "mean_score": float(scores[chosen].mean(dtype=np.float64))}
        part |= ranking(labels[chosen], scores[chosen])
        part |= {name: at_threshold(labels[chosen], scores[chosen], value) for name, value in thresholds.items()}
        measured[kind] = part
    return measured


def choose_thresholds(options, labels, scores):
    """Bounds of the risk levels, as f32, so that the service reads what was meant."""
    elevated, high = options.elevated, options.high
    if elevated is None:
        elevated = threshold_at(labels, scores, 0.01)
    if high is None:
        high = threshold_at(labels, scores, 0.001)
    high = 1.0 if high is None else high
    elevated = high if elevated is None else elevated
    if elevated > high:
        raise Wrong(f"the score for elevated risk, {elevated}, is above that for high risk, {high}; give --elevated and --high")
    return {"elevated": float(np.float32(elevated)), "high": float(np.float32(high))}
