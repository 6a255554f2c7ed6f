"""Rows that BigQuery refuses: Spark says why, and Arrow counts the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from connectors.base import REJECTED_TYPE, Column
from jobs.stages.batch import warehouse_limits
from jobs.stages.batch.spark_landing import as_landed
from jobs.stages.batch.warehouse_limits import count_unfit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = [
    Column(name=name, source_type="x", spark_type=kind)
    for name, kind in (
        ("id", "int"),
        ("part", "string"),
        ("d", "date"),
        ("t", "timestamp"),
        ("n", "timestamp_ntz"),
        ("b", "binary"),
    )
]
YEAR = "BigQuery cannot hold {}: its year is outside 1 to 9999 in UTC"
ROWS = [
    ("1, 'a', DATE'0001-01-01', TIMESTAMP'0001-01-01 00:00:00Z', TIMESTAMP_NTZ'0001-01-01 00:00:00', NULL", None),
    (
        "2, 'a', DATE'9999-12-31', TIMESTAMP'9999-12-31 23:59:59.999999Z',"
        " TIMESTAMP_NTZ'9999-12-31 23:59:59.999999', NULL",
        None,
    ),
    ("NULL, 'a', NULL, NULL, NULL, NULL", "id is NULL, and primary_key names it"),
    ("4, NULL, NULL, NULL, NULL, NULL", "part is NULL, and primary_key names it"),
    ("5, 'a', DATE'0001-01-01' - INTERVAL 1 DAY, NULL, NULL, NULL", YEAR.format("d")),
    ("6, 'a', DATE'9999-12-31' + INTERVAL 1 DAY, NULL, NULL, NULL", YEAR.format("d")),
    ("7, 'a', NULL, TIMESTAMP'0001-01-01 00:00:00Z' - INTERVAL 0.000001 SECOND, NULL, NULL", YEAR.format("t")),
    ("8, 'a', NULL, TIMESTAMP'9999-12-31 23:59:59.999999Z' + INTERVAL 0.000001 SECOND, NULL, NULL", YEAR.format("t")),
    ("9, 'a', NULL, TIMESTAMP_MICROS(1763600523000000000), NULL, NULL", YEAR.format("t")),
    ("10, 'a', NULL, NULL, TIMESTAMP_NTZ'0001-01-01 00:00:00' - INTERVAL 0.000001 SECOND, NULL", YEAR.format("n")),
    (
        "11, 'a', NULL, NULL, TIMESTAMP_NTZ'9999-12-31 23:59:59.999999' + INTERVAL 0.000001 SECOND, NULL",
        YEAR.format("n"),
    ),
    ("12, repeat('é', 300), NULL, NULL, NULL, NULL", "BigQuery cannot hold the row: it has more than 100 MB"),
    ("13, repeat('a', 500), NULL, NULL, NULL, NULL", None),
    ("14, repeat('a', 400), NULL, NULL, NULL, X'00'", None),
    ("15, repeat('a', 500), NULL, NULL, NULL, X'00'", "BigQuery cannot hold the row: it has more than 100 MB"),
    ("16, '', NULL, NULL, NULL, X''", None),
]


def test_rows_at_the_limits(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse_limits, "MOST_ROW_BYTES", 500)
    names = "id, part, d, t, n, b"
    read = " UNION ALL ".join(f"SELECT {values}" for values, _ in ROWS)
    rows = spark.sql(
        f"SELECT {names}, 0 AS _slice, CAST(NULL AS {REJECTED_TYPE}) AS _rejected"
        f" FROM (SELECT * FROM ({read}) AS t({names}))"
    )
    landed = as_landed(rows, COLUMNS, None, primary_key=["id", "part"])
    reasons = [row[0] for row in landed.select("_rejected.reason").collect()]
    assert reasons == [reason for _, reason in ROWS]
    assert as_landed(rows, COLUMNS, None).where("_rejected IS NOT NULL AND _rejected.reason LIKE '%NULL%'").isEmpty()
    record = landed.where("part IS NULL").select("_rejected.record").first()
    assert record is not None
    assert record[0] == '{"id":4,"part":null,"d":null,"t":null,"n":null,"b":null}'
    batch = pa.Table.from_batches(rows._collect_as_arrow()).combine_chunks().to_batches()[0]  # type: ignore[operator]
    assert count_unfit(batch, ("id", "part")) == 11
    assert [count_unfit(batch.slice(row, 1), ("id", "part")) for row in range(len(ROWS))] == [
        0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0,
    ]  # fmt: skip


def test_a_row_that_is_rejected_already_is_not_counted() -> None:
    rejected = pa.array([{"reason": "day: not a date", "record": "{}"}, None])
    batch = pa.RecordBatch.from_arrays([pa.array([None, 1], pa.int32()), rejected], names=["id", "_rejected"])
    assert count_unfit(batch, ("id",)) == 0
