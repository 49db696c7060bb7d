"""Rows to train or test on: a matrix of features, labels, times and groups, from the files that the options name."""

import math
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.errors import Wrong
from training.files import (
    MISSING, column, is_table, known_labels, moment_text, parse_moment, read_labels, read_table, read_transactions)

FLOAT_MAX = float(np.finfo(np.float32).max)
DAY_MICROS = 86_400_000_000


class Rows:
    """`matrix`: rows x features, f32, NaN for missing. `labels`: 1 fraud, 0 not. `times`: UTC microseconds, or None.
    `groups`: name to one text a row.
    """

    def __init__(self, matrix, labels, times, groups):
        self.matrix, self.labels, self.times, self.groups = matrix, labels, times, groups

    def select(self, chosen):
        times = None if self.times is None else self.times[chosen]
        groups = {name: values[chosen] for name, values in self.groups.items()}
        return Rows(self.matrix[chosen], self.labels[chosen], times, groups)

    def window(self):
        if self.times is None or not len(self.times):
            return None
        return {"from": moment_text(self.times.min()), "to": moment_text(self.times.max())}

    def describe(self):
        return {"window": self.window(), "rows": len(self.labels), "frauds": int(self.labels.sum())}


class Source:
    """What stands beside the features: labels and transactions by id."""

    def __init__(self, options):
        self.options = options
        self.labels = read_labels(options.labels)
        self.fields = options.group_by if options.transactions else []
        documents = [path for path in options.transactions if not is_table(path)]
        self.transactions = read_transactions(documents, self.fields)
        self.tables = [(path, read_table(path)) for path in options.transactions if is_table(path)]
        if documents and self.tables:
            raise Wrong("--transactions: give NDJSON or tables, not both")

    def rows(self, table, path, names, before=math.inf):
        """The rows of a table, with the labels that were known `before` a moment."""
        ids = table.column(0).cast(pa.string()).to_pylist()
        table = self.joined(table, path, ids)
        facts = self.facts_of(ids, path)
        labels = self.labels_of(table, path, ids, before)
        rows = Rows(matrix_of(table, names, path), labels, self.times_of(table, path, facts), self.groups_of(table, path, facts))
        if self.options.unlabelled == "drop":
            return rows.select(rows.labels >= 0)
        rows.labels[rows.labels < 0] = 0
        return rows

    def joined(self, table, path, ids):
        """The table with the columns that the options name and only the tables of transactions have; the id column has one name in both."""
        wanted = [self.options.label_column, self.options.time_column, *self.options.group_by]
        wanted = [name for name in wanted if name and name not in table.column_names]
        if not self.tables or not wanted:
            return table
        key = table.column_names[0]
        for other_path, other in self.tables:
            for name in (key, *wanted):
                column(other, name, other_path)
        beside = pa.concat_tables([other.select([key, *wanted]) for _, other in self.tables])
        places = {transaction: at for at, transaction in enumerate(beside.column(key).cast(pa.string()).to_pylist())}
        unknown = [transaction for transaction in ids if transaction not in places]
        if unknown:
            raise Wrong(f"{path}: {len(unknown)} ids are not among --transactions, the first is {unknown[0]!r}")
        order = pa.array([places[transaction] for transaction in ids], pa.int64())
        for name in wanted:
            table = table.append_column(name, beside.column(name).take(order))
        return table

    def facts_of(self, ids, path):
        """What the transactions say of each row; None without transactions."""
        if not self.transactions:
            return None
        unknown = [transaction for transaction in ids if transaction not in self.transactions]
        if unknown:
            raise Wrong(f"{path}: {len(unknown)} ids are not among --transactions, the first is {unknown[0]!r}")
        return [self.transactions[transaction] for transaction in ids]

    def labels_of(self, table, path, ids, before):
        """1, 0, or -1 for a row without a label."""
        name = self.options.label_column
        if not name:
            known = known_labels(self.labels, before)
            found = np.array([known.get(transaction, -1) for transaction in ids], np.int8)
            if not (found >= 0).any():
                raise Wrong(f"{path}: none of its ids has a label; is {table.column_names[0]!r} the transaction id?")
            return found
        meanings = {"fraud": 1, "legitimate": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "none": -1, "": -1}
        values = column(table, name, path).to_pylist()
        found = [meanings.get(str(value).strip().lower()) for value in values]
        if None in found:
            row = found.index(None)
            raise Wrong(f"{path}, row {row + 1}, column {name}: {values[row]!r} is neither fraud nor legitimate")
        return np.array(found, np.int8)

    def times_of(self, table, path, facts):
        """When each row occurred, in microseconds; None when nothing says so."""
        name = self.options.time_column
        if facts is not None:
            return np.array([moment for moment, _ in facts], np.int64)
        if not name:
            return None
        values = column(table, name, path)
        if values.null_count:
            raise Wrong(f"{path}, column {name}: has empty fields")
        if pa.types.is_timestamp(values.type):
            return values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64()).to_numpy()
        return np.array([parse_moment(value, f"{path}, column {name}, row {row}")
                         for row, value in enumerate(values.to_pylist(), 1)], np.int64)

    def groups_of(self, table, path, facts):
        """The values to group by: a column of the rows, else a field of the transactions."""
        groups = {}
        for name in self.options.group_by:
            if name in table.column_names:
                values = [MISSING if value is None else str(value) for value in table.column(name).to_pylist()]
            elif facts is not None:
                at = self.fields.index(name)
                values = [fields[at] for _, fields in facts]
            else:
                raise Wrong(f"--group-by {name}: {path} has no such column; its own columns, those of a table given as --transactions, "
                            "or the fields of transactions in NDJSON can be named")
            if all(value == MISSING for value in values):
                raise Wrong(f"--group-by {name}: no row of {path} has it; a field is written as in the API, such as card.funding")
            groups[name] = np.array(values)
        return groups


def is_number(kind):
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)


def choose_features(table, options):
    """The features to train on, in order, and why others are left out."""
    path = options.features
    if options.feature_list:
        try:
            lines = pathlib.Path(options.feature_list).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise Wrong(f"{options.feature_list}: cannot be read: {error}") from error
        names = [line.split("#")[0].strip() for line in lines]
        names = [name for name in names if name]
        if not names or len(set(names)) != len(names):
            raise Wrong(f"{options.feature_list}: is empty or names a feature twice")
        for name in names:
            kind = column(table, name, path).type
            if not (is_number(kind) or pa.types.is_null(kind)):
                raise Wrong(f"{path}, column {name}: holds {kind}, not numbers")
        chosen, left_out = names, {}
    else:
        chosen, left_out = [], {}
        for name in table.column_names[1:]:
            values = table.column(name)
            if name in (options.label_column, options.time_column):
                continue
            if values.null_count == len(values):
                left_out[name] = "missing in every row"
            elif is_number(values.type):
                chosen.append(name)
            else:
                left_out[name] = f"holds {values.type}"
    if not chosen:
        raise Wrong(f"{path}: has no numeric columns")
    if any(mark in name for name in chosen for mark in "[]<"):
        raise Wrong("XGBoost takes no feature names with [, ] or <: rename them in the catalogue, or leave them out with --feature-list")
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


def load(options):
    """Training rows, test rows or None, feature names, and what to note about the data."""
    source = Source(options)
    table = read_table(options.features)
    names, left_out = choose_features(table, options)
    notes = {"left_out": left_out, "unlabelled": options.unlabelled}
    test = None
    if options.split_at:
        split = parse_moment(options.split_at, "--split-at")
        resume = split + round(options.gap_days * DAY_MICROS)
        notes["split"] = f"in time: trained before {moment_text(split)}, tested from {moment_text(resume)} on"
        # What training may know is what was known when the gap was over; the test is judged by all that is known today.
        train, test = source.rows(table, options.features, names, resume), source.rows(table, options.features, names)
        train, test = train.select(train.times < split), test.select(test.times >= resume)
    else:
        train = source.rows(table, options.features, names)
        notes["split"] = "none: the figures are of the training rows, and too good"
        if options.test:
            test = source.rows(read_table(options.test), options.test, names)
            notes["split"] = "two files"
    for kind, rows in (("training", train), ("test", test)):
        if rows is not None and not 0 < rows.labels.sum() < len(rows.labels):
            raise Wrong(f"of {len(rows.labels)} {kind} rows {int(rows.labels.sum())} are fraud; both kinds are needed: "
                        "take a longer file, or another --split-at")
    return train, test, names, notes
