"""Metrics reported to Iceberg equal those it reads in a file's footer itself: scans leave files out by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from connectors.base import Column
from connectors.mysql.wire.decoding import arrow_type
from jobs.lake.arrow_schema import raw_arrow
from jobs.lake.catalog import data_folder, ensure_namespaces
from jobs.lake.data_files import DataFile, DataFileWriter
from jobs.lake.java_api import data_files, java_class, java_table, members_of
from jobs.lake.names import RAW
from jobs.lake.raw_table import MAIN, RawTable
from jobs.lake.spark_session import open_session
from jobs.lake.tables import ensure_tables
from tests.e2e.ferry import Ferry

LAST = 2**31 - 1
VALUES: dict[str, tuple[str, list[Any]]] = {
    "n": ("int", [1, -(2**31), None, LAST]),
    "id": ("bigint", [2**63 - 1, -(2**63), 0, 5]),
    "amount": ("decimal(9,2)", [Decimal("-9999999.99"), Decimal("0.01"), None, Decimal("1.00")]),
    "total": ("decimal(18,2)", [Decimal("-9999999999999999.99"), Decimal("0.01"), None, Decimal("1.00")]),
    "big": ("decimal(20,0)", [Decimal(2**64 - 1), Decimal(0), Decimal(256), None]),
    "wide": ("decimal(38,10)", [Decimal("-1e-10"), Decimal("9" * 28), None, None]),
    "memo": ("string", ["コーヒー豆 🚚 " * 3, "a" * 40, "", None]),
    "gone": ("string", [None] * 4),
    "raw": ("binary", [b"\xff" * 20, b"", b"\x00", None]),
    "day": ("date", [date(1, 1, 1), date(9999, 12, 31), None, date(1969, 12, 31)]),
    "at": (
        "timestamp",
        [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(2038, 1, 1, tzinfo=UTC), None, None],
    ),
    "wall": ("timestamp_ntz", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999), None, None]),
    "rate": ("double", [0.1, -1.5e300, float("nan"), None]),
    "small": ("float", [0.1, -0.0, None, 3.5]),
    "a.b": ("int", [3, 4, 5, 6]),
}


@pytest.fixture
def written(ferry: Ferry, unique_name: Callable[[str], str]) -> tuple[RawTable, DataFile]:
    """A raw table with the values on `main`, and the file they are in."""
    spark, name = open_session(ferry.settings, "tests"), unique_name("metrics")
    ensure_namespaces(ferry.catalog)
    columns = [Column(name=name, source_type=kind, spark_type=kind) for name, (kind, _) in VALUES.items()]
    ensure_tables(spark, name, columns, None)
    raw = ferry.catalog.load_table((RAW, name))
    schema = raw_arrow(raw, list(VALUES))
    arrays = [pa.array(values, arrow_type(kind)) for kind, values in VALUES.values()]
    arrays += [pa.array(["r"] * 4), pa.array([1] * 4, pa.int64()), pa.array([0] * 4, pa.int32())]
    rejected = [None, {"reason": "no", "record": "x"}, None, None]
    rows = pa.RecordBatch.from_arrays([*arrays, pa.array(rejected, schema.field("_rejected").type)], schema=schema)
    table = RawTable(spark, name)
    writer = DataFileWriter(schema, data_folder(raw), dict(raw.io.properties), slice_id=0, proved=False)
    writer.add(rows)
    [file] = writer.close()
    table.append_files([file], MAIN, {"lakeferry.run-id": "r", "lakeferry.batch": "1"})
    return table, file


def told(table: RawTable, entry: object) -> dict[str, Any]:
    """A data file as Iceberg's Java describes it."""
    spark = table._spark
    spec = java_table(spark, table.name).spec()
    found: dict[str, Any] = json.loads(java_class(spark, "org.apache.iceberg.ContentFileParser").toJson(entry, spec))
    return found


def read_from_the_footer(table: RawTable, file: DataFile) -> dict[str, Any]:
    spark, java = table._spark, java_table(table._spark, table.name)
    kept = java_class(spark, "org.apache.iceberg.MetricsConfig").forTable(java)
    metrics = java_class(spark, "org.apache.iceberg.parquet.ParquetUtil").fileMetrics(
        java.io().newInputFile(file.path), kept
    )
    builder = java_class(spark, "org.apache.iceberg.DataFiles").builder(java.spec()).withPath(file.path)
    builder = builder.withFormat("PARQUET").withFileSizeInBytes(file.size_bytes).withMetrics(metrics)
    return told(table, builder.build())


def by_column(pairs: dict[str, list[Any]]) -> dict[int, Any]:
    return dict(zip(pairs["keys"], pairs["values"], strict=True))


def test_iceberg_reads_the_same_in_the_footer(written: tuple[RawTable, DataFile]) -> None:
    table, file = written
    [entry] = data_files(table._spark, java_table(table._spark, table.name), [file])
    ours, theirs = told(table, entry), read_from_the_footer(table, file)
    assert ours.pop("split-offsets")
    for name in ("value-counts", "null-value-counts", "column-sizes"):
        assert by_column(ours.pop(name)) == by_column(theirs.pop(name)), name
    for name in ("lower-bounds", "upper-bounds"):
        mine, all_of_them = by_column(ours.pop(name)), by_column(theirs.pop(name))
        # PyIceberg leaves out those of nested columns, and takes a name with a dot for one.
        assert len(all_of_them) - len(mine) == 3
        assert mine == {column: all_of_them[column] for column in mine}, name
    # A footer does not count what is no number.
    assert ours.pop("nan-value-counts", None) == theirs.pop("nan-value-counts", None)
    assert ours == theirs


def test_what_is_committed_is_what_was_told(written: tuple[RawTable, DataFile]) -> None:
    table, file = written
    java = java_table(table._spark, table.name)
    [entry] = members_of(java.currentSnapshot().addedDataFiles(java.io()))
    committed = told(table, entry)
    assert by_column(committed["lower-bounds"]) == by_column(json.loads(file.metrics or "")["lower-bounds"])
    assert (committed["file-path"], committed["record-count"]) == (file.path, 4)


def test_every_value_is_found_by_looking_for_it(written: tuple[RawTable, DataFile]) -> None:
    from pyspark.sql import functions as F

    table, _ = written
    rows = table.rows(table.head().snapshot_id)
    for name, (kind, values) in VALUES.items():
        column = F.col(f"`{name}`")
        for value in values:
            plain = str(value) if isinstance(value, date | datetime) else value
            same = column.isNull() if value is None else column == F.lit(plain).cast(kind)
            assert rows.where(same).count() >= 1, f"{name} = {value!r}"
