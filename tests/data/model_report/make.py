#!/usr/bin/env python3
"""Makes scored.csv and expected.json, the golden data of src/offline/model_report_tests.rs: simulated transactions, scored by libxgboost
with models/default, and what numpy, SciPy and scikit-learn say of them. Nothing of Tollgate's own arithmetic is used after the features.

    tollgate simulate --customers 800 --days 60 --output work/tx.ndjson --truth work/truth.ndjson
    tollgate features --input work/tx.ndjson --model none --output work/features.csv
    .venv/bin/python tests/data/model_report/make.py work

With --check it compares with the files that are there instead.
"""

import csv
import io
import json
import math
import pathlib
import sys

import numpy as np
import xgboost as xgb
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent.parent.parent / "models/default"
RATES = (0.001, 0.01)
LEGITIMATE_EVERY = 16
UNLABELLED_EVERY = 29
Z = norm.ppf(0.975)


def ndjson(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored_rows(work):
    """(score, label or None, amount in minor units, currency): every fraud, and some of the rest."""
    frauds = {body["transaction_id"] for body in ndjson(work / "truth.ndjson") if body["label"] == "fraud"}
    names = json.loads((MODEL / "manifest.json").read_text())["feature_names"]
    numbers = {"true": 1.0, "false": 0.0, "": math.nan}
    with (work / "features.csv").open() as lines:
        matrix = np.array([[numbers[row[name]] if row[name] in numbers else float(row[name]) for name in names]
                           for row in csv.DictReader(lines)], np.float32)
    scores = xgb.Booster(model_file=MODEL / "model.json").inplace_predict(matrix, validate_features=False)
    rows = []
    for at, (body, score) in enumerate(zip(ndjson(work / "tx.ndjson"), scores)):
        is_fraud = body["transaction_id"] in frauds
        if is_fraud or at % LEGITIMATE_EVERY == 0:
            label = None if at % UNLABELLED_EVERY == 0 else is_fraud
            # Rounded, so that some scores tie.
            rows.append((float(f"{score:.3g}"), label, body["amount"]["value"], body["amount"]["currency"]))
    return rows


def csv_text(rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["score", "label", "amount", "currency"])
    for score, label, minor, currency in rows:
        word = "" if label is None else ("fraud" if label else "legitimate")
        amount = str(minor) if currency == "JPY" else f"{minor // 100}.{minor % 100:02}"
        writer.writerow([repr(score), word, amount, currency])
    return out.getvalue()


def interval(part, whole):
    found = binomtest(int(part), int(whole)).proportion_ci(method="wilson")
    return [part / whole, float(found.low), float(found.high)]


def total(amounts):
    half = Z * math.sqrt(float((amounts.astype(float) ** 2).sum()))
    return [int(amounts.sum()), max(0.0, amounts.sum() - half), amounts.sum() + half]


def point(scores, frauds, amounts, currencies, rate):
    """By trying every score as the threshold."""
    allowed = [score for score in np.unique(scores) if (scores[~frauds] >= score).mean() <= rate]
    threshold = min(allowed)
    stopped = scores >= threshold
    money = {}
    for currency in sorted(set(currencies)):
        here = currencies == currency
        caught, missed = amounts[here & stopped & frauds], amounts[here & ~stopped & frauds]
        share = None
        if caught.sum() + missed.sum():
            fraud = np.concatenate([caught, missed]).astype(float)
            inside = np.arange(len(fraud)) < len(caught)
            value = fraud[inside].sum() / fraud.sum()
            half = Z * math.sqrt(((fraud * (inside - value)) ** 2).sum()) / fraud.sum()
            share = [value, max(0.0, value - half), min(1.0, value + half)]
            if len(caught) == 0 or len(missed) == 0:
                share = interval(len(caught), len(fraud))
        money[currency] = {"fraud_caught": total(caught), "fraud_missed": total(missed),
                           "legitimate_stopped": total(amounts[here & stopped & ~frauds]), "recall_by_amount": share}
    return {"rate": rate, "threshold": threshold, "stopped": int(stopped.sum()), "fraud_stopped": int((stopped & frauds).sum()),
            "recall": interval((stopped & frauds).sum(), frauds.sum()), "precision": interval((stopped & frauds).sum(), stopped.sum()),
            "false_positive_rate": interval((stopped & ~frauds).sum(), (~frauds).sum()), "money": money}


def expected(rows):
    labelled = [row for row in rows if row[1] is not None]
    scores = np.array([row[0] for row in labelled])
    frauds = np.array([row[1] for row in labelled], bool)
    amounts = np.array([row[2] for row in labelled], np.int64)
    currencies = np.array([row[3] for row in labelled])
    return {
        "rows": len(labelled), "frauds": int(frauds.sum()), "unlabelled": len(rows) - len(labelled),
        "auc_roc": roc_auc_score(frauds, scores), "average_precision": average_precision_score(frauds, scores),
        "log_loss": log_loss(frauds, scores), "brier": brier_score_loss(frauds, scores), "expected_frauds": float(scores.sum()),
        "points": [point(scores, frauds, amounts, currencies, rate) for rate in RATES],
    }


def main():
    rows = scored_rows(pathlib.Path(sys.argv[1]))
    files = {"scored.csv": csv_text(rows), "expected.json": json.dumps(expected(rows), indent=1) + "\n"}
    for name, text in files.items():
        if "--check" in sys.argv and (HERE / name).read_text() != text:
            sys.exit(f"{name} differs")
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
