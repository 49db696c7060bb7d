#!/usr/bin/env python3
"""Makes the golden data that the model room is held to: small XGBoost models, rows, and what libxgboost says of them.

    python models/parity/make.py            # writes beside itself
    python models/parity/make.py --check    # writes nothing; fails when a file would change

For every model NAME, `NAME.json` (or `NAME.ubj`) is XGBoost's own file and `NAME.csv` holds one row a line: the features,
then the margin and the probability, then one contribution per feature and the bias. Every number is the f32's eight
hexadecimal digits, so that nothing is lost in decimals. `margins.csv` holds, for every model, the hash of the margins of
many more rows, which `drawn_rows` and `tests/model_parity.rs` draw alike.

Margins and probabilities are libxgboost's in-place prediction, contributions its `pred_contribs`. A DART model is predicted
on a DMatrix: libxgboost before 3.4 rounds once more in place, and since 3.4 both are the same. Libraries:
models/requirements.txt.
"""

import argparse
import csv
import hashlib
import io
import json
import pathlib
import re
import sys

import numpy as np
import xgboost as xgb

HERE = pathlib.Path(__file__).resolve().parent
FEATURES = 8
TRAINING_ROWS = 3000
ROWS = 120
SEED = 20260101
PLAIN = {"objective": "binary:logistic", "nthread": 1, "seed": SEED, "tree_method": "hist", "eta": 0.3}
DART = {"booster": "dart", "rate_drop": 0.3, "one_drop": 1}
CATEGORICAL = ["float", "float", "c", "i", "float", "float", "c", "float"]
DRAWN_ROWS = 40_000

# name: (parameters, rounds, what else)
MODELS = {
    "depth1": ({"max_depth": 1}, 20, {}),
    "depth2_base_given": ({"max_depth": 2, "base_score": 0.03025}, 12, {}),
    "depth3_exact": ({"max_depth": 3, "tree_method": "exact"}, 10, {}),
    "depth4_weighted": ({"max_depth": 4, "scale_pos_weight": 9.0}, 8, {}),
    "depth5_raw": ({"max_depth": 5, "objective": "binary:logitraw"}, 6, {}),
    "depth6_complete": ({"max_depth": 6, "subsample": 0.7, "colsample_bytree": 0.8}, 5, {"missing": 0.0}),
    "depth8": ({"max_depth": 8, "min_child_weight": 0.1, "eta": 0.1}, 4, {}),
    "leafwise": ({"max_depth": 0, "max_leaves": 40, "grow_policy": "lossguide"}, 5, {}),
    "parallel_trees": ({"max_depth": 3, "num_parallel_tree": 4, "subsample": 0.6, "colsample_bynode": 0.7}, 4, {}),
    "pruned": ({"max_depth": 5, "tree_method": "exact", "gamma": 3.0}, 8, {}),
    "named": ({"max_depth": 3}, 6, {"names": True}),
    "old_base_score": ({"max_depth": 3, "base_score": 0.25}, 6, {"old": True}),
    "base_score_0": ({"max_depth": 2}, 4, {"base_score": "0E0"}),
    "base_score_1": ({"max_depth": 2}, 4, {"base_score": "1E0"}),
    "base_score_tiny": ({"max_depth": 2}, 4, {"base_score": "1E-9"}),
    "one_leaf": ({"max_depth": 3, "min_child_weight": 1e9, "base_score": 0.1}, 3, {}),
    "early_stopped": ({"max_depth": 2}, 10, {"attributes": {"best_iteration": "3", "best_score": "0.5"}}),
    "named_ubjson": ({"max_depth": 3}, 6, {"names": True, "format": "ubj"}),
    "categories_one_hot": ({"max_depth": 4, "max_cat_to_onehot": 64}, 8, {"types": CATEGORICAL}),
    "categories_sets": ({"max_depth": 5, "max_cat_to_onehot": 2}, 6, {"types": CATEGORICAL}),
    "categories_ubjson": ({"max_depth": 6, "max_cat_to_onehot": 4}, 4, {"types": CATEGORICAL, "format": "ubj"}),
    "dart": (DART | {"max_depth": 4}, 14, {"dart": True}),
    "dart_forest": (DART | {"max_depth": 3, "normalize_type": "forest", "eta": 0.5}, 10, {"dart": True, "format": "ubj"}),
    "dart_merged": (DART | {"max_depth": 3, "sample_type": "weighted"}, 10, {"dart": True, "merged": True}),
    "deep": ({"max_depth": 12, "min_child_weight": 0.01, "eta": 0.05}, 2, {}),
}


ODD = np.float32([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38, 1.0])


def training_data(rng, missing_share):
    """Features of different kinds, with thresholds that are hit exactly, and labels that depend on them."""
    rows = np.empty((TRAINING_ROWS, FEATURES), np.float32)
    rows[:, 0] = rng.normal(size=TRAINING_ROWS)
    rows[:, 1] = rng.lognormal(4.0, 2.0, TRAINING_ROWS)
    rows[:, 2] = rng.integers(0, 8, TRAINING_ROWS)
    rows[:, 3] = rng.integers(0, 2, TRAINING_ROWS)
    rows[:, 4] = rng.normal(size=TRAINING_ROWS) * 1e-40
    rows[:, 5] = rng.normal(size=TRAINING_ROWS) * 1e30
    rows[:, 6] = rng.normal(size=TRAINING_ROWS)
    rows[:, 7] = rng.choice(np.float32([-0.0, 0.0, 1e-45, -1e-45, 0.1, 0.2]), TRAINING_ROWS)
    odds = rows[:, 0] + 0.4 * rows[:, 2] * (rows[:, 3] > 0) + (rows[:, 4] > 0) - (rows[:, 5] > 0) * rows[:, 6]
    odds += 0.5 * np.log(rows[:, 1]) + 2.0 * (rows[:, 7] > 0.05)
    labels = (rng.random(TRAINING_ROWS) < 1.0 / (1.0 + np.exp(5.0 - odds))).astype(np.float32)
    rows[rng.random(rows.shape) < missing_share] = np.nan
    return rows, labels


def thresholds_by_feature(document):
    found = {feature: [] for feature in range(FEATURES)}
    booster = document["learner"]["gradient_booster"]
    for tree in booster.get("gbtree", booster)["model"]["trees"]:
        nodes = zip(tree["left_children"], tree["split_indices"], tree["split_conditions"], tree["split_type"])
        for left, feature, value, kind in nodes:
            if left != -1 and kind == 0:
                found[feature].append(np.float32(value))
    return found


def test_rows(rng, document, training):
    """Rows as in training, then rows of thresholds and their neighbours, then rows of what floats can be."""
    thresholds = thresholds_by_feature(document)
    rows = training[rng.choice(len(training), ROWS)].copy()
    for number in range(ROWS // 3, 2 * ROWS // 3):
        for feature in range(FEATURES):
            if thresholds[feature]:
                value = rng.choice(np.float32(thresholds[feature]))
                toward = np.float32(rng.choice([np.inf, -np.inf]))
                rows[number, feature] = value if rng.random() < 0.5 else np.nextafter(value, toward)
    for number in range(2 * ROWS // 3, ROWS):
        changed = rng.random(FEATURES) < 0.6
        rows[number, changed] = rng.choice(ODD, int(changed.sum()))
    rows[-1, :] = np.nan
    rows[-2, :] = np.inf
    rows[-3, :] = -np.inf
    rows[-4, :] = 0.0
    rows[-5, :] = -0.0
    return rows


def scrambled(counters):
    """The 64 bits that splitmix64 gives for each counter."""
    z = counters * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def drawn_rows(document, count):
    """Rows of missing values, odd values, thresholds, their neighbours, small whole numbers, and any 32 bits. Value number n of
    all rows comes from n alone, so that the test draws the same."""
    thresholds = thresholds_by_feature(document)
    z = scrambled(np.arange(1, count * FEATURES + 1, dtype=np.uint64)).reshape(count, FEATURES)
    kind, pick = z & np.uint64(15), (z >> np.uint64(4)) & np.uint64(0xFFFFFF)
    rows = (z >> np.uint64(32)).astype(np.uint32)
    odd = ODD.view(np.uint32)
    for feature in range(FEATURES):
        of, choice, column = kind[:, feature], pick[:, feature], rows[:, feature]
        known = np.unique(np.float32(thresholds[feature]).view(np.uint32))
        if len(known):
            chosen = known[choice % np.uint64(len(known))]
            near = (of >= 3) & (of <= 10)
            column[near] = (chosen + (of == 9).astype(np.uint32) - (of == 10).astype(np.uint32))[near]
        column[of <= 1] = np.float32(np.nan).view(np.uint32)
        column[of == 2] = odd[choice % np.uint64(len(odd))][of == 2]
        whole = (of >= 11) & (of <= 13)
        column[whole] = (choice % np.uint64(12)).astype(np.float32).view(np.uint32)[whole]
    return rows.view(np.float32)


def bits(values):
    return [f"{value:08x}" for value in np.asarray(values, np.float32).view(np.uint32)]


def matrix_of(rows, names, types):
    # A DMatrix refuses infinities; the largest finite values take the same side of every finite threshold.
    largest = np.finfo(np.float32).max
    finite = np.clip(rows, -largest, largest)
    finite[np.isnan(rows)] = np.nan
    return xgb.DMatrix(finite, feature_names=names, feature_types=types, enable_categorical=True, nthread=1)


def margins_of(booster, rows, names, extra):
    if extra.get("dart"):
        return booster.predict(matrix_of(rows, names, None), output_margin=True)
    return booster.inplace_predict(rows, predict_type="margin", validate_features=False)


def make(name, parameters, rounds, extra):
    rng = np.random.default_rng([SEED, *name.encode()])
    training, labels = training_data(rng, extra.get("missing", 0.15))
    names = [f"card.feature_{index}" for index in range(FEATURES)] if extra.get("names") else None
    types = extra.get("types")
    if types:
        training[:, 6] = rng.integers(0, 70, TRAINING_ROWS)
        labels = np.where(rng.random(TRAINING_ROWS) < 0.5, labels, training[:, 6] % 7 > 4).astype(np.float32)
    matrix = xgb.DMatrix(
        training, labels, feature_names=names, feature_types=types, enable_categorical=True, nthread=1
    )
    booster = xgb.train(PLAIN | parameters, matrix, rounds)
    booster.set_attr(**extra.get("attributes", {}))
    document = json.loads(booster.save_raw("json"))
    text = booster.save_raw("json").decode()
    if "base_score" in extra:
        text = re.sub(r'"base_score":"[^"]*"', f'"base_score":"[{extra["base_score"]}]"', text)
    if extra.get("old"):
        text = re.sub(r'"base_score":"\[([^"]*)\]"', r'"base_score":"\1"', text)
        text = re.sub(r'"version":\[[^]]*\]', '"version":[1,7,6]', text)
        text = re.sub(r'"cats":\{[^}]*\},', "", text)
        text = re.sub(r'"iteration_indptr":\[[^]]*\],', "", text)
        text = re.sub(
            r'"default_left":\[([^]]*)\]',
            lambda found: '"default_left":['
            + ",".join("true" if flag == "1" else "false" for flag in found[1].split(","))
            + "]",
            text,
        )
    content = text.encode() + b"\n"
    if extra.get("merged"):
        # As libxgboost 3.4 writes it: a gbtree whose model has the weights.
        text = text.replace('"gradient_booster":{"gbtree":{"model"', '"gradient_booster":{"model"')
        text = re.sub(r'\},"name":"gbtree"\},"name":"dart",("weight_drop":\[[^]]*\])', r',\1},"name":"gbtree"', text)
        content = text.encode() + b"\n"
    if extra.get("format") == "ubj":
        content = bytes(booster.save_raw("ubj"))
    # What is tested is the file, so that it is the file that predicts; but for 3.4's shape of DART, which 3.2 does not know.
    if extra.get("old"):
        # libxgboost 3 no longer reads flags written as booleans.
        booster = xgb.Booster(model_file=bytearray(re.sub("true", "1", re.sub("false", "0", text)).encode()))
    elif not extra.get("merged"):
        booster = xgb.Booster(model_file=bytearray(content))
    booster.set_param({"nthread": 1})

    rows = test_rows(rng, document, training)
    margins = margins_of(booster, rows, names, extra)
    if extra.get("dart"):
        answers = booster.predict(matrix_of(rows, names, None))
    else:
        answers = booster.inplace_predict(rows, predict_type="value", validate_features=False)
    shares = booster.predict(matrix_of(rows, names, types), pred_contribs=True)
    largest_gap = np.abs(shares.sum(axis=1) - margins).max()
    assert largest_gap < 1e-4, f"{name}: contributions are {largest_gap} off the margin"

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    labels_of_columns = names or [f"f{index}" for index in range(FEATURES)]
    writer.writerow([*labels_of_columns, "margin", "value", *[f"phi_{label}" for label in labels_of_columns], "phi_bias"])
    for row, margin, answer, share in zip(rows, margins, answers, shares):
        writer.writerow([*bits(row), *bits([margin, answer]), *bits(share)])
    drawn = margins_of(booster, drawn_rows(document, DRAWN_ROWS), names, extra)
    digest = hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest()
    files = {f"{name}.{extra.get('format', 'json')}": content, f"{name}.csv": table.getvalue().encode()}
    return files, f"{name},{DRAWN_ROWS},{digest}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file would change")
    arguments = parser.parse_args()
    files, margins = {}, "model,rows,sha256\n"
    for name, (parameters, rounds, extra) in MODELS.items():
        of_model, line = make(name, parameters, rounds, extra)
        files |= of_model
        margins += line
    files["margins.csv"] = margins.encode()
    changed = [name for name, content in files.items() if not same(HERE / name, content)]
    if arguments.check and changed:
        sys.exit(f"would change: {', '.join(changed)}")
    for name in changed:
        (HERE / name).write_bytes(files[name])
    print(f"{len(MODELS)} models, {len(changed)} files changed, made with libxgboost {xgb.__version__}")


def same(path, content):
    return path.exists() and path.read_bytes() == content


if __name__ == "__main__":
    main()
