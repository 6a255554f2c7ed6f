"""Slices copied into files: a few rows by the driver itself, which has no Spark here to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.base import REJECTED_COLUMN, OpenSlice, Slice, SliceReader
from connectors.errors import ServiceUnavailable
from jobs.batch.arrow_landing import ArrowLanding
from jobs.batch.copying import FEW_ROWS, CopiedSlice, Copying, copy_slices
from jobs.masks import Masking

REJECTED = pa.struct([("reason", pa.string()), ("record", pa.string())])
SCHEMA = pa.schema([("id", pa.int64()), (REJECTED_COLUMN, REJECTED)])
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
    return copy_slices(NO_SPARK, Copying(reader, landing, f"file://{folder}", {}), slices, at_once=4)


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
