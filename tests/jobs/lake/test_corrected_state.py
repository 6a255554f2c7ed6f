"""The state of a key without rows that a correction set aside: what the merges of its batches would have left."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from connectors.errors import UsageError
from connectors.versions import LogColumns, newer
from jobs.corrections.condition import checked_condition
from jobs.lake.corrected_state import Versions, states_query
from jobs.lake.schema import quoted

LOG = LogColumns(partition="_p", offset="_o", timestamp="_at")
WINDOW = 3
"""A batch of a requested window: it reads messages of any age, so its number orders nothing."""


def _states(spark: SparkSession, view: str, rows: Versions, last_batch: int) -> dict[str, str]:
    query = states_query(view, rows, ["_key_0"], f"SELECT DISTINCT id AS _key_0 FROM {view}", last_batch)
    return {row[0]: row[1] for row in spark.sql(f"SELECT _key_0, _state.value FROM ({query})").collect()}


def test_messages_are_folded_batch_by_batch_in_the_order_of_each_merge(spark: SparkSession) -> None:
    spark.createDataFrame(
        [
            # Between partitions the later batch wins, of one partition the later offset.
            ("a", "a1", 1, 0, 5, 50),
            ("a", "a2", 2, 1, 1, 10),
            # The window of batch 3 reads an older message again, and one that is newer than what batch 2 left.
            ("b", "b2", 2, 0, 7, 70),
            ("b", "b3", 3, 1, 2, 60),
            ("c", "c1", 1, 0, 8, 80),
            ("c", "c3", 3, 1, 3, 90),
            ("c", "c4", 4, 0, 9, 20),
            # Not merged yet.
            ("a", "a5", 5, 0, 10, 100),
        ],
        "id string, value string, _batch bigint, _p int, _o bigint, _at bigint",
    ).createOrReplaceTempView("corrected_messages")
    versions = ("_batch", "_at", "_p", "_o")
    in_order, of_window = (newer(versions, LOG, quoted, in_order=kind) for kind in (True, False))
    rows = Versions(
        columns=("id", "value", "_batch", "_p", "_o", "_at"),
        keys=("id",),
        versions=versions,
        log=LOG,
        replaces=f"CASE WHEN s._batch <> {WINDOW} THEN {in_order} ELSE {of_window} END",
        by_order=True,
    )
    assert _states(spark, "corrected_messages", rows, 4) == {"a": "a2", "b": "b2", "c": "c4"}
    assert _states(spark, "corrected_messages", rows, 3) == {"a": "a2", "b": "b2", "c": "c3"}


def test_an_append_keeps_the_first_batch_that_raw_still_has(spark: SparkSession) -> None:
    spark.createDataFrame(
        [("a", "second", 2, 1), ("a", "third", 3, 2), ("b", "older", 3, 1), ("b", "newer", 3, 2)],
        "id string, value string, _batch bigint, at int",
    ).createOrReplaceTempView("corrected_events")
    rows = Versions(("id", "value", "_batch", "at"), ("id",), ("at",), None, replaces=None, by_order=False)
    assert _states(spark, "corrected_events", rows, 3) == {"a": "second", "b": "newer"}


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        ("amonut > 1", "Valid: id, amount"),
        ("amount", "of type int, not BOOLEAN"),
        ("amount > 1) OR (1 = 1", "PARSE_SYNTAX_ERROR"),
        ("amount >", "PARSE_SYNTAX_ERROR"),
        ("sum(amount) > 1", "Spark SQL refuses the condition"),
        ("rand() > 0.5", "does not depend on the row alone"),
        ("amount IN (SELECT 1)", "does not depend on the row alone"),
        ("id IN (SELECT '4111111111111111')", "Spark SQL refuses the condition"),
        ("id = 4111111111111111 AND nobody", "Valid: id, amount"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused_without_its_words(
    spark: SparkSession, capfd: pytest.CaptureFixture[str], condition: str, word: str
) -> None:
    rows = spark.createDataFrame([("a", 1, 1)], "id string, amount int, _batch bigint")
    with pytest.raises(UsageError) as told:
        checked_condition(spark, rows, condition)
    assert word in str(told.value)
    assert "4111111111111111" not in str(told.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "condition", ["amount > 1", "id = 'a' -- why", "`amount` IS NULL OR _batch = 1", "amount IN (1)"]
)
def test_a_condition_on_the_row_is_taken(spark: SparkSession, condition: str) -> None:
    checked_condition(spark, spark.createDataFrame([("a", 1, 1)], "id string, amount int, _batch bigint"), condition)
