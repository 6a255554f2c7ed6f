"""Text in a character set other than Unicode arrives exactly, or its row is rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from connectors.errors import SourceMoved
from tests.connectors.mysql.conftest import Server

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXACT = [
    ("latin1", "E9", "é"),
    ("latin1", "80", "€"),
    ("latin1", "81", "\x81"),
    ("koi8r", "C1", "а"),
    ("ascii", "61", "a"),
    ("utf8mb4", "F09F9AA2", "🚢"),
    ("utf16", "65E5", "日"),
    ("sjis", "955C5C", "表\\"),
    ("sjis", "82815F", "ａ_"),
    ("sjis", "3F", "?"),
    ("cp932", "8740", "①"),
    ("cp932", "815F", "＼"),
    ("cp932", "FAB1", "﨑"),
    ("ujis", "C6FC5C", "日\\"),
    ("gbk", "C8D5", "日"),
]
ALTERED = [
    ("sjis", "8740", "?"),
    ("sjis", "FBFC", "?"),
    ("sjis", "955C815F", "表\\"),
    ("cp932", "8790", "≒"),
    ("cp932", "8540", "?"),
    ("ujis", "A1C0", "\\"),
    ("euckr", "A2E8", "?"),
    ("cp1251", "98", "?"),
    ("ascii", "E9", "?"),
    ("tis620", "A0", "\ufffd"),
]
CASES = [*EXACT, *ALTERED]


@pytest.fixture(scope="module")
def table(aurora: Server) -> str:
    columns = [f"c{n} VARCHAR(9) CHARACTER SET {charset}" for n, (charset, _, _) in enumerate(CASES)]
    table = aurora.table(f"id INT PRIMARY KEY, {', '.join(columns)}, n INT")
    for row, (_, content, _) in enumerate(CASES):
        aurora.run(f"INSERT INTO {table} (id, c{row}) VALUES ({row}, _binary X'{content}')")
    return table


@pytest.mark.parametrize("of", ["nothing", "row", "columns"])
def test_text_that_does_not_come_back_rejects_its_row(aurora: Server, table: str, of: str) -> None:
    batch = only_batch(aurora, table, of)
    for row, (charset, content, text) in enumerate(CASES):
        rejected = batch.column("_rejected")[row].as_py()
        if row < len(EXACT):
            assert (batch.column(f"c{row}")[row].as_py(), rejected) == (text, None), (charset, content)
        else:
            assert rejected["reason"] == f"c{row}: {charset} text that Unicode does not give back", (charset, content)


def test_spark_reads_the_same_rejections(aurora: Server, table: str, spark: SparkSession) -> None:
    source, dataset = aurora.source(), aurora.dataset(table)
    read = source.read(spark, dataset, source.plan(dataset, None, None), "row")
    assert [row.id for row in read.where("_rejected IS NOT NULL").orderBy("id").collect()] == [
        *range(len(EXACT), len(CASES))
    ]


def test_types_call_a_column_exact_where_every_character_of_its_set_is_converted(aurora: Server, table: str) -> None:
    columns = aurora.source().describe(aurora.dataset(table)).columns[1:-1]
    by_set = {charset: column for (charset, _, _), column in zip(CASES, columns, strict=True)}
    assert {name for name, column in by_set.items() if column.verdict == "exact"} == {
        "latin1",
        "koi8r",
        "ascii",
        "utf8mb4",
        "utf16",
    }
    assert by_set["sjis"].verdict == "lossy"
    assert by_set["sjis"].source_type == "varchar(9) character set sjis"
    assert by_set["sjis"].note == "a row whose sjis text the server cannot convert exactly is set aside"
    assert by_set["utf8mb4"].source_type == "varchar(9)"


def test_words_of_an_enum_and_long_texts_are_checked_as_well(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY, e ENUM('a','b') CHARACTER SET sjis, t LONGTEXT CHARACTER SET cp932")
    aurora.run(f"INSERT INTO {table} VALUES (1, 'a', 'x'), (2, NULL, NULL), (3, 'b', _binary X'8790')")
    batch = only_batch(aurora, table, "row")
    assert batch.column("e").to_pylist() == ["a", None, "b"]
    assert [rejected and rejected["reason"] for rejected in batch.column("_rejected").to_pylist()] == [
        None,
        None,
        "t: cp932 text that Unicode does not give back",
    ]


def test_another_character_set_after_the_plan_is_another_type(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET sjis")
    source, dataset = aurora.source(), aurora.dataset(table)
    plan = source.plan(dataset, None, None)
    aurora.run(f"ALTER TABLE {table} MODIFY v VARCHAR(9) CHARACTER SET utf8mb4")
    with pytest.raises(SourceMoved, match=r"'v' was varchar\(9\) character set sjis and is varchar\(9\)"):
        source.slice_reader(dataset, plan)


def test_tidb_keeps_text_in_unicode_and_is_asked_nothing_more(tidb: Server) -> None:
    table = tidb.table("id INT PRIMARY KEY, g VARCHAR(9) CHARACTER SET gbk, l VARCHAR(9) CHARACTER SET latin1")
    tidb.run(f"INSERT INTO {table} VALUES (1, '日本', 'é')")
    batch = only_batch(tidb, table, "row")
    assert (batch.column("g")[0].as_py(), batch.column("l")[0].as_py()) == ("日本", "é")
    assert batch.column("_rejected").null_count == 1
    assert [c.verdict for c in tidb.source().describe(tidb.dataset(table)).columns] == ["exact"] * 3


def only_batch(server: Server, table: str, of: str) -> pa.RecordBatch:
    """All rows in the order of their key; none is altered after the server hashed it."""
    source, dataset = server.source(), server.dataset(table)
    reader = source.slice_reader(dataset, source.plan(dataset, None, None), of)  # type: ignore[arg-type]
    with reader.open(0) as opened:
        [batch] = opened.batches
    assert reader.altered(batch) == 0
    return batch.sort_by("id")
