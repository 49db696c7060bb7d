#!/usr/bin/env python3
"""Trains a Tollgate model and writes its directory: model.json, manifest.json, metrics.json and the model card README.md.

Two files, split before:

    python models/train.py --features train.parquet --test test.parquet --labels labels.ndjson \\
        --transactions transactions.ndjson --catalogue models/features.yaml --output models/default

One file, split in time: trained before --split-at with the labels that had arrived --gap-days later, tested from then on:

    python models/train.py --features all.parquet --split-at 2026-03-01T00:00:00Z --gap-days 7 ...

--features and --test are what `tollgate features` writes: the transaction id first, then features under their catalogue
names, as CSV or Parquet; an empty field is missing. The same inputs and options give the same files, byte for byte.
Libraries: models/requirements.txt.
"""

import argparse
import hashlib
import json
import math
import pathlib
import platform
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import sklearn
import xgboost as xgb
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

MANIFEST_SCHEMA = 1
FALSE_POSITIVE_RATES = (0.001, 0.01)
GROUPS_MAX = 50
FLOAT_MAX = float(np.finfo(np.float32).max)


class Wrong(Exception):
    """What the user has to put right."""


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_argument_group("data")
    data.add_argument("--features", required=True, metavar="FILE", help="training rows (.csv, .csv.gz, .parquet)")
    data.add_argument("--test", metavar="FILE", help="test rows; without it --split-at, or no test")
    data.add_argument("--labels", action="append", metavar="NDJSON", default=[],
                      help='labels, one {"transaction_id", "label": "fraud"|"legitimate", ...} a line; the latest one counts')
    data.add_argument("--label-column", metavar="NAME", help="the label, a column of the rows: 1/0, true/false, fraud/legitimate")
    data.add_argument("--unlabelled", choices=("legitimate", "drop"), default="legitimate",
                      help="what a row without a label is [default: %(default)s]")
    data.add_argument("--transactions", action="append", metavar="NDJSON", default=[],
                      help="transactions as the service takes them: where occurred_at comes from")
    data.add_argument("--time-column", metavar="NAME", help="occurred_at, a column of the rows (RFC 3339 or timestamp)")
    data.add_argument("--split-at", metavar="RFC3339", help="train before this moment, test after it and the gap")
    data.add_argument("--gap-days", type=float, default=7.0, help="days after --split-at left out [default: %(default)s]")
    data.add_argument("--feature-list", metavar="FILE", help="features to use, one a line [default: all numeric columns]")
    data.add_argument("--group-by", action="append", metavar="COLUMN", default=[],
                      help="columns whose values the metrics are also given for")
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
    if arguments.test and arguments.split_at:
        parser.error("--test and --split-at exclude each other")
    if bool(arguments.labels) == bool(arguments.label_column):
        parser.error("give either --labels or --label-column")
    if arguments.transactions and arguments.time_column:
        parser.error("--transactions and --time-column exclude each other")
    if arguments.split_at and not (arguments.transactions or arguments.time_column):
        parser.error("--split-at needs --transactions or --time-column, to know when a row occurred")
    return arguments


# --- reading -----------------------------------------------------------------------------------------------------------


def parse_moment(text, where):
    """RFC 3339 to UTC microseconds, exactly."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Wrong(f"{where}: {text!r} is no RFC 3339 moment") from error
    if moment.tzinfo is None:
        raise Wrong(f"{where}: {text!r} has no offset from UTC; write 2026-03-01T00:00:00Z")
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)


def moment_text(micros):
    """UTC microseconds to RFC 3339."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=int(micros))
    return moment.isoformat().replace("+00:00", "Z")


def read_table(path):
    """A CSV or Parquet file as a table."""
    name = str(path)
    try:
        if name.endswith(".parquet"):
            table = pa.parquet.read_table(path)
        elif name.endswith((".csv", ".csv.gz")):
            # One block, so that a column's type is inferred from all of it; the first column is an id, whatever it looks like.
            with pa.input_stream(path) as stream:
                first = stream.read(1 << 20).split(b"\n", 1)[0].decode().split(",", 1)[0].strip().strip('"')
            table = pa.csv.read_csv(
                path,
                read_options=pa.csv.ReadOptions(block_size=1 << 30),
                convert_options=pa.csv.ConvertOptions(column_types={first: pa.string()}, strings_can_be_null=True,
                                                      null_values=[""]),
            )
        else:
            raise Wrong(f"{path}: is neither .csv, .csv.gz nor .parquet")
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise Wrong(f"{path}: cannot be read: {error}") from error
    if len(set(table.column_names)) != table.num_columns:
        raise Wrong(f"{path}: names a column twice")
    if table.num_rows == 0 or table.num_columns < 2:
        raise Wrong(f"{path}: has {table.num_rows} rows and {table.num_columns} columns; nothing to learn from")
    return table


def read_ndjson(path):
    """Each line's object, with where it stands."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    body = json.loads(line)
                    if not isinstance(body, dict):
                        raise Wrong(f"{path}, line {number}: is no object")
                    yield f"{path}, line {number}", body
    except (OSError, ValueError) as error:
        raise Wrong(f"{path}: cannot be read: {error}") from error


def read_labels(paths, before=math.inf):
    """Transaction id to 1 (fraud) or 0, as known `before` a moment; of several labels the latest counts."""
    labels = {}
    for path in paths:
        for where, body in read_ndjson(path):
            label = {"fraud": 1, "legitimate": 0}.get(body.get("label"))
            if label is None or not isinstance(body.get("transaction_id"), str):
                raise Wrong(f'{where}: needs "transaction_id" and "label": "fraud" or "legitimate"')
            moment = parse_moment(body["occurred_at"], where) if "occurred_at" in body else -math.inf
            if moment >= before:
                continue
            earlier = labels.get(body["transaction_id"])
            if earlier is None or moment >= earlier[0]:
                labels[body["transaction_id"]] = (moment, label)
    if not labels:
        when = "" if before == math.inf else f" before {moment_text(before)}"
        raise Wrong(f"{', '.join(paths)}: no labels{when}")
    return {transaction: label for transaction, (_, label) in labels.items()}


def read_times(paths):
    """Transaction id to occurred_at, in microseconds."""
    times = {}
    for path in paths:
        for where, body in read_ndjson(path):
            if not isinstance(body.get("transaction_id"), str):
                raise Wrong(f'{where}: needs "transaction_id"')
            times[body["transaction_id"]] = parse_moment(body.get("occurred_at"), where)
    return times


def column(table, name, path):
    if name not in table.column_names:
        raise Wrong(f"{path}: has no column {name!r}")
    return table.column(name)


def labels_of(table, path, arguments, labels):
    """1, 0, or -1 for a row without a label."""
    if not arguments.label_column:
        ids = table.column(0).cast(pa.string()).to_pylist()
        return np.array([labels.get(transaction, -1) for transaction in ids], np.int8)
    meanings = {"fraud": 1, "legitimate": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "none": -1, "": -1}
    values = column(table, arguments.label_column, path).to_pylist()
    found = [meanings.get(str(value).strip().lower()) for value in values]
    if None in found:
        row = found.index(None)
        raise Wrong(f"{path}, row {row + 1}, column {arguments.label_column}: {values[row]!r} is neither fraud nor legitimate")
    return np.array(found, np.int8)


def times_of(table, path, arguments, times):
    """When each row occurred, in microseconds; None when nobody asked."""
    if arguments.time_column:
        values = column(table, arguments.time_column, path)
        if pa.types.is_timestamp(values.type):
            if values.null_count:
                raise Wrong(f"{path}, column {arguments.time_column}: has empty fields")
            return values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64()).to_numpy()
        where = f"{path}, column {arguments.time_column}, row"
        return np.array([parse_moment(value, f"{where} {row}") for row, value in enumerate(values.to_pylist(), 1)], np.int64)
    if not times:
        return None
    ids = table.column(0).cast(pa.string()).to_pylist()
    unknown = [transaction for transaction in ids if transaction not in times]
    if unknown:
        raise Wrong(f"{path}: {len(unknown)} ids are not among --transactions, the first is {unknown[0]!r}")
    return np.array([times[transaction] for transaction in ids], np.int64)


def is_number(kind):
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)


def choose_features(table, arguments):
    """The features to train on, in order, and why others are left out."""
    if arguments.feature_list:
        try:
            lines = pathlib.Path(arguments.feature_list).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise Wrong(f"{arguments.feature_list}: cannot be read: {error}") from error
        names = [line.split("#")[0].strip() for line in lines]
        names = [name for name in names if name]
        if not names or len(set(names)) != len(names):
            raise Wrong(f"{arguments.feature_list}: is empty or names a feature twice")
        for name in names:
            kind = column(table, name, arguments.features).type
            if not (is_number(kind) or pa.types.is_null(kind)):
                raise Wrong(f"{arguments.features}, column {name}: holds {kind}, not numbers")
        return names, {}
    chosen, left_out = [], {}
    for name in table.column_names[1:]:
        values = table.column(name)
        if name in (arguments.label_column, arguments.time_column):
            continue
        if values.null_count == len(values):
            left_out[name] = "missing in every row"
        elif is_number(values.type):
            chosen.append(name)
        else:
            left_out[name] = f"holds {values.type}"
    if not chosen:
        raise Wrong(f"{arguments.features}: has no numeric columns")
    return chosen, left_out


def matrix_of(table, names, path):
    """Rows of f32, NaN for missing. Infinities become the largest numbers, which every split sends the same way."""
    matrix = np.empty((table.num_rows, len(names)), np.float32)
    for index, name in enumerate(names):
        values = column(table, name, path)
        if pa.types.is_null(values.type):
            matrix[:, index] = np.nan
            continue
        if not is_number(values.type):
            raise Wrong(f"{path}, column {name}: holds {values.type}, not numbers")
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        numbers = pc.fill_null(values.cast(pa.float64(), safe=False), math.nan).to_numpy()
        matrix[:, index] = np.clip(numbers, -FLOAT_MAX, FLOAT_MAX)
    return matrix


class Rows:
    """Rows to train or test on."""

    def __init__(self, table, path, names, labels, times, groups):
        self.matrix = matrix_of(table, names, path)
        self.labels = labels
        self.times = times
        self.groups = {name: np.array([str(value) for value in column(table, name, path).to_pylist()]) for name in groups}

    def select(self, chosen):
        copy = object.__new__(Rows)
        copy.matrix = self.matrix[chosen]
        copy.labels = self.labels[chosen]
        copy.times = None if self.times is None else self.times[chosen]
        copy.groups = {name: values[chosen] for name, values in self.groups.items()}
        return copy

    def window(self):
        if self.times is None or not len(self.times):
            return None
        return {"from": moment_text(self.times.min()), "to": moment_text(self.times.max())}

    def describe(self):
        return {"window": self.window(), "rows": len(self.labels), "frauds": int(self.labels.sum())}


def load(arguments):
    """Training rows, test rows or None, feature names, and what to note about the data."""
    labels = read_labels(arguments.labels) if arguments.labels else {}
    times = read_times(arguments.transactions)
    table = read_table(arguments.features)
    names, left_out = choose_features(table, arguments)
    if any(mark in name for name in names for mark in "[]<"):
        raise Wrong("XGBoost takes no feature names with [, ] or <")
    notes = {"left_out": left_out, "unlabelled": arguments.unlabelled}

    def rows_of(table, path, labels):
        found = Rows(table, path, names, labels_of(table, path, arguments, labels),
                     times_of(table, path, arguments, times), arguments.group_by)
        if labels and not (found.labels >= 0).any():
            raise Wrong(f"{path}: none of its ids has a label; is {table.column_names[0]!r} the transaction id?")
        if arguments.unlabelled == "drop":
            return found.select(found.labels >= 0)
        found.labels[found.labels < 0] = 0
        return found

    test = None
    if arguments.split_at:
        split = parse_moment(arguments.split_at, "--split-at")
        resume = split + round(arguments.gap_days * 86_400_000_000)
        notes["split"] = f"in time: trained before {moment_text(split)}, tested from {moment_text(resume)} on"
        # What training may know is what was known when the gap was over; the test is judged by all that is known today.
        known = read_labels(arguments.labels, resume) if arguments.labels else {}
        train, test = rows_of(table, arguments.features, known), rows_of(table, arguments.features, labels)
        train, test = train.select(train.times < split), test.select(test.times >= resume)
    else:
        train = rows_of(table, arguments.features, labels)
        notes["split"] = "none: the figures are of the training rows, and too good"
        if arguments.test:
            test = rows_of(read_table(arguments.test), arguments.test, labels)
            notes["split"] = "two files"
    for kind, rows in (("training", train), ("test", test)):
        if rows is not None and not 0 < rows.labels.sum() < len(rows.labels):
            raise Wrong(f"of {len(rows.labels)} {kind} rows {int(rows.labels.sum())} are fraud; both kinds are needed")
    return train, test, names, notes


# --- training and measuring ----------------------------------------------------------------------------------------------


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
    booster = xgb.train(parameters | {"nthread": arguments.threads, "verbosity": 1}, matrix, arguments.trees)
    return booster, parameters


def scores_of(booster, rows):
    return booster.inplace_predict(rows.matrix, predict_type="value", validate_features=False)


def threshold_at(labels, scores, rate):
    """The lowest score such that of the legitimate rows at most `rate` score as high; None when there is none."""
    legitimate = np.sort(scores[labels == 0])[::-1]
    allowed = int(math.floor(rate * len(legitimate) + 1e-9))
    candidates = np.unique(scores)
    if allowed < len(legitimate):
        candidates = candidates[candidates > legitimate[allowed]]
    return float(candidates[0]) if len(candidates) else None


def at_threshold(labels, scores, threshold):
    if threshold is None:
        return {"threshold": None, "recall": 0.0, "precision": None, "false_positive_rate": 0.0, "alerts": 0}
    alerts = scores >= np.float32(threshold)
    caught = int((alerts & (labels == 1)).sum())
    return {
        "threshold": threshold,
        "recall": caught / int((labels == 1).sum()),
        "precision": caught / int(alerts.sum()) if alerts.any() else None,
        "false_positive_rate": (int(alerts.sum()) - caught) / max(1, int((labels == 0).sum())),
        "alerts": int(alerts.sum()),
    }


def ranking(labels, scores):
    """What does not depend on a threshold; None where only one kind of row is there."""
    if not 0 < labels.sum() < len(labels):
        return {"auc_roc": None, "average_precision": None}
    return {"auc_roc": float(roc_auc_score(labels, scores)),
            "average_precision": float(average_precision_score(labels, scores))}


def measure(rows, scores, thresholds):
    labels = rows.labels
    metrics = rows.describe() | ranking(labels, scores)
    metrics["log_loss"] = float(log_loss(labels, scores.astype(np.float64), labels=[0, 1]))
    metrics["brier"] = float(brier_score_loss(labels, scores.astype(np.float64)))
    metrics["mean_score"] = float(scores.mean(dtype=np.float64))
    metrics["at_false_positive_rate"] = {
        f"{rate:g}": at_threshold(labels, scores, threshold_at(labels, scores, rate)) for rate in FALSE_POSITIVE_RATES
    }
    metrics["at_thresholds"] = {name: at_threshold(labels, scores, value) for name, value in thresholds.items()}
    groups = {}
    for name, values in rows.groups.items():
        kinds, counts = np.unique(values, return_counts=True)
        kinds = kinds[np.lexsort((kinds, -counts))][:GROUPS_MAX]
        groups[name] = {}
        for kind in kinds:
            chosen = values == kind
            part = {"rows": int(chosen.sum()), "frauds": int(labels[chosen].sum())}
            part |= ranking(labels[chosen], scores[chosen])
            if part["frauds"]:
                part["recall_elevated"] = at_threshold(labels[chosen], scores[chosen], thresholds["elevated"])["recall"]
            groups[name][str(kind)] = part
    if groups:
        metrics["groups"] = groups
    return metrics


def choose_thresholds(arguments, labels, scores):
    """Bounds of the risk levels, as f32, so that the service reads what was meant."""
    elevated, high = arguments.elevated, arguments.high
    if elevated is None:
        elevated = threshold_at(labels, scores, 0.01)
    if high is None:
        high = threshold_at(labels, scores, 0.001)
    high = 1.0 if high is None else high
    elevated = high if elevated is None else elevated
    if elevated > high:
        raise Wrong(f"the score for elevated risk, {elevated}, is above that for high risk, {high}; give --elevated and --high")
    return {"elevated": float(np.float32(elevated)), "high": float(np.float32(high))}


# --- writing -------------------------------------------------------------------------------------------------------------


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def figure(value, percent=False):
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


def card(manifest, metrics, importance):
    """The model card, from the same numbers as the other files."""
    training, thresholds = manifest["training"], manifest["thresholds"]
    measured = metrics["test"] or metrics["train"]
    window = training["window"]
    lines = [
        f"# Model {manifest['name']}",
        "",
        f"XGBoost, {manifest['objective']}, {manifest['trees']} trees of depth {training['parameters']['max_depth']} at most, "
        f"{len(manifest['feature_names'])} features. Its score is "
        + ("the probability that a transaction is fraud." if training["parameters"]["scale_pos_weight"] == 1
           else "no probability: frauds were weighted in training."),
        "",
        f"- Model: `{manifest['model_sha256']}`",
        f"- Feature catalogue: `{manifest['features_sha256']}`",
        f"- Trained on {training['rows']:,} rows, {training['frauds']:,} of them fraud"
        + (f", from {window['from']} to {window['to']}" if window else "") + ".",
        f"- Split: {training['split']}. A row without a label: {training['unlabelled']}.",
        f"- Risk is elevated from {thresholds['elevated']:.6g} and high from {thresholds['high']:.6g}.",
        "",
        "## How good it is",
        "",
    ]
    if metrics["test"]:
        window = measured["window"]
        lines.append(f"On {measured['rows']:,} test rows, {measured['frauds']:,} of them fraud"
                     + (f", from {window['from']} to {window['to']}" if window else "") + ":")
    else:
        lines.append("There was no test: these figures are of the training rows, and too good.")
    lines += [
        "",
        "| AUC ROC | average precision | log loss | Brier score | mean score | share of fraud |",
        "|---|---|---|---|---|---|",
        f"| {figure(measured['auc_roc'])} | {figure(measured['average_precision'])} | {figure(measured['log_loss'])} "
        f"| {figure(measured['brier'])} | {figure(measured['mean_score'])} "
        f"| {figure(measured['frauds'] / measured['rows'])} |",
        "",
        "| at | score from | recall | precision | false positives | alerts |",
        "|---|---|---|---|---|---|",
    ]
    points = [(f"at most {100 * float(rate):g} % false positives", point)
              for rate, point in measured["at_false_positive_rate"].items()]
    points += [(f"{name} risk", point) for name, point in measured["at_thresholds"].items()]
    for name, point in points:
        threshold = "-" if point["threshold"] is None else f"{point['threshold']:.6g}"
        lines.append(f"| {name} | {threshold} | {figure(point['recall'], True)} | {figure(point['precision'], True)} "
                     f"| {figure(point['false_positive_rate'], True)} | {point['alerts']:,} |")
    if manifest["thresholds_from"] != "options":
        lines += ["", f"The risk levels were set on the {manifest['thresholds_from']} rows, so their figures lean to the good side."]
    for name, groups in measured.get("groups", {}).items():
        lines += ["", f"By {name}:", "", "| value | rows | frauds | AUC ROC | average precision | recall at elevated |",
                  "|---|---|---|---|---|---|"]
        for value, part in groups.items():
            lines.append(f"| {value.replace('|', ' ')} | {part['rows']:,} | {part['frauds']:,} | {figure(part['auc_roc'])} "
                         f"| {figure(part['average_precision'])} | {figure(part.get('recall_elevated'), True)} |")
    lines += ["", "## What it looks at", "", "The features that lowered the training loss most:", "",
              "| feature | share of gain | splits |", "|---|---|---|"]
    lines += [f"| {name} | {figure(gain, True)} | {splits} |" for name, gain, splits in importance[:20]]
    lines += ["", "## How it was made", "", "Parameters: "
              + ", ".join(f"{key} {value}" for key, value in sorted(training["parameters"].items())) + ".",
              "", "Libraries: " + ", ".join(f"{name} {version}" for name, version in training["libraries"].items()) + ".", "",
              "`manifest.json` and `metrics.json` hold the same numbers for programs; `models/train.py` wrote all of them.", ""]
    return "\n".join(lines)


def importance_of(booster):
    gains, splits = booster.get_score(importance_type="total_gain"), booster.get_score(importance_type="weight")
    total = sum(gains.values()) or 1.0
    return [(name, gain / total, int(splits[name])) for name, gain in sorted(gains.items(), key=lambda item: (-item[1], item[0]))]


def run(arguments):
    output = pathlib.Path(arguments.output)
    try:
        catalogue = pathlib.Path(arguments.catalogue).read_bytes()
    except OSError as error:
        raise Wrong(f"{arguments.catalogue}: cannot be read: {error}") from error
    train, test, names, notes = load(arguments)
    for name, why in notes["left_out"].items():
        print(f"left out: {name}, {why}", file=sys.stderr)
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
        "metrics": {key: (metrics["test"] or metrics["train"])[key]
                    for key in ("auc_roc", "average_precision", "at_false_positive_rate", "at_thresholds")},
    }
    files = {
        "model.json": text,
        "metrics.json": (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode(),
        "README.md": card(manifest, metrics, importance_of(booster)).encode(),
        "manifest.json": (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode(),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            # Each file whole or not at all, the manifest last: a directory between two models does not load.
            draft = output / f".{name}.new"
            draft.write_bytes(data)
            draft.replace(output / name)
    except OSError as error:
        raise Wrong(f"{output}: cannot be written: {error}") from error
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
