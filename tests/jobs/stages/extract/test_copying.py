"""Slices copied into files: a few rows by the driver itself, others by Spark while the caller commits."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle

from connectors.base import REJECTED_COLUMN, OpenSlice, Slice, SliceReader
from connectors.errors import ServiceUnavailable
from jobs.masking.masks import Masking
from jobs.stages.extract.arrow_landing import ArrowLanding
from jobs.stages.extract.slice_copy import FEW_ROWS, CopiedSlice, Copying, copy_slices

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Spark's workers know nothing of this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
PATIENCE_SECONDS = 60


def _field(name: str, kind: pa.DataType, number: int) -> pa.Field:
    """A column of an Iceberg table."""
    return pa.field(name, kind, metadata={"PARQUET:field_id": str(number)})


REJECTED = pa.struct([_field("reason", pa.string(), 3), _field("record", pa.string(), 4)])
SCHEMA = pa.schema([_field("id", pa.int64(), 1), _field(REJECTED_COLUMN, REJECTED, 2)])
NO_SPARK = cast(Any, None)


@dataclass
class Numbers(SliceReader):
    """Slices of the numbers below `rows`; the first `cuts` reads break off."""

    rows: int
    cuts: int = 0
    opened: list[int] = field(default_factory=list)

    @property
    def schema(self) -> pa.Schema:
        return SCHEMA

    def only(self, slice_id: int) -> Numbers:
        return self

    @contextmanager
    def open(self, slice_id: int) -> Iterator[OpenSlice]:
        self.opened.append(slice_id)
        yield OpenSlice(self.rows, self._batches(len(self.opened) <= self.cuts))

    def _batches(self, cut: bool) -> Iterator[pa.RecordBatch]:
        ids = pa.array(range(self.rows), pa.int64())
        yield pa.RecordBatch.from_arrays([ids, pa.nulls(self.rows, REJECTED)], schema=SCHEMA)
        if cut:
            raise ServiceUnavailable("the connection broke")


def copied(folder: Path, reader: Numbers, *planned_rows: int | None) -> list[CopiedSlice]:
    landing = ArrowLanding(SCHEMA, Masking({}), {})
    slices = [Slice(id=number, detail={}, planned_rows=rows) for number, rows in enumerate(planned_rows)]
    work = Copying(reader, landing, f"file://{folder}", {})
    [given] = copy_slices(NO_SPARK, work, slices, nullcontext, at_once=4, together=1)
    return given


@dataclass
class Reading:
    """Says when the reading of each slice began and ended, and keeps those in `held` until they are let go."""

    began: dict[int, Event] = field(default_factory=lambda: defaultdict(Event))
    held: dict[int, Event] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)

    @contextmanager
    def __call__(self, slices: Sequence[Slice]) -> Iterator[None]:
        [piece] = slices
        self.began[piece.id].set()
        assert piece.id not in self.held or self.held[piece.id].wait(PATIENCE_SECONDS)
        yield
        self.ended.append(piece.id)


def copying(
    spark: SparkSession, folder: Path, reader: Numbers, reading: Reading, together: int, at_once: int = 1
) -> Generator[list[CopiedSlice], None, None]:
    """Four slices of unknown size."""
    landing = ArrowLanding(SCHEMA, Masking({}), {})
    slices = [Slice(id=number, detail={}) for number in range(4)]
    return copy_slices(spark, Copying(reader, landing, f"file://{folder}", {}), slices, reading, at_once, together)


def test_the_next_slices_are_copied_while_the_last_ones_are_committed(spark: SparkSession, tmp_path: Path) -> None:
    reading = Reading()
    with closing(copying(spark, tmp_path, Numbers(3), reading, together=1)) as given:
        [first] = next(given)
        # Nothing more is asked for, and yet they are read.
        assert all(reading.began[number].wait(PATIENCE_SECONDS) for number in range(4))
        rest = [piece for some in given for piece in some]
    assert [first.id, *sorted(piece.id for piece in rest)] == [0, 1, 2, 3]
    assert all([file.rows for file in piece.files] == [3] for piece in (first, *rest))


def test_slices_are_given_as_they_are_done_so_many_at_a_time(spark: SparkSession, tmp_path: Path) -> None:
    slow = Event()
    reading = Reading(held={0: slow})
    with closing(copying(spark, tmp_path, Numbers(3), reading, together=3, at_once=2)) as given:
        assert {piece.id for piece in next(given)} == {1, 2, 3}
        slow.set()
        assert [[piece.id for piece in some] for some in given] == [[0]]


def test_what_failed_is_told_and_what_was_not_begun_is_left(spark: SparkSession, tmp_path: Path) -> None:
    reading = Reading()
    reader = Numbers(3, cuts=sys.maxsize)
    with pytest.raises(ServiceUnavailable, match="the connection broke"):
        next(copying(spark, tmp_path, reader, reading, together=1))
    assert 3 not in reading.began


def test_who_asks_no_more_waits_for_what_is_under_way_and_begins_nothing(spark: SparkSession, tmp_path: Path) -> None:
    held = Event()
    reading = Reading(held={1: held})
    given = copying(spark, tmp_path, Numbers(3), reading, together=1)
    next(given)
    assert reading.began[1].wait(PATIENCE_SECONDS)
    Timer(0.2, held.set).start()
    given.close()
    assert reading.ended == [0, 1]


def test_a_few_rows_are_copied_without_spark(tmp_path: Path) -> None:
    reader = Numbers(3)
    [first, second] = copied(tmp_path, reader, 3, FEW_ROWS - 3)
    assert (first.id, second.id, reader.opened) == (0, 1, [0, 1])
    assert (first.source_rows, first.altered_rows, first.rejected_rows) == (3, 0, 0)
    [file] = first.files
    assert pq.read_table(file.path.removeprefix("file://"))["id"].to_pylist() == [0, 1, 2]


def test_a_read_that_breaks_off_is_begun_again_and_leaves_its_rows_once(tmp_path: Path) -> None:
    reader = Numbers(3, cuts=1)
    [piece] = copied(tmp_path, reader, 3)
    assert reader.opened == [0, 0]
    assert [file.rows for file in piece.files] == [3]


@pytest.mark.parametrize("planned", [(FEW_ROWS + 1,), (FEW_ROWS, 1), (3, None)])
def test_more_rows_or_nobody_knows_how_many_are_sparks_work(tmp_path: Path, planned: tuple[int | None, ...]) -> None:
    reader = Numbers(3)
    with pytest.raises(AttributeError):
        copied(tmp_path, reader, *planned)
    assert reader.opened == []
