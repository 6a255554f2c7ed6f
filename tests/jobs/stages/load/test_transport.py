"""The Parquet files a batch travels in: values as the lake has them, cut at a size."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DecimalType, LongType, NestedField, StringType

from connectors.bigquery.columns import in_emulator, lacking_in_emulator
from connectors.bigquery.transport_files import TransportFile, mark_of
from jobs.stages.load.transport_files import columns_of, write_parquet


def test_decimals_of_38_digits_and_json_travel_to_staging(tmp_path: Path) -> None:
    catalog = load_catalog("lake", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/lake")
    catalog.create_namespace("raw")
    schema = Schema(
        NestedField(1, "id", LongType()),
        NestedField(2, "wide", DecimalType(38, 20)),
        NestedField(3, "whole", DecimalType(38, 0)),
        NestedField(4, "document", StringType()),
        NestedField(5, "_run_id", StringType()),
        NestedField(6, "_batch", LongType()),
    )
    table = catalog.create_table("raw.t", schema)
    wide, whole = Decimal("-123456789012345678.12345678901234567891"), Decimal("9" * 38)
    rows = [
        {"id": 1, "wide": wide, "whole": whole, "document": '{"b": 1, "a": 2}', "_run_id": "r", "_batch": 1},
        {"id": 2, "wide": None, "whole": whole.copy_negate(), "document": None, "_run_id": "r", "_batch": 1},
        {"id": 3, "wide": None, "whole": None, "document": None, "_run_id": "s", "_batch": 2},
    ]
    table.append(pa.Table.from_pylist(rows, schema=schema.as_arrow()))
    columns = columns_of(table.schema(), {"document": "JSON"})
    assert [(column.name, column.type, column.staged_type) for column in columns[:4]] == [
        ("id", "INT64", "INT64"),
        ("wide", "BIGNUMERIC", "BIGNUMERIC"),
        ("whole", "BIGNUMERIC", "BIGNUMERIC"),
        ("document", "JSON", "STRING"),
    ]
    (file,) = write_parquet(table, 1, columns, tmp_path)
    assert (file.path, file.rows, file.size_bytes) == (tmp_path / "00000.parquet", 2, file.path.stat().st_size)
    assert sorted(pq.read_table(file.path).to_pylist(), key=lambda row: row["id"]) == rows[:2]

    # The emulator has no BIGNUMERIC: the digits travel as text, without an exponent.
    emulated = in_emulator(columns)
    assert [column.type for column in emulated[:4]] == ["INT64", "STRING", "STRING", "JSON"]
    folder = tmp_path / "emulated"
    folder.mkdir()
    (file,) = write_parquet(table, 1, emulated, folder)
    assert sorted((row["wide"] or "", row["whole"]) for row in pq.read_table(file.path).to_pylist()) == [
        ("", "-" + "9" * 38),
        ("-123456789012345678.12345678901234567891", "9" * 38),
    ]
    assert lacking_in_emulator(columns) == (
        "the BigQuery emulator has no BIGNUMERIC: wide, whole are STRING there. In BigQuery they are BIGNUMERIC"
    )
    assert lacking_in_emulator(emulated) is None


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Five data files, in each the numbers of a thousand rows with texts that do not compress well."""
    catalog = load_catalog("lake", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/lake")
    catalog.create_namespace("raw")
    fields = {"id": LongType(), "memo": StringType(), "_run_id": StringType(), "_batch": LongType()}
    schema = Schema(*(NestedField(i, name, kind) for i, (name, kind) in enumerate(fields.items(), 1)))
    made = catalog.create_table("raw.t", schema)
    words = random.Random(7)
    for start in range(0, 5000, 1000):
        numbers = range(start, start + 1000)
        rows = [{"id": n, "memo": words.randbytes(60).hex(), "_run_id": "r", "_batch": 1} for n in numbers]
        made.append(pa.Table.from_pylist(rows, schema=schema.as_arrow()))
    return made


def written(table: Table, folder: Path, most_bytes: int | None = None) -> list[TransportFile]:
    folder.mkdir()
    return write_parquet(table, 1, columns_of(table.schema()), folder, most_bytes)


def numbers(files: list[TransportFile]) -> list[int]:
    return sorted(n for file in files for n in pq.read_table(file.path, columns=["id"])["id"].to_pylist())


def test_a_file_ends_before_it_grows_beyond_the_limit(table: Table, tmp_path: Path) -> None:
    (whole,) = written(table, tmp_path / "whole")
    files = written(table, tmp_path / "cut", 100_000)

    assert whole.size_bytes > 300_000
    assert [file.path.name for file in files] == [f"{n:05}.parquet" for n in range(len(files))]
    assert 4 <= len(files) <= 12
    footer = 3_000
    assert max(file.size_bytes for file in files) < 100_000 + footer
    assert numbers([whole]) == numbers(files) == list(range(5000))
    assert [file.rows for file in files] == [pq.read_metadata(file.path).num_rows for file in files]


def test_a_row_larger_than_the_limit_has_a_file_of_its_own(table: Table, tmp_path: Path) -> None:
    files = written(table, tmp_path / "cut", 1)
    assert [file.rows for file in files] == [1] * 5000
    assert numbers(files[:3]) == sorted(numbers(files[:3]))


def test_the_same_batch_gives_the_same_bytes_whatever_was_committed_since(table: Table, tmp_path: Path) -> None:
    before = written(table, tmp_path / "before", 100_000)
    later = [{"id": 1, "memo": "m", "_run_id": "s", "_batch": 2}]
    table.append(pa.Table.from_pylist(later, schema=table.schema().as_arrow()))
    after = written(table, tmp_path / "after", 100_000)
    assert [file.crc32c for file in after] == [file.crc32c for file in before]
    assert mark_of(after, "direct") == mark_of(before, "direct")


def test_data_files_are_read_in_the_order_of_their_names_not_of_the_manifests(table: Table, tmp_path: Path) -> None:
    paths = sorted(task.file.file_path.removeprefix("file://") for task in table.scan().plan_files())
    (whole,) = written(table, tmp_path / "whole")
    found = pq.read_table(whole.path)["id"].to_pylist()
    assert found == [n for path in paths for n in pq.read_table(path)["id"].to_pylist()]


def test_another_cut_and_another_way_have_another_mark(table: Table, tmp_path: Path) -> None:
    cut, whole = written(table, tmp_path / "cut", 100_000), written(table, tmp_path / "whole")
    marks = {mark_of(cut, "direct"), mark_of(whole, "direct"), mark_of(cut, "bucket"), mark_of(cut[1:], "direct")}
    assert len(marks) == 4
