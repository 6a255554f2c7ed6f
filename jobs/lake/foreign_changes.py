"""Refuses tables of the lake that somebody else changed: what Lakeferry wrote is not what it would read.

Other tools compact, expire and clean these tables, which changes no row and is expected. Every other change is refused
by name, with the way out, before anything is built on it: rows changed by hand, a history that was set back, a table
that was created again, a column that was renamed. The table's metadata shows this. Files are read only if the history
has expired and delete files leave the number of rows open (`row_counts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from connectors.errors import LakeAltered
from jobs.lake.batch_log import (
    BATCH_TAG,
    CONSUMED_TAG,
    POSITION_TAG,
    Consumed,
    History,
    PublishedBatch,
    consumed,
    missing_batches,
    properties_of,
    published_batches,
    replaces_partitions,
    sealed_batch,
)
from jobs.lake.catalog import name_in
from jobs.lake.names import RAW
from jobs.lake.row_counts import live_rows
from jobs.lake.schema import spark_word, widens

_ROWS_CHANGED = (
    "added-records",
    "deleted-records",
    "added-position-deletes",
    "added-equality-deletes",
    "removed-position-deletes",
    "removed-equality-deletes",
)
"""Counts of a snapshot's summary that are missing or 0 where it changes no row (Iceberg's specification, "Optional
Snapshot Summary Fields")."""


def verified_batches(raw: Table | None) -> list[PublishedBatch]:
    """Return the published batches of a raw table, oldest first, if `main` is as Lakeferry left it.

    Args:
        raw: None where there is no table.

    Raises:
        LakeAltered: its rows, columns or history were changed from outside.
        ServiceUnavailable: its rows must be counted, and its files cannot be read.
    """
    if raw is None:
        return []
    published, name = published_batches(raw), ".".join(raw.name())
    _check_history(raw, published, name)
    last = published[-1] if published else None
    if last is not None:
        _check_columns(raw, last.snapshot_id, name, ", or load the dataset under a new name")
    if not raw.spec().is_unpartitioned():
        fields = ", ".join(field.name for field in raw.spec().fields)
        raise LakeAltered(
            f"{name} was partitioned by hand ({fields}), and Lakeferry writes it without partitions",
            fix=f"Remove it: {_alter(name)} DROP PARTITION FIELD … for each, then run again",
        )
    return published


def verified_consumed(curated: Table | None, raw: Table | None, published: Sequence[PublishedBatch]) -> Consumed | None:
    """Return how far a curated table has come, if it holds what Lakeferry merged and its batches are those of `raw`.

    Args:
        published: the batches of `raw` (`verified_batches`).

    Raises:
        LakeAltered: curated was changed from outside, or raw is not the table it was merged from.
        ServiceUnavailable: its rows must be counted, and its files cannot be read.
    """
    if curated is None:
        return None
    merged, name = consumed(curated), ".".join(curated.name())
    source = name_in(curated, RAW)
    rebuild = _rebuild(name, source, published)
    _check_curated_state(curated, merged, name, rebuild)
    if merged is None:
        return None
    _check_columns(curated, merged.snapshot_id, name, rebuild)
    uuid = str(raw.metadata.table_uuid) if raw is not None else None
    newest = published[-1].batch if published else 0
    start_over = (
        f"Restore {source} as it was. To start over under this name instead, drop {name} too (and the table in "
        "BigQuery with its ledger, as load will say), then run again"
    )
    if merged.raw_uuid is not None and merged.raw_uuid != uuid:
        problem = "is gone" if uuid is None else "was recreated: it is not the table"
        raise LakeAltered(f"{source} {problem} that {name} was merged from, up to batch {merged.batch}", fix=start_over)
    if merged.batch > newest:
        raise LakeAltered(
            f"{name} holds batch {merged.batch}, and {source} has published {newest or 'no batch'}: raw was set "
            "back or recreated",
            fix=start_over,
        )
    same = next((batch for batch in published if batch.batch == merged.batch), None)
    if same is not None and merged.raw_snapshot_id not in (None, same.snapshot_id):
        raise LakeAltered(
            f"batch {merged.batch} of {source} is not the one that {name} holds: raw was set back and written again",
            fix=start_over,
        )
    return merged


def _check_history(raw: Table, published: Sequence[PublishedBatch], name: str) -> None:
    history = History(raw)
    above: list[Snapshot] = []
    newest: Snapshot | None = None
    for snapshot in history.snapshots:
        if sealed_batch(snapshot) is not None:
            newest = snapshot
            break
        above.append(snapshot)
    tagged = history.tagged(POSITION_TAG)
    if newest is None and history.complete:
        _check_rows_before_first_batch(above, tagged, name)
        return
    _check_rows_unchanged(above, name, _back_to(name, newest or tagged))
    if newest is not None:
        _check_not_set_back(history, newest, tagged, name)
        return
    if not published:
        raise LakeAltered(
            f"{name} has {len(history.snapshots)} snapshots, and neither they nor its tags say which batches it holds: "
            "those were expired from outside",
            fix=f"Restore the table's metadata from before. To start over, drop {name} and the curated and BigQuery "
            "tables made from it (with their ledger), then run again; Kafka and S3 bring only what they still have",
        )
    last = tagged or next(s for s in history.tagged_batches() if s.snapshot_id == published[-1].snapshot_id)
    _check_row_count(raw, history.snapshots[0], last, name)


def _check_rows_before_first_batch(snapshots: Sequence[Snapshot], tagged: Snapshot | None, name: str) -> None:
    if tagged is not None:
        batch = sealed_batch(tagged)
        raise LakeAltered(
            f"main of {name} was set back or replaced: it holds no batch, and tag {POSITION_TAG} names batch "
            f"{batch.batch if batch else '?'}",
            fix=_forward(name),
        )
    _check_rows_unchanged(
        snapshots,
        name,
        f"Nothing of it was published by Lakeferry. Drop {name}, or load the dataset under another name",
    )


def _check_not_set_back(history: History, newest: Snapshot, tagged: Snapshot | None, name: str) -> None:
    if tagged is None or tagged.snapshot_id == newest.snapshot_id:
        return
    here, there = sealed_batch(newest), sealed_batch(tagged)
    if here is None or there is None:
        return
    own_tag = history.tagged(f"{BATCH_TAG}{here.batch}")
    if here.batch > there.batch and own_tag is not None and own_tag.snapshot_id == newest.snapshot_id:
        # It was published: somebody moved the tag of the position.
        return
    if here.batch <= there.batch:
        raise LakeAltered(
            f"main of {name} was set back: it ends with batch {here.batch}, and batch {there.batch} was published",
            fix=_forward(name),
        )
    raise LakeAltered(
        f"main of {name} holds batch {here.batch}, which Lakeferry has not published: the newest is {there.batch}",
        fix=f"Set it back: CALL lake.system.set_current_snapshot(table => '{name}', ref => '{POSITION_TAG}')",
    )


def _check_rows_unchanged(snapshots: Iterable[Snapshot], name: str, fix: str) -> None:
    for snapshot in snapshots:
        if not _changes_rows(snapshot):
            continue
        counts = properties_of(snapshot)
        added, deleted = counts.get("added-records", "0"), counts.get("deleted-records", "0")
        operation = snapshot.summary.operation.value if snapshot.summary else "change"
        raise LakeAltered(
            f"rows of {name} were changed from outside: snapshot {snapshot.snapshot_id} ({operation}) added {added} "
            f"and deleted {deleted}",
            fix=fix,
        )


def _check_curated_state(curated: Table, merged: Consumed | None, name: str, rebuild: str) -> None:
    """Check that no snapshot after the one that names a curated table's last batch changes a row."""
    history = History(curated)
    above: list[Snapshot] = []
    for snapshot in history.snapshots:
        if merged is not None and snapshot.snapshot_id == merged.snapshot_id:
            break
        above.append(snapshot)
    tagged = history.tagged(CONSUMED_TAG)
    if merged is None:
        if not history.complete:
            raise LakeAltered(
                f"{name} has snapshots, and neither they nor its tags say how far it has come: those were expired from "
                "outside",
                fix=f"Restore the table's metadata from before{rebuild}",
            )
        _check_rows_unchanged(above, name, f"Undo it{rebuild}")
        return
    target = tagged if tagged is not None and tagged.snapshot_id == merged.snapshot_id else None
    _check_rows_unchanged(above, name, f"{_back_to(name, target)}{rebuild}")
    if target is not None and target not in history.snapshots:
        _check_row_count(curated, history.snapshots[0], target, name, rebuild)


def _check_row_count(table: Table, now: Snapshot, then: Snapshot, name: str, rebuild: str = "") -> None:
    """Check that the number of live rows is the same in two snapshots, if the history between them has expired."""
    if (
        now.sequence_number is not None
        and then.sequence_number is not None
        and now.sequence_number < then.sequence_number
    ):
        raise LakeAltered(
            f"main of {name} was set back behind the newest batch", fix=f"{_back_to(name, then)}{rebuild}"
        )
    here, there = live_rows(table, now), live_rows(table, then)
    if here is None or here != there:
        raise LakeAltered(
            f"{name} holds {_number(here)} rows, and held {_number(there)} when its newest batch was published: rows "
            "were changed from outside, and the history of that was expired",
            fix=f"{_back_to(name, then)}{rebuild}",
        )


def _check_columns(table: Table, snapshot_id: int, name: str, otherwise: str) -> None:
    """Columns are known by Iceberg's field ids: one that was renamed, or dropped and added again, reads as NULL.

    Args:
        otherwise: a second way out, where the first is to restore the table's metadata.
    """
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    schemas = {schema.schema_id: schema for schema in table.metadata.schemas}
    then = schemas.get(snapshot.schema_id) if snapshot is not None and snapshot.schema_id is not None else None
    now = {field.field_id: field for field in table.schema().fields}
    for field in then.fields if then is not None else ():
        current = now.get(field.field_id)
        if current is None:
            raise LakeAltered(
                f"column {field.name!r} of {name} was dropped from outside",
                fix=f"Its values are in the older snapshots only. Restore the table's metadata{otherwise}",
            )
        if current.name != field.name:
            raise LakeAltered(
                f"column {field.name!r} of {name} was renamed to {current.name!r} from outside",
                fix=f"Name it back: {_alter(name)} RENAME COLUMN `{current.name}` TO `{field.name}`",
            )
        before, after = spark_word(field.field_type), spark_word(current.field_type)
        if before != after and not widens(before, after):
            raise LakeAltered(
                f"column {field.name!r} of {name} was changed from {before} to {after} from outside",
                fix=f"Restore the table's metadata{otherwise}",
            )
    for current in now.values():
        if current.required:
            raise LakeAltered(
                f"column {current.name!r} of {name} was made NOT NULL from outside",
                fix=f"Take it back: {_alter(name)} ALTER COLUMN `{current.name}` DROP NOT NULL",
            )


def _changes_rows(snapshot: Snapshot) -> bool:
    if snapshot.summary is None or snapshot.summary.operation == Operation.REPLACE:
        return False
    counts: Mapping[str, str] = properties_of(snapshot)
    return any(counts.get(name, "0") != "0" for name in _ROWS_CHANGED)


def _number(rows: int | None) -> str:
    return "an unknown number of" if rows is None else str(rows)


def _back_to(name: str, snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return "Undo it"
    return (
        "Undo it: CALL lake.system.set_current_snapshot"
        f"(table => '{name}', snapshot_id => {snapshot.snapshot_id}), then run again"
    )


def _forward(name: str) -> str:
    call = f"CALL lake.system.set_current_snapshot(table => '{name}', ref => '{POSITION_TAG}')"
    return f"Set it forward: {call}, then run again"


def _rebuild(name: str, source: str, published: Sequence[PublishedBatch]) -> str:
    """The way out of what was done to a curated table that needs nothing of it, to follow another; empty where there is
    none.

    Args:
        source: its raw table, whose batches are `published`.
    """
    if not published:
        return ""
    if replaces_partitions(published) and missing_batches(published):
        # Only the sealed snapshots name the partitions of their batches.
        return (
            f", or drop {source} and {name}: the next run builds all partitions from the inputs (load says what to do "
            "in BigQuery)"
        )
    return f", or drop {name}: it is rebuilt from raw by the next run"


def _alter(name: str) -> str:
    return f"ALTER TABLE lake.{name}"
