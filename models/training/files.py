"""Reads what `tollgate features` wrote, labels and transactions: tables and dictionaries, nothing decided yet."""

import json
import math
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from training.errors import Wrong

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MISSING = "(missing)"
"""The group of a transaction that lacks the field."""


def parse_moment(text, where):
    """RFC 3339 to UTC microseconds, exactly."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Wrong(f"{where}: {text!r} is no RFC 3339 moment, such as 2026-03-01T00:00:00Z") from error
    if moment.tzinfo is None:
        raise Wrong(f"{where}: {text!r} has no offset from UTC; write 2026-03-01T00:00:00Z")
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_text(micros):
    """UTC microseconds to RFC 3339."""
    return (EPOCH + timedelta(microseconds=int(micros))).isoformat().replace("+00:00", "Z")


def is_table(path):
    return str(path).endswith((".csv", ".csv.gz", ".parquet"))


def read_table(path):
    """A CSV or Parquet file as a table."""
    if not is_table(path):
        raise Wrong(f"{path}: is neither .csv, .csv.gz nor .parquet")
    try:
        table = pa.parquet.read_table(path) if str(path).endswith(".parquet") else read_csv(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise Wrong(f"{path}: cannot be read: {error}; `tollgate features --output` writes such a file") from error
    if len(set(table.column_names)) != table.num_columns:
        raise Wrong(f"{path}: names a column twice")
    if table.num_rows == 0 or table.num_columns < 2:
        raise Wrong(f"{path}: has {table.num_rows} rows and {table.num_columns} columns; nothing to learn from")
    return table


def read_csv(path):
    """One block, so that a column's type is inferred from all of it; the first column is an id, whatever it looks like."""
    with pa.input_stream(path) as stream:
        first = stream.read(1 << 20).split(b"\n", 1)[0].decode().split(",", 1)[0].strip().strip('"')
    return pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=1 << 30),
        convert_options=pa.csv.ConvertOptions(column_types={first: pa.string()}, strings_can_be_null=True, null_values=[""]),
    )


def column(table, name, path):
    if name not in table.column_names:
        raise Wrong(f"{path}: has no column {name!r}")
    return table.column(name)


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
    except OSError as error:
        raise Wrong(f"{path}: cannot be read: {error}") from error
    except ValueError as error:
        raise Wrong(f"{path}, line {number}: is no JSON: {error}") from error


def read_labels(paths):
    """Transaction id to its labels in the order of their arrival, each as (UTC microseconds, 1 for fraud or 0)."""
    labels = {}
    for path in paths:
        for where, body in read_ndjson(path):
            label = {"fraud": 1, "legitimate": 0}.get(body.get("label"))
            if label is None or not isinstance(body.get("transaction_id"), str):
                raise Wrong(f'{where}: needs "transaction_id" and "label": "fraud" or "legitimate"')
            moment = parse_moment(body["occurred_at"], where) if "occurred_at" in body else -math.inf
            labels.setdefault(body["transaction_id"], []).append((moment, label))
    for known in labels.values():
        known.sort(key=lambda timed: timed[0])
    if paths and not labels:
        raise Wrong(f"{', '.join(paths)}: no labels")
    return labels


def known_labels(labels, before=math.inf):
    """Transaction id to 1 or 0, as known `before` a moment; of several labels the latest counts."""
    known = {}
    for transaction, timed in labels.items():
        earlier = [label for moment, label in timed if moment < before]
        if earlier:
            known[transaction] = earlier[-1]
    if labels and not known:
        raise Wrong(f"no label is known before {moment_text(before)}: is --split-at earlier than the labels?")
    return known


def read_transactions(paths, fields):
    """Transaction id to (occurred_at in UTC microseconds, the values of `fields` as texts). A field is written card.funding."""
    found, texts = {}, {}
    for path in paths:
        for where, body in read_ndjson(path):
            if not isinstance(body.get("transaction_id"), str):
                raise Wrong(f'{where}: needs "transaction_id"')
            values = tuple(texts.setdefault(text, text) for text in (field_text(body, field) for field in fields))
            found[body["transaction_id"]] = (parse_moment(body.get("occurred_at"), where), values)
    return found


def field_text(body, field):
    for part in field.split("."):
        body = body.get(part) if isinstance(body, dict) else None
    return MISSING if body is None else str(body)
