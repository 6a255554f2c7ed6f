"""The Parquet file a batch travels in: values as the lake has them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, LongType, NestedField, StringType

from jobs.transport import columns_of, write_parquet


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
    columns = columns_of(table.schema(), {"document"})
    assert [(column.name, column.type, column.staged_type) for column in columns[:4]] == [
        ("id", "INT64", "INT64"),
        ("wide", "BIGNUMERIC", "BIGNUMERIC"),
        ("whole", "BIGNUMERIC", "BIGNUMERIC"),
        ("document", "JSON", "STRING"),
    ]
    assert write_parquet(table, 1, columns, tmp_path / "1.parquet") == 2
    assert sorted(pq.read_table(tmp_path / "1.parquet").to_pylist(), key=lambda row: row["id"]) == rows[:2]
