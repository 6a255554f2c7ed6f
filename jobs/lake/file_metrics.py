"""The metrics that Iceberg keeps of a data file's columns: sizes, counts and bounds, by which scans skip files.

PyIceberg computes them from the footer, where the file is written: Java would read the footer again, and Hadoop's
configuration with it, each time. They are JSON, which Iceberg's Java takes in one call (`ContentFileParser`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    pyarrow_to_schema,
)


class FileMetrics:
    """Computes the metrics of files of one schema, whose columns have Iceberg's field ids. Texts and bytes are cut to
    16, as Iceberg does unless a table says otherwise; ours do not."""

    def __init__(self, schema: pa.Schema) -> None:
        columns = pyarrow_to_schema(schema)
        self._kept = compute_statistics_plan(columns, {})
        self._ids = parquet_path_to_id_mapping(columns)

    def text(self, footer: pq.FileMetaData) -> str:
        """Return the metrics as members of a content file (REST catalog specification, `DataFile`)."""
        statistics = data_file_statistics_from_parquet_metadata(footer, self._kept, self._ids).to_serialized_dict()
        counts = {
            name: _pairs(statistics[name.replace("-", "_")])
            for name in ("column-sizes", "value-counts", "null-value-counts", "nan-value-counts")
        }
        bounds = {
            name: _pairs({column: value.hex().upper() for column, value in statistics[name.replace("-", "_")].items()})
            for name in ("lower-bounds", "upper-bounds")
        }
        return json.dumps(counts | bounds | {"split-offsets": statistics["split_offsets"]})


def _pairs(values: Mapping[int, object]) -> dict[str, list[object]]:
    return {"keys": list(values), "values": list(values.values())}
