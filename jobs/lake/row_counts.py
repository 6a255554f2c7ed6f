"""Counts the rows of a table of the lake at a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from connectors.errors import ServiceUnavailable
from jobs.lake.batch_log import properties_of
from jobs.lake.missing_parts import missing_file
from jobs.lake.schema import BATCH_COLUMN

_DELETE_COUNTS = ("total-delete-files", "total-position-deletes", "total-equality-deletes")
"""Counts of a snapshot's summary (Iceberg's specification, "Optional Snapshot Summary Fields")."""


def live_rows(table: Table, snapshot: Snapshot) -> int | None:
    """Rows of a table as of a snapshot, less those that delete files delete; None where this cannot be known.

    The snapshot's summary answers where the table has no delete files. Where it has some, the summary does not say how
    many rows they delete: compaction leaves delete files behind whose rows are gone already. The rows are counted then,
    and only data files to which a delete file applies are read.

    Raises:
        LakeAltered: a file is gone.
        ServiceUnavailable: a file cannot be read.
    """
    counts = properties_of(snapshot)
    if "total-records" in counts and all(counts.get(name, "0") == "0" for name in _DELETE_COUNTS):
        return int(counts["total-records"])
    if counts.get("total-equality-deletes", "0") != "0":
        # PyIceberg does not apply them; Lakeferry writes none.
        return None
    scan = table.scan(snapshot_id=snapshot.snapshot_id)
    if BATCH_COLUMN in scan.projection().column_names:
        scan = scan.select(BATCH_COLUMN)
    with reading_files(table, f"rows at snapshot {snapshot.snapshot_id}"):
        return int(scan.count())


@contextmanager
def reading_files(table: Table, rows: str) -> Iterator[None]:
    """Translates the errors of reading a table's files.

    Args:
        rows: which rows are counted, for the message.

    Raises:
        LakeAltered: a file is gone.
        ServiceUnavailable: a file cannot be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise missing_file(str(error), table.name()[-1]) from error
    except OSError as error:
        raise ServiceUnavailable(
            f"the {rows} of {'.'.join(table.name())} cannot be counted: {error}",
            fix="See that the lake answers (lakeferry doctor)",
        ) from error
