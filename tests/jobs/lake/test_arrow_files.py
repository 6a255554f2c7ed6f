"""Data files named after their bytes: what was compared when they were made is seen to be there by the name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import ReconciliationFailed
from jobs.lake import data_files as arrow_files
from jobs.lake.data_files import DataFile, DataFileWriter, is_altered

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "1"}),
        pa.field("amount", pa.decimal128(18, 2), metadata={"PARQUET:field_id": "2"}),
        pa.field("memo", pa.string(), metadata={"PARQUET:field_id": "3"}),
    ]
)


def rows(first: int, count: int) -> pa.RecordBatch:
    ids = range(first, first + count)
    return pa.RecordBatch.from_pylist(
        [{"id": n, "amount": None if n % 3 else f"{n}.25", "memo": f"注文 {n} ☕"} for n in ids],
        schema=pa.schema([SCHEMA.field(0), pa.field("amount", pa.string()), SCHEMA.field(2)]),
    ).cast(SCHEMA)


def made(folder: Path, *batches: pa.RecordBatch) -> list[DataFile]:
    writer = DataFileWriter(SCHEMA, f"file://{folder}", {}, slice_id=7)
    for batch in batches:
        writer.add(batch)
    return list(writer.close())


def test_a_file_holds_its_rows_under_icebergs_ids_and_the_name_of_its_bytes(tmp_path: Path) -> None:
    [file] = made(tmp_path, rows(0, 100), rows(100, 50))
    path = Path(file.path.removeprefix("file://"))
    assert (file.rows, file.size_bytes, file.slice_id) == (150, path.stat().st_size, 7)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in path.name
    table = pq.read_table(path)
    assert table.to_pylist() == rows(0, 150).to_pylist()
    columns = pq.ParquetFile(path).schema
    assert [pq.ParquetFile(path).schema_arrow.field(n).metadata[b"PARQUET:field_id"] for n in range(3)] == [
        b"1",
        b"2",
        b"3",
    ]
    # The Iceberg specification has decimals of up to 18 digits as integers.
    assert columns.column(1).physical_type == "INT64"
    assert not is_altered(file.path, {})


def test_the_same_rows_make_another_file(tmp_path: Path) -> None:
    [first], [second] = made(tmp_path, rows(0, 10)), made(tmp_path, rows(0, 10))
    assert first.path != second.path
    assert first.path[-72:] == second.path[-72:], "of the same bytes"


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    assert made(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_has_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_files, "ROW_GROUP_BYTES", 1_000)
    [file] = made(tmp_path, rows(0, 100), rows(100, 50))
    path = file.path.removeprefix("file://")
    assert pq.ParquetFile(path).num_row_groups > 2
    assert pq.read_table(path).to_pylist() == rows(0, 150).to_pylist()


def test_a_large_slice_makes_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_files, "MOST_FILE_BYTES", 1_000)
    files = made(tmp_path, *(rows(start, 50) for start in range(0, 200, 50)))
    assert [file.rows for file in files] == [50, 50, 50, 50]
    assert {file.slice_id for file in files} == {7}


@pytest.mark.parametrize("harm", ["a bit", "cut", "gone"])
def test_a_file_that_has_other_bytes_is_told(tmp_path: Path, harm: str) -> None:
    [file] = made(tmp_path, rows(0, 100))
    path = Path(file.path.removeprefix("file://"))
    content = path.read_bytes()
    if harm == "a bit":
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif harm == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    assert is_altered(file.path, {})


def test_a_file_that_does_not_hold_its_rows_never_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = pq.write_table

    def altering(table: pa.Table, *arguments: Any, **more: Any) -> None:
        place = table.schema.get_field_index("memo")
        memos = pa.array(["注文" for _ in range(table.num_rows)])
        write(table.set_column(place, table.schema.field(place), memos), *arguments, **more)

    monkeypatch.setattr(pq, "write_table", altering)
    with pytest.raises(ReconciliationFailed, match="slice 7: the Parquet file does not hold the rows"):
        made(tmp_path, rows(0, 10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["00000-0-5f1c-00001.parquet", "slice_1_abc.parquet"])
def test_a_file_of_another_name_stands_for_nothing(name: str) -> None:
    assert DataFile(f"s3://lake/raw/t/data/{name}", 1, 1).slice_id is None
