#!/usr/bin/env python3
"""Prints the Practical Handbook's table of results with our rows beneath the book's.

    cargo build --release --features parquet
    .venv/bin/python models/handbook/table.py --work work/handbook

Makes the features of the Handbook's transactions with `tollgate features`, twice: with features.yaml, the book's own fourteen, and
with full.yaml, what our windows can say beyond them. Trains XGBoost on both with the book's protocol and measures on the book's test
week, and on later weeks that the book's chapter 5 names. See README.md beside this file for the protocol and for what was printed.

With --choose it touches no test week: it compares settings for full.yaml on three weeks before the first one, and prints them. The setting of the
table was read off there.

The same files give the same table. Libraries: models/requirements.txt.
"""

import argparse
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost as xgb

from protocol import Measures, Stretch, Transactions, Wrong

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

BOOK_ROWS = [
    ("the book: logistic regression", 0.871, 0.606, 0.291),
    ("the book: decision tree, depth 2", 0.763, 0.496, 0.241),
    ("the book: decision tree, unlimited", 0.788, 0.309, 0.243),
    ("the book: random forest", 0.867, 0.658, 0.287),
    ("the book: XGBoost", 0.862, 0.639, 0.273),
]
"""Chapter 3: AUC ROC, average precision, card precision@100."""
BOOK_WEEK = "2018-08-08"
LATER_WEEKS = ["2018-08-15", "2018-08-22", "2018-08-29"]
CHOOSING_WEEKS = ["2018-07-11", "2018-07-18", "2018-07-25"]
"""The last one is the book's training week; the delay that follows it is left alone."""

BOOK_FEATURES = [
    "tx.amount", "tx_during_weekend", "tx_during_night",
    "customer_id_nb_tx_1day_window", "customer_id_avg_amount_1day_window",
    "customer_id_nb_tx_7day_window", "customer_id_avg_amount_7day_window",
    "customer_id_nb_tx_30day_window", "customer_id_avg_amount_30day_window",
    "terminal_id_nb_tx_1day_window", "terminal_id_risk_1day_window",
    "terminal_id_nb_tx_7day_window", "terminal_id_risk_7day_window",
    "terminal_id_nb_tx_30day_window", "terminal_id_risk_30day_window",
]


@dataclass(frozen=True)
class Setting:
    """How a model is trained."""

    name: str
    train_days: int
    trees: int
    parameters: dict


BOOK_SETTING = Setting("the book's XGBoost", 7, 100, {"tree_method": "exact", "base_score": 0.5})
"""XGBoost's defaults, which were `exact` and 0.5 when the book was written."""


def full_setting(train_days, depth, trees, eta):
    parameters = {"tree_method": "hist", "max_bin": 256, "max_depth": depth, "eta": eta, "subsample": 0.8, "colsample_bytree": 0.5,
                  "min_child_weight": 5}
    return Setting(f"{train_days} days, {trees} trees of depth {depth}, eta {eta}", train_days, trees, parameters)


CANDIDATES = [full_setting(70, 5, 200, 0.06), full_setting(70, 6, 150, 0.06), full_setting(70, 4, 250, 0.06), full_setting(35, 5, 200, 0.06)]
FULL_SETTING = CANDIDATES[2]
"""What --choose found best: see README.md."""


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", metavar="FILE", type=pathlib.Path,
                        default=ROOT.parent / "shared/data/handbook_2018-04-01_2018-09-04.parquet",
                        help="the Handbook's transactions [default: ../shared/data/handbook_2018-04-01_2018-09-04.parquet beside the checkout]")
    parser.add_argument("--tollgate", metavar="PROGRAM", type=pathlib.Path, default=ROOT / "target/release/tollgate",
                        help="built with --features parquet [default: target/release/tollgate]")
    parser.add_argument("--work", metavar="DIR", type=pathlib.Path, required=True, help="where the feature tables go, some 600 MB")
    parser.add_argument("--reuse", action="store_true", help="take the feature tables that are in --work from an earlier run")
    parser.add_argument("--choose", action="store_true", help="compare settings on the weeks before the test instead")
    parser.add_argument("--threads", type=int, default=1, help="of XGBoost [default: %(default)s, which the printed table is promised for]")
    return parser.parse_args(words)


def say(text):
    print(f"table.py: {text}", file=sys.stderr, flush=True)


def feature_table(arguments, catalogue):
    """The features of every transaction, by `tollgate features`."""
    output = arguments.work / f"{catalogue}.parquet"
    if arguments.reuse and output.exists():
        return output
    if not arguments.transactions.exists():
        raise Wrong(f"{arguments.transactions}: is not there; name the Handbook's transactions with --transactions FILE")
    command = [arguments.tollgate, "features", "--input", arguments.transactions, "--map", ROOT / "models/mappings/handbook.yaml",
               "--catalogue", HERE / f"{catalogue}.yaml", "--model", "none", "--output", output]
    say(" ".join(str(word) for word in command))
    arguments.work.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise Wrong(f"{arguments.tollgate}: does not start: {error}; build it: cargo build --release --features parquet") from error
    if done.returncode:
        raise Wrong(f"`tollgate features` ended with {done.returncode}; what it says stands above")
    return output


def matrix_of(path, names, transactions):
    """Transactions x features, f32, NaN for missing, in the order of the transactions; without names all features."""
    table = pq.read_table(path)
    if not np.array_equal(table.column(0).to_numpy().astype(np.int64), transactions.ids):
        raise Wrong(f"{path}: holds other transactions than --transactions; run without --reuse")
    names = names or table.column_names[1:]
    matrix = np.empty((table.num_rows, len(names)), np.float32)
    for at, name in enumerate(names):
        matrix[:, at] = pc.fill_null(table.column(name).cast(pa.float64()), np.nan).to_numpy()
    return matrix, names


def train_and_score(matrix, transactions, stretch, setting, threads):
    """Scores of the test rows by a model that has seen the training rows only, and which rows these are."""
    training, test = transactions.training(stretch), transactions.test(stretch)
    rows = xgb.DMatrix(matrix[training], transactions.frauds[training], nthread=threads)
    parameters = {"objective": "binary:logistic", "nthread": threads, "seed": 1, **setting.parameters}
    booster = xgb.train(parameters, rows, setting.trees)
    return test, booster.inplace_predict(matrix[test])


def measures_of(matrix, transactions, test_from, setting, threads):
    stretch = Stretch.before(test_from, setting.train_days)
    say(f"{setting.name}: train {stretch.train_from} to {stretch.train_to - 1}, test week from {stretch.test_from}")
    test, scores = train_and_score(matrix, transactions, stretch, setting, threads)
    return Measures.of(transactions, test, scores)


def print_table(head, rows):
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(cell if isinstance(cell, str) else f"{cell:.3f}" for cell in row) + " |")
    print(flush=True)


def table(arguments, transactions):
    book, _ = matrix_of(feature_table(arguments, "features"), BOOK_FEATURES, transactions)
    full, names = matrix_of(feature_table(arguments, "full"), None, transactions)
    rows = {}
    for title, matrix, setting in ((f"ours: the book's {book.shape[1]} inputs", book, BOOK_SETTING),
                                   (f"ours: full.yaml, {len(names)} features", full, FULL_SETTING)):
        for week in [BOOK_WEEK, *LATER_WEEKS]:
            rows[title, week] = measures_of(matrix, transactions, week, setting, arguments.threads)
    head = ["AUC ROC", "average precision", "card precision@100", "recall at 0.1 % false positives"]
    cells = lambda it: (it.auc_roc, it.average_precision, it.card_precision, it.recall)
    titles = list(dict.fromkeys(title for title, _ in rows))
    print(f"The book's test week, from {BOOK_WEEK}:\n")
    print_table(["", *head], [(*row, "") for row in BOOK_ROWS] + [(title, *cells(rows[title, BOOK_WEEK])) for title in titles])
    print("The test weeks of chapter 5, each with training and delay of its own before it:\n")
    print_table(["week from", "", *head], [(week, title, *cells(it)) for (title, week), it in rows.items()])


def choose(arguments, transactions):
    matrix, _ = matrix_of(feature_table(arguments, "full"), None, transactions)
    rows = []
    for setting in CANDIDATES:
        found = [measures_of(matrix, transactions, week, setting, arguments.threads) for week in CHOOSING_WEEKS]
        rows.append((setting.name, *(it.average_precision for it in found), float(np.mean([it.average_precision for it in found])),
                     float(np.mean([it.recall for it in found]))))
    print(f"Average precision on the weeks from {', '.join(CHOOSING_WEEKS)}:\n")
    print_table(["full.yaml with", *CHOOSING_WEEKS, "mean", "mean recall at 0.1 % false positives"], rows)
    print(f"Best mean: {max(rows, key=lambda row: row[-2])[0]}")


def main(words=None):
    arguments = parse_arguments(words)
    try:
        transactions = Transactions.read(arguments.transactions)
        (choose if arguments.choose else table)(arguments, transactions)
    except Wrong as error:
        sys.exit(f"table.py: {error}")


if __name__ == "__main__":
    main()
