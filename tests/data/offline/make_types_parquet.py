"""Makes types.parquet: one column per physical and logical type that the Parquet reader takes, with nulls in the second row.

    python3 make_types_parquet.py        # needs pyarrow; made with version 26
"""

import datetime as dt
import decimal

import pyarrow as pa
import pyarrow.parquet as pq

UTC = dt.timezone.utc
moment = dt.datetime(2018, 4, 1, 0, 0, 31, 123456, tzinfo=UTC)
local = moment.replace(tzinfo=None)
columns = {
    "bool": pa.array([True, None], pa.bool_()),
    "int8": pa.array([-8, None], pa.int8()),
    "int64": pa.array([1 << 40, None], pa.int64()),
    "uint32": pa.array([(1 << 32) - 1, None], pa.uint32()),
    "uint64": pa.array([(1 << 64) - 1, None], pa.uint64()),
    "float": pa.array([57.16, None], pa.float32()),
    "double": pa.array([57.16, float("nan")], pa.float64()),
    "string": pa.array(["é", ""], pa.string()),
    "dictionary": pa.array(["grocery", None]).dictionary_encode(),
    "decimal": pa.array([decimal.Decimal("57.16"), None], pa.decimal128(12, 2)),
    "instant_ms": pa.array([moment, None], pa.timestamp("ms", "UTC")),
    "instant_us": pa.array([moment, None], pa.timestamp("us", "UTC")),
    "instant_ns": pa.array([moment, None], pa.timestamp("ns", "Europe/Berlin")),
    "local_us": pa.array([local, None], pa.timestamp("us")),
    "date": pa.array([local.date(), None], pa.date32()),
    "card": pa.array([{"fingerprint": "fp_a1"}, None], pa.struct([("fingerprint", pa.string())])),
    "list": pa.array([[1, 2], None], pa.list_(pa.int32())),
}
pq.write_table(pa.table(columns), "types.parquet", compression="zstd", version="2.6")
