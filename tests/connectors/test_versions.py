"""The order of versions, asked of an SQL engine of its own: which row of a key is chosen, and which one it replaces."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, cast

import pytest

from connectors.s3 import S3Source
from connectors.versions import LogColumns, WhereNull, columns_there, newer, newest_first, with_latest

if TYPE_CHECKING:
    from connectors.base import ReadRequest

LOG = LogColumns(partition="p", offset="o", timestamp="ts")
VERSIONS = ("_batch", "ts", "p", "o")
Row = tuple[int, int, int, int]
"""Batch, timestamp, partition, offset."""


def quoted(name: str) -> str:
    return f"`{name}`"


def chosen(rows: list[Row], *, in_order: bool) -> Row:
    """The newest of rows of one key."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (id INT, _batch INT, ts INT, p INT, o INT)")
    database.executemany("INSERT INTO t VALUES (1, ?, ?, ?, ?)", rows)
    order = newest_first(VERSIONS, LOG, quoted, in_order=in_order)
    source = with_latest("t", ["id"], LOG, quoted, in_order=in_order)
    row: Row = database.execute(f"SELECT _batch, ts, p, o FROM {source} ORDER BY {order} LIMIT 1").fetchone()
    return row


def replaces(s: Row, t: Row, *, in_order: bool) -> bool:
    """Whether a row of a batch takes the place of the one that is there."""
    condition = newer(VERSIONS, LOG, quoted, in_order=in_order)
    columns = "? AS _batch, ? AS ts, ? AS p, ? AS o"
    question = f"SELECT {condition} FROM (SELECT {columns}) AS S, (SELECT {columns}) AS T"
    return bool(sqlite3.connect(":memory:").execute(question, (*s, *t)).fetchone()[0])


@pytest.mark.parametrize(
    ("rows", "newest"),
    [
        ([(1, 10, 0, 8), (1, 20, 1, 0)], (1, 20, 1, 0)),
        ([(1, 10, 0, 0), (1, 5, 0, 1), (1, 7, 1, 0)], (1, 5, 0, 1)),
        ([(1, 10, 0, 0), (1, 5, 0, 1), (1, 12, 1, 0)], (1, 12, 1, 0)),
        ([(1, 10, 0, 0), (1, 10, 1, 0)], (1, 10, 1, 0)),
        ([(1, 99, 0, 9), (2, 10, 1, 0)], (2, 10, 1, 0)),
    ],
    ids=["by time", "by offset", "a clock went back", "equal times", "by batch"],
)
def test_the_newest_of_several_messages(rows: list[Row], newest: Row) -> None:
    assert chosen(rows, in_order=True) == newest
    assert chosen(rows[::-1], in_order=True) == newest


def test_of_messages_of_any_age_the_batch_says_nothing() -> None:
    rows = [(8, 99, 0, 9), (9, 10, 1, 0)]
    assert chosen(rows, in_order=False) == rows[0]


@pytest.mark.parametrize(
    ("s", "t", "in_order", "out_of_order"),
    [
        ((3, 10, 1, 0), (2, 99, 0, 9), True, False),
        ((3, 99, 1, 0), (2, 10, 0, 9), True, True),
        ((3, 10, 1, 0), (2, 10, 0, 9), True, False),
        ((3, 99, 0, 4), (2, 10, 0, 9), False, False),
        ((3, 10, 0, 9), (2, 99, 0, 4), True, True),
        ((3, 10, 0, 4), (2, 10, 0, 4), True, True),
        ((2, 10, 0, 4), (2, 10, 0, 4), False, False),
        ((2, 99, 1, 4), (3, 10, 0, 4), False, True),
    ],
    ids=[
        "another partition, earlier", "another partition, later", "another partition, at the same time",
        "the same partition, before", "the same partition, behind", "read again", "merged again",
        "a batch from before",
    ],
)  # fmt: skip
def test_a_message_takes_the_place_of_another(s: Row, t: Row, in_order: bool, out_of_order: bool) -> None:
    assert replaces(s, t, in_order=True) is in_order
    assert replaces(s, t, in_order=False) is out_of_order


@pytest.mark.parametrize(
    ("s", "t", "later"),
    [((2, None), (1, 5), False), ((1, 5), (2, None), True), ((2, 5), (1, 5), True), ((1, 5), (1, 5), False)],
)
def test_without_a_log_the_batch_decides_last(
    s: tuple[int, int | None], t: tuple[int, int | None], later: bool
) -> None:
    condition = newer(("at",), None, quoted, in_order=True)
    question = f"SELECT {condition} FROM (SELECT ? AS _batch, ? AS at) AS S, (SELECT ? AS _batch, ? AS at) AS T"
    assert bool(sqlite3.connect(":memory:").execute(question, (*s, *t)).fetchone()[0]) is later


def test_a_column_that_a_table_lacks_orders_nothing_yet() -> None:
    # Tables of an earlier version lack it until the next extract adds it.
    unlisted = WhereNull("_s3_modified_at", "_s3_listing")
    versions = ("_s3_listing", unlisted, "_s3_file", "_s3_line")
    before = ["id", "_s3_file", "_s3_line", "_s3_modified_at", "_batch"]
    assert columns_there(versions, before) == ("_s3_modified_at", "_s3_file", "_s3_line")
    assert columns_there(versions, ["_s3_listing", *before], before) == ("_s3_modified_at", "_s3_file", "_s3_line")
    assert columns_there(versions, ["_s3_listing", *before]) == versions
    assert columns_there(versions, ["_s3_listing", "_s3_file"]) == ("_s3_listing", "_s3_file")


FileRow = tuple[int, int | None, int, str, int]
"""Batch, listing, time of the object, file, line."""
FILE_VERSIONS = S3Source.version_columns(cast("ReadRequest", None))


@pytest.mark.parametrize(
    ("older", "newer_one"),
    [
        ((2, 1, 99, "z", 9), (1, 2, 10, "a", 1)),
        ((1, None, 99, "z", 9), (2, 1, 10, "a", 1)),
        ((2, None, 10, "z", 9), (1, None, 20, "a", 1)),
        ((2, None, 10, "a", 9), (1, None, 10, "b", 1)),
        ((2, 1, 99, "2026-11-20", 9), (1, 1, 10, "2026-11-21", 1)),
        ((1, 2, 10, "f", 3), (2, 2, 20, "f", 1)),
        ((2, 2, 10, "f", 1), (1, 2, 10, "f", 3)),
        ((1, 2, 10, "f", 1), (2, 2, 10, "f", 1)),
    ],
    ids=[
        "a later listing", "a listing that has a number", "of none, a later time", "of none, at one time, a later key",
        "of one listing, a later key", "of one key and listing, a later content", "of one content, a later line",
        "read again",
    ],
)  # fmt: skip
def test_the_newer_of_two_rows_of_files(older: FileRow, newer_one: FileRow) -> None:
    database = sqlite3.connect(":memory:")
    names = "_batch, _s3_listing, _s3_modified_at, _s3_file, _s3_line"
    columns = ", ".join(f"? AS {name}" for name in names.split(", "))
    later = newer(FILE_VERSIONS, None, quoted, in_order=False)
    question = f"SELECT {later} FROM (SELECT {columns}) AS S, (SELECT {columns}) AS T"
    assert database.execute(question, (*newer_one, *older)).fetchone() == (1,)
    assert not database.execute(question, (*older, *newer_one)).fetchone()[0]
    database.execute(f"CREATE TABLE t ({names})")
    database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", [newer_one, older])
    order = newest_first(FILE_VERSIONS, None, quoted, in_order=False)
    assert database.execute(f"SELECT {names} FROM t ORDER BY {order} LIMIT 1").fetchone() == newer_one
