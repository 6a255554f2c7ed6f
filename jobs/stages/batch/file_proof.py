"""Files as proof of their rows: counts a batch by its files, and compares the files' bytes with their names.

Where values are proved, a file named after its bytes was compared with its rows when it was written
(`jobs.lake.data_files`). While its bytes are unchanged it holds these rows, so that no row need be read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from connectors.errors import ReconciliationFailed
from jobs.lake.data_files import DataFile, is_altered
from jobs.lake.map_files import map_files
from jobs.stages.batch.reconciliation import SliceCounts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def count_files(files: Sequence[DataFile]) -> SliceCounts | None:
    """Count a batch by its files, if none of its rows is rejected or set aside.

    Args:
        files: all files of the batch (`RawTable.batch_files`).

    Returns:
        None if the files cannot answer: some are not named after their bytes.
    """
    rows: Counter[int] = Counter()
    for file in files:
        if file.slice_id is None:
            return None
        rows[file.slice_id] += file.rows
    return SliceCounts(raw=dict(rows))


def check_files_unaltered(
    spark: SparkSession, files: Sequence[DataFile], file_io: Mapping[str, str], at_once: int = 16
) -> None:
    """Check that files named after their bytes still have these bytes. Spark's tasks read them; this process reads them
    if they are few and small.

    Args:
        files: the files of a batch. Files with other names are ignored.
        file_io: properties of the table's file IO.

    Raises:
        ReconciliationFailed: a file has other bytes, or is gone; the error names its slice.
    """
    named = [file for file in files if file.slice_id is not None]
    properties = dict(file_io)
    altered = map_files(spark, named, lambda file: is_altered(file.path, properties), at_once)
    wrong = next((file for file, other in zip(named, altered, strict=True) if other), None)
    if wrong is not None:
        raise ReconciliationFailed(
            f"slice {wrong.slice_id}: the lake's files do not hold the {wrong.rows} rows that were read: "
            f"{wrong.path.rpartition('/')[2]} has other bytes than it is named after, or is gone",
            fix="Clear plan with downstream (or run again), to read it afresh",
        )
