"""Columns that change after the plan: what still reads as planned, and what a server says of its keys."""

from __future__ import annotations

import pytest

from connectors.errors import SourceMoved
from connectors.mysql.schema.column_changes import reads_alike
from tests.connectors.mysql.conftest import Server


@pytest.mark.parametrize(
    ("planned", "now", "alike"),
    [
        ("int(11)", "int(11)", True),
        ("varchar(10)", "varchar(100)", True),
        ("varbinary(10)", "varbinary(11)", True),
        ("char(2)", "char(3)", True),
        ("varchar(100)", "varchar(10)", False),
        ("varchar(10)", "text", False),
        ("binary(2)", "binary(3)", False),
        ("int(11)", "bigint(20)", False),
        ("int(11)", "int(10) unsigned", False),
        ("decimal(10,2)", "decimal(18,2)", False),
        ("decimal(10,2)", "decimal(10,4)", False),
        ("datetime", "datetime(6)", False),
        ("enum('a','b')", "enum('b','a')", False),
    ],
)
def test_what_reads_as_planned(planned: str, now: str, alike: bool) -> None:
    assert reads_alike(planned, now) is alike


def test_every_changed_column_is_named(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY, a INT, b VARCHAR(5), c INT")
    source, dataset = aurora.source(), aurora.dataset(table)
    plan = source.plan(dataset, None, None)
    aurora.run(f"ALTER TABLE {table} MODIFY b VARCHAR(50) FIRST, ADD COLUMN d INT")
    source.check_unchanged(dataset, plan)
    aurora.run(f"ALTER TABLE {table} DROP COLUMN a, MODIFY c BIGINT")
    with pytest.raises(SourceMoved, match=r"'a' \(int\(11\)\) is gone, 'c' was int\(11\) and is bigint\(20\)"):
        source.check_unchanged(dataset, plan)
    aurora.run(f"DROP TABLE {table}")
    with pytest.raises(SourceMoved, match="is gone since it was planned"):
        source.check_unchanged(dataset, plan)


def test_a_key_that_lets_more_rows_in_is_said(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY, region INT NOT NULL")
    source, dataset = aurora.source(), aurora.dataset(table)
    plan = source.plan(dataset, None, None)
    for change, key in (
        ("DROP PRIMARY KEY, ADD PRIMARY KEY (id, region)", r"\(id, region\)"),
        ("DROP PRIMARY KEY, ADD PRIMARY KEY (region)", r"\(region\)"),
        ("DROP PRIMARY KEY, ADD UNIQUE KEY (id)", "none"),
    ):
        aurora.run(f"ALTER TABLE {table} {change}")
        told = f"the primary key of {table} was \\(id\\) when it was planned and is {key}"
        with pytest.raises(SourceMoved, match=told):
            source.check_unchanged(dataset, plan)
        with pytest.raises(SourceMoved, match=told):
            source.slice_reader(dataset, plan)
    aurora.run(f"ALTER TABLE {table} ADD PRIMARY KEY (id, region)")
    wider = source.plan(dataset, None, None)
    aurora.run(f"ALTER TABLE {table} DROP PRIMARY KEY, ADD PRIMARY KEY (id)")
    # Rows that differ in the id alone differ in both.
    source.check_unchanged(dataset, wider)


def test_a_snapshot_keeps_its_columns(tidb: Server) -> None:
    table = tidb.table("id INT PRIMARY KEY, a INT")
    source, dataset = tidb.source(), tidb.dataset(table)
    plan = source.plan(dataset, None, None)
    tidb.run(f"ALTER TABLE {table} MODIFY a BIGINT")
    source.check_unchanged(dataset, plan)
    assert [column.source_type for column in source.plan(dataset, None, None).columns] == ["int", "bigint"]


def test_keys_no_two_rows_share(server: Server) -> None:
    table = server.table(
        "id INT, day DATE, code INT NOT NULL, loose INT, PRIMARY KEY (id, day), UNIQUE KEY a (code),"
        " UNIQUE KEY b (loose), UNIQUE KEY c (code, loose), KEY d (code, id)"
    )
    plan = server.source().plan(server.dataset(table), None, None)
    assert plan.primary_key == ("id", "day")
    assert plan.unique_keys == (("id", "day"), ("code",))


def test_a_unique_expression_is_no_key_of_columns(tidb: Server) -> None:
    table = tidb.table("id INT PRIMARY KEY, code VARCHAR(10) NOT NULL, UNIQUE KEY e (code, (LOWER(code)))")
    assert tidb.source().plan(tidb.dataset(table), None, None).unique_keys == (("id",),)
