"""A read is cut into slices of about equal size that hold every row once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.connectors.mysql.conftest import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import SparkSession

KEYS: dict[str, tuple[str, Sequence[object]]] = {
    # Nine keys close together and one far away: arithmetic between least and greatest would put nine into one slice.
    "skewed": ("BIGINT UNSIGNED", [1, 2, 3, 4, 5, 6, 7, 8, 9, 2**64 - 1]),
    "negative": ("BIGINT", [-(2**63), -5, -4, -1, 0, 1, 2, 3, 2**62, 2**63 - 1]),
    "decimal": ("DECIMAL(30,3)", [f"{n}.125" for n in range(-5, 5)]),
    "text": ("VARCHAR(20)", ["a", "b'", "c\\", "d`", "日", "🚢", " e", "f%", "g\n", ""]),
    "bytes": ("VARBINARY(8)", [bytes([n, 0, 39, 92]) for n in range(250, 256)] + [b"", b"'", b"\\", b"\0"]),
    "times": ("DATETIME(6)", [f"2026-03-08 02:30:00.00000{n}" for n in range(10)]),
    "days": ("DATE", [f"2026-03-0{n}" for n in range(1, 10)] + ["0001-01-01"]),
}


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_every_row_lies_in_one_slice(server: Server, spark: SparkSession, kind: str) -> None:
    column_type, keys = KEYS[kind]
    table = server.table(f"k {column_type} NOT NULL PRIMARY KEY, n INT NOT NULL")
    for n, key in enumerate(keys):
        server.run(f"INSERT INTO {table} VALUES (%s, %s)", [key, n])
    dataset = server.dataset(table)
    source = server.source(rows_per_slice=3)
    plan = source.plan(dataset, None, None)
    assert source.count(dataset, plan) == {0: 3, 1: 3, 2: 3, 3: 1}
    rows = source.read(spark, dataset, plan).select("n", "_slice", "_source_rows").collect()
    assert sorted(row[0] for row in rows) == list(range(10))
    assert {(row[1], row[2]) for row in rows} == {(0, 3), (1, 3), (2, 3), (3, 1)}


def test_rows_outside_the_sampled_range_are_read_too(aurora: Server, spark: SparkSession) -> None:
    table = aurora.table("id INT PRIMARY KEY")
    aurora.run(f"INSERT INTO {table} VALUES (10), (20), (30), (40)")
    dataset = aurora.dataset(table)
    source = aurora.source(rows_per_slice=2)
    plan = source.plan(dataset, None, None)
    assert len(plan.slices) == 2
    aurora.run(f"INSERT INTO {table} VALUES (-5), (99)")
    assert sorted(row.id for row in source.read(spark, dataset, plan).collect()) == [-5, 10, 20, 30, 40, 99]


def test_large_tables_get_even_slices(server: Server) -> None:
    table = server.table("a BIGINT PRIMARY KEY")
    server.run(f"INSERT INTO {table} VALUES " + ", ".join(f"({n * n})" for n in range(20_000)))
    dataset = server.dataset(table)
    source = server.source(rows_per_slice=2_000)
    counts = source.count(dataset, source.plan(dataset, None, None)).values()
    assert sum(counts) == 20_000
    assert 8 <= len(counts) <= 12
    assert max(counts) < 3_000


def test_a_small_table_and_one_without_a_key_are_one_slice(server: Server, spark: SparkSession) -> None:
    source = server.source(rows_per_slice=3)
    for columns in ("id INT PRIMARY KEY", "id INT"):
        table = server.table(columns)
        server.run(f"INSERT INTO {table} VALUES (1), (2), (3)")
        plan = source.plan(server.dataset(table), None, None)
        assert len(plan.slices) == 1
        assert source.read(spark, server.dataset(table), plan).count() == 3
    table = server.table("id INT")
    server.run(f"INSERT INTO {table} VALUES (1), (2), (3), (4), (NULL)")
    plan = source.plan(server.dataset(table), None, None)
    assert source.count(server.dataset(table), plan) == {0: 5}
