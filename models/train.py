#!/usr/bin/env python3
"""Trains a Tollgate model and writes its directory: model.json, manifest.json, metrics.json and the model card README.md.

Two files, split before:

    python models/train.py --features train.parquet --test test.parquet --labels labels.ndjson \\
        --transactions transactions.ndjson --catalogue models/features.yaml --output models/default

One file, split in time: trained before --split-at with the labels that had arrived --gap-days later, tested from then on:

    python models/train.py --features all.parquet --split-at 2026-03-01T00:00:00Z --gap-days 7 ...

--features and --test are what `tollgate features` writes: the transaction id first, then features under their catalogue
names, as CSV or Parquet; an empty field is missing. The same inputs and options give the same files, byte for byte.
Libraries: models/requirements.txt. The parts: models/training/.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import sys
import time

import numpy as np
import pyarrow as pa
import sklearn
import xgboost as xgb

from training.card import card
from training.errors import Wrong
from training.files import is_table
from training.measures import choose_thresholds, measure
from training.reference import manifest_text, reference_of
from training.rows import load

MANIFEST_SCHEMA = 1
GROUP_BY_DEFAULT = ("card.issuer_country", "card.funding")
PROGRESS_INTERVAL_S = 0.2


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_argument_group("data")
    data.add_argument("--features", required=True, metavar="FILE", help="training rows (.csv, .csv.gz, .parquet)")
    data.add_argument("--test", metavar="FILE", help="test rows; without it --split-at, or no test")
    data.add_argument("--labels", action="append", metavar="NDJSON", default=[],
                      help='labels, one {"transaction_id", "label": "fraud"|"legitimate", ...} a line; the latest one counts')
    data.add_argument("--label-column", metavar="NAME", help="the label, a column: 1/0, true/false, fraud/legitimate")
    data.add_argument("--unlabelled", choices=("legitimate", "drop"), default="legitimate",
                      help="what a row without a label is [default: %(default)s]")
    data.add_argument("--transactions", action="append", metavar="FILE", default=[],
                      help="the transactions behind the rows: NDJSON as the service takes them, for occurred_at and the groups; or a "
                           "table (.csv, .parquet) whose columns the options below may name, joined by the rows' id column")
    data.add_argument("--time-column", metavar="NAME", help="occurred_at, a column (RFC 3339, or timestamp in UTC)")
    data.add_argument("--split-at", metavar="RFC3339", help="train before this moment, test after it and the gap")
    data.add_argument("--gap-days", type=float, default=7.0, help="days after --split-at left out [default: %(default)s]")
    data.add_argument("--feature-list", metavar="FILE", help="features to use, one a line [default: all numeric columns]")
    data.add_argument("--group-by", action="append", metavar="NAME",
                      help="whose error rates the model card compares: a column of the rows, or a field of the transactions such as "
                           "card.funding; may be repeated; none turns it off [default, with NDJSON transactions: "
                           + " and ".join(GROUP_BY_DEFAULT) + "]")
    data.add_argument("--catalogue", required=True, metavar="FILE", help="the catalogue that made the features")
    data.add_argument("--output", required=True, metavar="DIR", help="the model directory to write")

    model = parser.add_argument_group("model")
    model.add_argument("--name", help="[default: the output directory's name]")
    model.add_argument("--trees", type=int, default=200, help="[default: %(default)s]")
    model.add_argument("--depth", type=int, default=5, help="[default: %(default)s]")
    model.add_argument("--eta", type=float, default=0.1, help="learning rate [default: %(default)s]")
    model.add_argument("--min-child-weight", type=float, default=1.0, help="[default: %(default)s]")
    model.add_argument("--lambda", dest="l2", type=float, default=1.0, help="L2 penalty on leaves [default: %(default)s]")
    model.add_argument("--gamma", type=float, default=0.0, help="least gain of a split [default: %(default)s]")
    model.add_argument("--subsample", type=float, default=1.0, help="share of rows a tree [default: %(default)s]")
    model.add_argument("--colsample", type=float, default=1.0, help="share of features a tree [default: %(default)s]")
    model.add_argument("--scale-pos-weight", type=float, default=1.0,
                       help="weight of a fraud; other than 1 the scores are no probabilities [default: %(default)s]")
    model.add_argument("--tree-method", choices=("hist", "exact", "approx"), default="hist", help="[default: %(default)s]")
    model.add_argument("--base-score", type=float, help="[default: the share of fraud in the training rows]")
    model.add_argument("--seed", type=int, default=1, help="[default: %(default)s]")
    model.add_argument("--threads", type=int, default=1, help="more is faster; the files are promised for 1 [default: %(default)s]")

    risk = parser.add_argument_group("risk level")
    risk.add_argument("--elevated", type=float, help="score from which risk is elevated [default: 1 %% false positives]")
    risk.add_argument("--high", type=float, help="score from which risk is high [default: 0.1 %% false positives]")
    arguments = parser.parse_args(words)

    ranges = {"trees": (1, 10_000), "depth": (1, 16), "eta": (1e-6, 1), "subsample": (1e-6, 1), "colsample": (1e-6, 1),
              "gap_days": (0, 400), "threads": (1, 256), "seed": (0, 2**31 - 1), "scale_pos_weight": (1e-9, 1e9),
              "min_child_weight": (0, 1e12), "l2": (0, 1e12), "gamma": (0, 1e12),
              "base_score": (1e-6, 1 - 1e-6), "elevated": (0, 1), "high": (0, 1)}
    for option, (low, high) in ranges.items():
        value = getattr(arguments, option)
        if value is not None and not low <= value <= high:
            parser.error(f"--{'lambda' if option == 'l2' else option.replace('_', '-')} is {value}, not within {low}..{high}")
    documents = [path for path in arguments.transactions if not is_table(path)]
    if arguments.group_by is None:
        arguments.group_by = list(GROUP_BY_DEFAULT) if documents else []
    elif arguments.group_by == ["none"]:
        arguments.group_by = []
    if len(set(arguments.group_by)) != len(arguments.group_by):
        parser.error("--group-by names something twice")
    if arguments.test and arguments.split_at:
        parser.error("--test and --split-at exclude each other")
    if bool(arguments.labels) == bool(arguments.label_column):
        parser.error("give either --labels or --label-column")
    if documents and arguments.time_column:
        parser.error("--time-column: transactions in NDJSON say themselves when they occurred")
    if arguments.split_at and not (documents or arguments.time_column):
        parser.error("--split-at needs transactions in NDJSON or --time-column, to know when a row occurred")
    return arguments


class Progress(xgb.callback.TrainingCallback):
    """A line on a terminal that counts the trees."""

    def __init__(self, trees):
        super().__init__()
        self.trees, self.shown_at, self.started_at = trees, 0.0, time.monotonic()

    def after_iteration(self, model, epoch, evals_log):
        now = time.monotonic()
        if sys.stderr.isatty() and (now - self.shown_at > PROGRESS_INTERVAL_S or epoch + 1 == self.trees):
            self.shown_at = now
            left_s = (now - self.started_at) / (epoch + 1) * (self.trees - epoch - 1)
            end = "\n" if epoch + 1 == self.trees else ""
            print(f"\rtrain.py: tree {epoch + 1} of {self.trees}, {left_s:.0f} s to go ", end=end, file=sys.stderr, flush=True)
        return False


def train_booster(train, names, arguments):
    parameters = {
        "objective": "binary:logistic", "booster": "gbtree", "tree_method": arguments.tree_method,
        "max_depth": arguments.depth, "eta": arguments.eta, "min_child_weight": arguments.min_child_weight,
        "lambda": arguments.l2, "gamma": arguments.gamma, "subsample": arguments.subsample,
        "colsample_bytree": arguments.colsample, "scale_pos_weight": arguments.scale_pos_weight,
        "seed": arguments.seed,
    }
    if arguments.base_score is not None:
        parameters["base_score"] = arguments.base_score
    matrix = xgb.DMatrix(train.matrix, train.labels, feature_names=names, nthread=arguments.threads)
    booster = xgb.train(parameters | {"nthread": arguments.threads, "verbosity": 1}, matrix, arguments.trees,
                        callbacks=[Progress(arguments.trees)])
    return booster, parameters


def scores_of(booster, rows):
    return booster.inplace_predict(rows.matrix, predict_type="value", validate_features=False)


def importance_of(booster):
    gains, splits = booster.get_score(importance_type="total_gain"), booster.get_score(importance_type="weight")
    total = sum(gains.values()) or 1.0
    return [(name, gain / total, int(splits[name])) for name, gain in sorted(gains.items(), key=lambda item: (-item[1], item[0]))]


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def say(text):
    """What is going on, for whoever waits; results go to standard output."""
    print(f"train.py: {text}", file=sys.stderr)


def run(arguments):
    output = pathlib.Path(arguments.output)
    try:
        catalogue = pathlib.Path(arguments.catalogue).read_bytes()
    except OSError as error:
        raise Wrong(f"{arguments.catalogue}: cannot be read: {error}; --catalogue is the file that `tollgate features` took") from error
    say("reading the rows")
    train, test, names, notes = load(arguments)
    say(f"{len(train.labels):,} rows to train on" + ("" if test is None else f", {len(test.labels):,} to test on"))
    for name, why in notes["left_out"].items():
        say(f"left out: {name}, {why}")
    booster, parameters = train_booster(train, names, arguments)
    text = bytes(booster.save_raw("json"))

    train_scores = scores_of(booster, train)
    judged, judged_scores = (train, train_scores) if test is None else (test, scores_of(booster, test))
    thresholds = choose_thresholds(arguments, judged.labels, judged_scores)
    given = arguments.elevated is not None and arguments.high is not None
    metrics = {
        "train": measure(train, train_scores, thresholds),
        "test": None if test is None else measure(test, judged_scores, thresholds),
    }
    window = train.window()
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "name": arguments.name or output.resolve().name,
        "created": window["to"] if window else "unknown: the data has no times",
        "model_sha256": sha256(text),
        "features_sha256": sha256(catalogue),
        "feature_names": names,
        "objective": "binary:logistic",
        "trees": booster.num_boosted_rounds(),
        "thresholds": thresholds,
        "thresholds_from": "options" if given else ("training" if test is None else "test"),
        "training": train.describe() | {
            "split": notes["split"],
            "unlabelled": notes["unlabelled"],
            "left_out": notes["left_out"],
            "seed": arguments.seed,
            "parameters": parameters,
            "libraries": {"python": platform.python_version(), "xgboost": xgb.__version__, "numpy": np.__version__,
                          "pyarrow": pa.__version__, "scikit-learn": sklearn.__version__},
            "how": "models/train.py",
        },
        "test": None if test is None else test.describe(),
        "parity": None,
        "reference": reference_of(train.matrix, names, judged_scores, "training rows" if test is None else "test rows"),
        "metrics": {key: (metrics["test"] or metrics["train"])[key]
                    for key in ("auc_roc", "average_precision", "at_false_positive_rate", "at_thresholds")},
    }
    files = {
        "model.json": text,
        "metrics.json": (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode(),
        "README.md": card(manifest, metrics, importance_of(booster)).encode(),
        "manifest.json": manifest_text(manifest).encode(),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            # Each file whole or not at all, the manifest last: a directory between two models does not load.
            draft = output / f".{name}.new"
            draft.write_bytes(data)
            draft.replace(output / name)
    except OSError as error:
        raise Wrong(f"{output}: cannot be written: {error}; give another --output") from error
    measured = metrics["test"] or metrics["train"]
    recalls = ", ".join(f"recall {point['recall']:.4f} at {100 * float(rate):g} % false positives"
                        for rate, point in measured["at_false_positive_rate"].items())
    print(f"{output}: {len(names)} features, {manifest['trees']} trees; {'test' if test else 'TRAINING'} rows: "
          f"AUC ROC {measured['auc_roc']:.4f}, average precision {measured['average_precision']:.4f}, {recalls}")


def main(words=None):
    try:
        run(parse_arguments(words))
    except Wrong as error:
        sys.exit(f"train.py: {error}")
    except xgb.core.XGBoostError as error:
        sys.exit(f"train.py: XGBoost: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
