"""Branches of a raw table: attempts that never meet, a publish that goes to the proved snapshot or nowhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.base import Column
from connectors.errors import LakeMoved, SchemaBroken
from jobs.lake.batch_log import MAIN
from jobs.lake.catalog import ensure_namespaces
from jobs.lake.raw_table import RawTable
from jobs.lake.schema import widens
from jobs.lake.spark_session import open_session
from jobs.lake.tables import ensure_tables
from tests.e2e.ferry import Ferry

COLUMNS = (Column(name="id", source_type="int", spark_type="int"),)
ROW = "_run_id STRING, _batch BIGINT, _slice INT, _rejected STRUCT<reason: STRING, record: STRING>"


@pytest.fixture
def table(ferry: Ferry, unique_name: Callable[[str], str]) -> RawTable:
    spark = open_session(ferry.settings, "tests")
    name = unique_name("branches")
    ensure_namespaces(ferry.catalog)
    ensure_tables(spark, name, COLUMNS, None)
    return RawTable(spark, name)


def _put(table: RawTable, branch: str, number: int) -> None:
    rows = table._spark.createDataFrame([(number, "r", 1, 0, None)], f"id INT, {ROW}")
    table.append(rows, branch, {"lakeferry.run-id": "r"})


def test_each_attempt_has_a_branch_of_its_own_begun_at_the_last_ones_head(table: RawTable) -> None:
    base = table.head().snapshot_id
    first = table.open_attempt("run", 1, base)
    assert first.snapshot_id == base
    _put(table, first.branch, 1)
    second = table.open_attempt("run", 1, base)
    assert second.branch != first.branch
    assert second.snapshot_id == table.head(first.branch).snapshot_id
    assert second.properties["lakeferry.run-id"] == "r"
    # The driver that was thought dead goes on writing: to its own branch.
    _put(table, first.branch, 2)
    assert [row.id for row in table.rows(table.head(second.branch).snapshot_id).collect()] == [1]
    assert table.open_attempt("run", 2, base).snapshot_id == base


def test_a_base_that_is_gone_is_told_and_not_tried_for_ever(table: RawTable) -> None:
    with pytest.raises(LakeMoved, match="snapshot 1, which the plan"):
        table.open_attempt("run", 1, 1)


def test_publish_refuses_another_head_than_the_proved_one(table: RawTable) -> None:
    branch = table.open_attempt("run", 1, None).branch
    _put(table, branch, 1)
    proved = table.head(branch)
    _put(table, branch, 2)
    before = table.head(MAIN)
    with pytest.raises(LakeMoved):
        table.publish(proved, "run", 1, before.snapshot_id)
    assert table.head(MAIN) == before


def test_publish_moves_main_and_tag_and_drops_all_branches_of_the_run(table: RawTable) -> None:
    other = table.open_attempt("other", 1, None).branch
    for number in (1, 2):
        dead = table.open_attempt(f"run{number}", 1, table.head().snapshot_id).branch
        branch = table.open_attempt(f"run{number}", 1, table.head().snapshot_id).branch
        _put(table, branch, number)
        head = table.head(branch)
        assert table.publish(head, f"run{number}", number, table.head().snapshot_id)
        assert table.head(MAIN).snapshot_id == head.snapshot_id
        assert table.head(MAIN).properties["lakeferry.run-id"] == "r"
        assert table.head("position").snapshot_id == head.snapshot_id
        assert table.head(f"batch_{number}").snapshot_id == head.snapshot_id
        for gone in (branch, dead):
            with pytest.raises(LakeMoved):
                table.head(gone)
    assert table.head(other).branch == other


def test_publish_gives_way_to_the_run_that_came_first(table: RawTable) -> None:
    ours, theirs = (table.open_attempt(run, 1, None).branch for run in ("ours", "theirs"))
    _put(table, ours, 1)
    _put(table, theirs, 2)
    base = table.head(MAIN).snapshot_id
    assert table.publish(table.head(theirs), "theirs", 1, base)
    published = table.head(MAIN)
    assert not table.publish(table.head(ours), "ours", 1, base)
    # Not even where it is asked to go on from there: the head does not build on it.
    assert not table.publish(table.head(ours), "ours", 2, published.snapshot_id)
    assert table.head(MAIN) == published


def test_columns_are_added_and_widened_and_nothing_else(ferry: Ferry, table: RawTable) -> None:
    spark = table._spark
    wider = (
        Column(name="id", source_type="bigint", spark_type="bigint"),
        Column(name="x", source_type="text", spark_type="string"),
    )
    ensure_tables(spark, table.dataset, wider, None)
    types = {field.name: field.dataType.simpleString() for field in spark.table(table.name).schema}
    assert (types["id"], types["x"]) == ("bigint", "string")
    ensure_tables(spark, table.dataset, COLUMNS, None)  # An int still fits the lake's bigint.
    with pytest.raises(SchemaBroken, match="'x' is string in the lake and int"):
        ensure_tables(spark, table.dataset, (Column(name="x", source_type="int", spark_type="int"),), None)


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("int", "bigint", True),
        ("bigint", "int", False),
        ("decimal(10,2)", "decimal(12,2)", True),
        ("decimal(10,2)", "decimal(12,3)", False),
        ("float", "double", True),
        ("string", "int", False),
    ],
)
def test_what_widens(old: str, new: str, fits: bool) -> None:
    assert widens(old, new) is fits
