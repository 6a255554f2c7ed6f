"""Checks, before anything is staged, that a dataset's ledger fits the lake and BigQuery.

A batch number has meaning within one raw table and one table in BigQuery. If either was created again, or was set back
and written again, loading on from the number would leave batches out, and every run would be green.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of

from connectors.bigquery.client import Warehouse
from connectors.bigquery.ledger import Ledger, shared_entries
from connectors.bigquery.tables import find_table
from connectors.bigquery.transactions import Entry
from connectors.errors import LakeAltered, LoadRefused, ObjectNotFound
from jobs.lake.batch_log import BATCH_TAG, PublishedBatch, consumed_batch, missing_batches
from jobs.lake.catalog import name_in
from jobs.lake.expired_batches import ExpiredBatch, expired_batches
from jobs.lake.names import CURATED, RAW
from jobs.runs.plan_document import DatasetPlan
from jobs.runtime.events import event
from jobs.spec.models import DatasetSpec


def check_ledger(
    dataset: DatasetSpec, raw: Table | None, published: Sequence[PublishedBatch], entry: Entry, ledger: Ledger
) -> None:
    """Check that BigQuery was loaded from this raw table (`raw`: None without a table) and its batches.

    Raises:
        LakeAltered: it was loaded from another table, or from batches that the table does not show.
    """
    if entry.batch and (raw is None or not published):
        raise _vanished(dataset, entry, ledger)
    if raw is not None:
        check_lake(dataset, raw, published, entry, ledger)


def check_lake(
    dataset: DatasetSpec, raw: Table, published: Sequence[PublishedBatch], entry: Entry, ledger: Ledger
) -> None:
    """Check that the ledger's batch is one of this raw table's, as it stands in its log.

    If the log no longer reaches back to it (its snapshot expired), its number and the table's UUID suffice. An entry
    of an earlier version has neither UUID nor snapshot; its run is compared instead.

    Raises:
        LakeAltered: BigQuery was loaded from another table, from another batch of this number, or from later ones.
    """
    if not entry.batch:
        return
    name, target = ".".join(raw.name()), entry.target or dataset.bigquery.table
    uuid = str(raw.metadata.table_uuid)
    if entry.table_uuid not in (None, uuid):
        raise LakeAltered(
            f"{name} is not the table that BigQuery was loaded from up to batch {entry.batch}: its UUID is "
            f"{uuid}, {ledger.name} says {entry.table_uuid}",
            fix=f"Restore that table, or set LAKEFERRY_LAKE to its lake. {ledger.way_afresh(target)}",
        )
    newest = published[-1].batch
    if entry.batch > newest:
        raise LakeAltered(
            f"the ledger {ledger.name} says batch {entry.batch} is loaded, the lake has published {newest}: {name} was "
            "set back, or they belong to different lakes",
            fix="Set the table forward again, or LAKEFERRY_LAKE and LAKEFERRY_WAREHOUSE_PROJECT to ones that belong "
            f"together. {ledger.way_afresh(target)}",
        )
    batch = next((batch for batch in published if batch.batch == entry.batch), None)
    if batch is None:
        return
    if entry.snapshot_id is not None:
        # A ledger that was set back by hand names a later snapshot, which is in the history all the same.
        other = batch.snapshot_id != entry.snapshot_id and not _in_history(raw, entry.snapshot_id)
        differs = f"its snapshot is {batch.snapshot_id}, {ledger.name} says {entry.snapshot_id}"
    else:
        runs = {batch.run_id for batch in published}
        other = entry.run_id is not None and batch.run_id != entry.run_id and entry.run_id not in runs
        differs = f"its run is {batch.run_id}, {ledger.name} says {entry.run_id}"
    if other:
        raise LakeAltered(
            f"batch {entry.batch} of {name} is not the one that BigQuery was loaded with: {differs}",
            fix=f"If the table was set back and written to again, set it to where it was. {ledger.way_afresh(target)}",
        )


def _in_history(raw: Table, snapshot_id: int) -> bool:
    """Whether `main` goes back to this snapshot, or a tag of a published batch names it."""
    if any(ref.snapshot_id == snapshot_id for name, ref in raw.metadata.refs.items() if name.startswith(BATCH_TAG)):
        return True
    return any(snapshot.snapshot_id == snapshot_id for snapshot in ancestors_of(raw.current_snapshot(), raw.metadata))


def check_batches_remain(dataset: DatasetSpec, warehouse: Warehouse) -> None:
    """Check that BigQuery holds no batch of a dataset for which the lake shows none. This runs and bills nothing.

    Raises:
        LakeAltered: it holds one.
    """
    ledger = Ledger(warehouse, dataset.name)
    entry = ledger.look() or shared_entries(warehouse).get(dataset.name)
    if entry is not None and entry.batch:
        raise _vanished(dataset, entry, ledger)


def _vanished(dataset: DatasetSpec, entry: Entry, ledger: Ledger) -> LakeAltered:
    return LakeAltered(
        f"{RAW}.{dataset.name} is gone or has no batch, and the ledger {ledger.name} says batch {entry.batch} is "
        "loaded from it",
        fix="Restore the table, or set LAKEFERRY_LAKE to its lake. "
        f"{ledger.way_afresh(entry.target or dataset.bigquery.table)}",
    )


def once_had_batches(plan: DatasetPlan, raw: Table | None, curated: Table | None) -> bool:
    """Whether the lake shows that a raw table had batches once, although it has none now, or is gone.

    A dataset before its first batch shows no such sign, so that no service need be asked about it. Its raw table, if
    there is one, has only the snapshot it was created with.
    """
    if consumed_batch(curated):
        return True
    if raw is None:
        # A plan to read rows has them read into a raw table; any plan builds on the batch before its own.
        return plan.batch > (0 if plan.state == "planned" else 1) or plan.base_snapshot_id is not None
    current = raw.current_snapshot()
    expired_before = current is not None and current.parent_snapshot_id is not None
    return expired_before or len(raw.metadata.snapshot_log) > 1


def check_target(dataset: DatasetSpec, entry: Entry, ledger: Ledger, warehouse: Warehouse) -> None:
    """Check that the table holds the batches up to the ledger's: one created again would lack them, and look whole.

    Raises:
        ObjectNotFound: the table is gone.
        ConfigurationError: the table was created after they were loaded.
    """
    if not entry.batch:
        return
    name = dataset.bigquery.table
    table = find_table(warehouse, name)
    if table is None:
        raise ObjectNotFound(
            f"table {name} is gone from BigQuery, while {ledger.name} says batch {entry.batch} is loaded",
            fix=f"Restore it from BigQuery's time travel. {ledger.way_afresh(name)}",
        )
    ledger.check_age(table, name, entry)


def rebuilt_tables(dataset: DatasetSpec, raw: Table, published: Sequence[PublishedBatch]) -> tuple[str, ...]:
    """Return the lake's tables that must be built again before a dataset can be loaded from its first batch.

    Empty if load can bring every batch. There is one case where it cannot: batches that replace partitions are gone
    from the log. Nothing else says which partitions they replaced, because emptied partitions have no rows.
    """
    if dataset.write_disposition == "overwrite_partitions" and missing_batches(published):
        return ".".join(raw.name()), name_in(raw, CURATED)
    return ()


def pending_batches(
    dataset: DatasetSpec, raw: Table, published: Sequence[PublishedBatch], entry: Entry, ledger: Ledger
) -> list[PublishedBatch | ExpiredBatch]:
    """Return the batches BigQuery lacks, oldest first, including those gone from the log. In `replace` only the newest.

    Raises:
        LoadRefused: batches that replace partitions are gone from the log.
        LakeAltered: the batches that are gone from the log are not certain.
        ServiceUnavailable: the lake cannot be read.
    """
    waiting: list[PublishedBatch] = [batch for batch in published if batch.batch > entry.batch]
    if dataset.write_disposition == "replace":
        # A correction brings no row: as a snapshot of the source it would empty the table.
        return [*[batch for batch in waiting if not batch.corrects][-1:]]
    pending: list[PublishedBatch | ExpiredBatch] = [*waiting]
    missing = [number for number in missing_batches(published) if number > entry.batch]
    if not missing:
        return pending
    name = ".".join(raw.name())
    if dataset.write_disposition == "overwrite_partitions":
        raise LoadRefused(
            f"batches {number_ranges(missing)} of {name} are gone from its log, which named the partitions they "
            f"replace; BigQuery has come to batch {entry.batch}",
            fix="Another tool expires snapshots before they are loaded. "
            f"{ledger.way_afresh(entry.target or dataset.bigquery.table)}",
        )
    event(
        "warning",
        stage="load",
        dataset=dataset.name,
        warning=f"batches {number_ranges(missing)} are gone from the log of {name}: their rows are taken by number",
    )
    pending += [batch for batch in expired_batches(raw, published) if batch.batch > entry.batch]
    return sorted(pending, key=lambda batch: batch.batch)


def number_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as ranges: `1-40, 43`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return ", ".join("-".join(map(str, ends)) for ends in ranges)
