"""Curated tables: the current state of a dataset, brought up to the published log batch by batch.

How far a curated table has come is a property of its own snapshots, committed with the rows. A merge takes one row per
key, the newest version, and changes a row only for a newer one: replays and backfills never bring back the old. A row
that is marked as deleted gives way to any row of a later batch that is not: that row existed again when it was read.

Every merge is written to a branch that begins at the snapshot from which it is computed. `main` goes forward to it only
from that snapshot, so two runs that merge at once never add to each other's state. Without this they could: Spark turns
a MERGE that only inserts into an append, which Iceberg would accept beside any other commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import takewhile
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from connectors.errors import LakeAltered, LakeMoved
from connectors.versions import LogColumns, Version, columns_there, newer, newest_first, with_latest
from jobs.lake.batch_log import (
    CONSUMED,
    CONSUMED_SNAPSHOT,
    CONSUMED_TABLE,
    CONSUMED_TAG,
    PublishedBatch,
)
from jobs.lake.catalog import find_table, name_in
from jobs.lake.corrected_state import Versions, corrected_merge
from jobs.lake.curated_copy import write_whole_state
from jobs.lake.foreign_changes import verified_batches, verified_consumed
from jobs.lake.java_api import commit_with, java_table
from jobs.lake.names import CURATED, RAW
from jobs.lake.raw_table import advance_main, kept, until_committed
from jobs.lake.schema import BATCH_COLUMN, DELETED_COLUMN, quoted, table_name
from jobs.lake.spark_session import session_with_properties
from jobs.lake.tables import disable_fanout, ensure_curated, restore_properties
from jobs.runtime.fault_points import crash_point

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

TRIES = 5
MERGE_BRANCH = "merge_"
"""The beginning of the names of branches on which a merge is written."""
_RANK = "_rank"


@dataclass(frozen=True)
class _Target:
    """A curated table and how rows get into it; the fields are the arguments of `catch_up`."""

    dataset: str
    write_disposition: str
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    log: LogColumns | None
    partition_by: str | None

    @property
    def batches_rank(self) -> bool:
        """Whether the number of a batch orders versions before all else. If so, it matters which batches read on from
        the position."""
        return BATCH_COLUMN in self.versions


@dataclass(frozen=True)
class _Pending:
    """Batches to take in: numbers `first` to `last`, all of them in raw at `raw_snapshot_id`. `known` are those whose
    sealed snapshots exist; the rows of others are read by their numbers. For `in_order` see `connectors.versions`.
    `published` are all batches that raw's log shows."""

    first: int
    last: int
    known: Sequence[PublishedBatch]
    raw_uuid: str
    raw_snapshot_id: int
    in_order: bool = True
    published: Sequence[PublishedBatch] = ()

    @property
    def corrected(self) -> list[int]:
        """The numbers of earlier batches of which these batches set rows aside. Rows of later batches are read from raw
        as they are now."""
        return sorted({number for batch in self.known for number in batch.corrects if number < self.first})

    @property
    def without_rows(self) -> bool:
        """Whether these batches are corrections only, which bring no row."""
        return len(self.known) == self.last - self.first + 1 and all(batch.corrects for batch in self.known)

    @property
    def last_with_rows(self) -> int:
        """The number of the last batch that is no correction; there is one."""
        corrections = {batch.batch for batch in self.known if batch.corrects}
        return max(number for number in range(self.first, self.last + 1) if number not in corrections)

    @property
    def properties(self) -> dict[str, str]:
        """The properties of the curated snapshot that holds these batches."""
        known = {CONSUMED_SNAPSHOT: str(self.newest.snapshot_id)} if self.newest else {}
        return {CONSUMED: str(self.last), CONSUMED_TABLE: self.raw_uuid, **known}

    @property
    def newest(self) -> PublishedBatch | None:
        """The last batch; None if its sealed snapshot has expired."""
        return self.known[-1] if self.known and self.known[-1].batch == self.last else None


def catch_up(
    spark: Callable[[], SparkSession],
    catalog: Catalog,
    dataset: str,
    write_disposition: str,
    *,
    keys: Sequence[str],
    versions: Sequence[Version],
    partition_by: str | None,
    log: LogColumns | None = None,
) -> int:
    """Bring a curated table up to `main` of its raw table; returns how many batches it took in.

    Args:
        spark: opens the session; not called where there is nothing to do.
        keys: primary key, or the identity columns of an append.
        versions: what orders versions of a key; `_batch` follows them where it is not the first.
        partition_by: partition column of the table, by which `overwrite_partitions` overwrites.
        log: where a row's place in a log is, if the source is one.

    Raises:
        LakeMoved: other runs kept changing the table at the same time.
        LakeAltered: raw or curated was changed or replaced from outside.
    """
    taken = conflicts = 0
    target = _Target(dataset, write_disposition, tuple(keys), tuple(versions), log, partition_by)
    while conflicts < TRIES:
        curated, raw = find_table(catalog, CURATED, dataset), find_table(catalog, RAW, dataset)
        published = verified_batches(raw)
        consumed = verified_consumed(curated, raw, published)
        at = consumed.batch if consumed else 0
        if raw is None or not published or published[-1].batch <= at:
            return taken
        if curated is None:
            # Somebody dropped it, perhaps to have it rebuilt: all of raw is merged into it again.
            ensure_curated(spark(), dataset, raw, partition_by)
            continue
        there = columns_there(versions, raw.schema().column_names, curated.schema().column_names)
        target = replace(target, versions=there)
        # A row that came back may carry an older version than its tombstone: their batches say which is later.
        one_by_one = DELETED_COLUMN in curated.schema().column_names
        pending = _pending(published, at, one_by_one, target.batches_rank, raw)
        crash_point("curated.read", dataset)
        if not _take_in(spark(), target, pending, curated):
            # Another run's merge came in between: what that run took in is not ours any more.
            conflicts += 1
            continue
        taken += pending.last - at
        if pending.last == published[-1].batch:
            # What was published meanwhile is taken in by the run that published it.
            return taken
    raise LakeMoved(
        f"curated.{dataset} changed {TRIES} times while this run merged into it",
        fix="Run it again when fewer runs are under way",
    )


def _pending(
    published: Sequence[PublishedBatch], at: int, one_by_one: bool, batches_rank: bool, raw: Table
) -> _Pending:
    """Return the next batches to take in at once.

    Where batches rank, those that read on from the position are taken together, and each batch of a requested window
    alone, as load does. If a batch has expired from the log, its kind is unknown: its neighbours are ordered like a
    batch of a requested window.
    """
    kinds = {batch.batch: "reads on" if batch.reads_on else f"window of {batch.batch}" for batch in published}
    first, last = at + 1, at + 1 if one_by_one else published[-1].batch
    if batches_rank:
        alike = (kinds.get(number) == kinds.get(first) for number in range(first, last + 1))
        last = first + sum(takewhile(bool, alike)) - 1
    in_order = not batches_rank or kinds.get(first) == "reads on"
    main = raw.metadata.current_snapshot_id
    assert main is not None, "batches are in snapshots"
    known = [batch for batch in published if at < batch.batch <= last]
    return _Pending(first, last, known, str(raw.metadata.table_uuid), main, in_order, published)


def _take_in(spark: SparkSession, target: _Target, pending: _Pending, curated: Table) -> bool:
    """Merge on a branch and advance `main` to it; False, without any change, if `main` moved meanwhile."""
    dataset = target.dataset
    name = table_name(spark, CURATED, dataset)
    main = curated.metadata.current_snapshot_id
    if main is None:
        # A table of an older version: it was created without a first snapshot.
        java_table(spark, name).newAppend().commit()
        return False
    # Merge-on-read would leave delete files, and nobody needs an extract before a merge.
    until_committed(lambda: restore_properties(java_table(spark, name), name, "check"))
    until_committed(lambda: disable_fanout(spark, name, curated))
    branch = f"{MERGE_BRANCH}{uuid.uuid4().hex[:12]}"
    until_committed(lambda: kept(java_table(spark, name).manageSnapshots().createBranch(branch, main), branch).commit())
    _write(spark, target, pending, curated, branch)
    crash_point("curated.merged", dataset)
    if advance_main(spark, java_table(spark, name), branch, main, tags=[CONSUMED_TAG], branches=[branch]):
        return True
    until_committed(lambda: java_table(spark, name).manageSnapshots().removeBranch(branch).commit())
    return False


def _write(spark: SparkSession, target: _Target, pending: _Pending, curated: Table, branch: str) -> None:
    from pyspark.sql import functions as F

    dataset, write_disposition, partition_by = target.dataset, target.write_disposition, target.partition_by
    keys_are_unique = len(pending.known) == 1 and pending.known[0].keys_are_unique and pending.first == pending.last
    is_first = pending.first == 1
    whole = write_disposition == "replace" or (
        is_first and keys_are_unique and write_disposition in ("merge", "append")
    )
    newest = pending.newest
    # A correction is not a state of its own.
    whole = whole and newest is not None and not newest.corrects
    if whole and newest and write_whole_state(spark, dataset, newest, curated, branch, pending.properties):
        return
    name, raw = table_name(spark, CURATED, dataset), table_name(spark, RAW, dataset)
    log = spark.read.option("versionAsOf", pending.raw_snapshot_id).table(raw)
    into = f"{name}.branch_{branch}"
    if pending.corrected and write_disposition != "replace":
        _take_out(spark, target, pending, curated, into, log)
    if pending.without_rows:
        commit_with(java_table(spark, name).newAppend().toBranch(branch), pending.properties)
        return
    # A column that somebody added to one of them stays NULL.
    shared = set(log.columns)
    columns = [column for column in spark.table(name).columns if column in shared]
    rows = log.where(F.col(BATCH_COLUMN).between(pending.first, pending.last))
    rows = rows.select(*[F.col(quoted(column)) for column in columns])
    if write_disposition == "replace":
        _overwrite(rows.where(F.col(BATCH_COLUMN) == pending.last_with_rows), into, F.lit(True), pending.properties)
    elif write_disposition == "overwrite_partitions":
        assert partition_by is not None, "the spec requires partition_by"
        last_by_partition = _last_by_partition(pending, curated)
        wanted = F.lit(False)
        for batch in sorted(set(last_by_partition.values())):
            own = [partition for partition, last in last_by_partition.items() if last == batch]
            wanted = wanted | ((F.col(BATCH_COLUMN) == batch) & _in_days(partition_by, own))
        touched = _in_days(partition_by, list(last_by_partition))
        _overwrite(rows.where(wanted), into, touched, pending.properties)
    else:
        at = f"{raw} VERSION AS OF {pending.raw_snapshot_id}"
        incoming = (
            _rows_of(at, columns, pending.first, pending.last)
            if keys_are_unique
            else _one_row_a_key(at, columns, target, pending)
        )
        if is_first:
            # Nothing is there yet: the whole state is what is pending.
            _overwrite(spark.sql(incoming), into, F.lit(True), pending.properties)
        else:
            merge = _merge(into, incoming, columns, target, in_order=pending.in_order)
            session_with_properties(spark, pending.properties).sql(merge)


def _take_out(
    spark: SparkSession, target: _Target, pending: _Pending, curated: Table, into: str, log: DataFrame
) -> None:
    """Remove the rows that corrections have set aside from the branch, one commit before the one that names the batch.

    If a dataset replaces partitions, a partition whose last batch is a corrected one becomes what raw has of that
    batch. A snapshot that replaces everything is never corrected.
    """
    from pyspark.sql import functions as F

    name, raw = table_name(spark, CURATED, target.dataset), table_name(spark, RAW, target.dataset)
    there = set(spark.table(name).columns)
    columns = [column for column in log.columns if column in there]
    if target.write_disposition == "overwrite_partitions":
        assert target.partition_by is not None, "the spec requires partition_by"
        merged = [batch for batch in pending.published if batch.batch < pending.first]
        last = {partition: batch.batch for batch in merged for partition in batch.partitions or ()}
        for corrected in pending.corrected:
            days = [day for day, number in last.items() if number == corrected]
            if days:
                in_days = _in_days(target.partition_by, days)
                rows = log.where((F.col(BATCH_COLUMN) == corrected) & in_days)
                _overwrite(rows.select(*[F.col(quoted(column)) for column in columns]), into, in_days, {})
        return
    main = curated.metadata.current_snapshot_id
    statement = corrected_merge(
        into,
        f"{name} VERSION AS OF {main}",
        f"{raw} VERSION AS OF {pending.raw_snapshot_id}",
        Versions(
            columns=tuple(columns),
            keys=target.keys,
            versions=target.versions,
            log=target.log,
            replaces=_replaces(target, pending, columns),
            by_order=DELETED_COLUMN in columns or target.batches_rank,
        ),
        pending.corrected,
        pending.first - 1,
    )
    spark.sql(statement)


def _replaces(target: _Target, pending: _Pending, columns: Sequence[str]) -> str | None:
    """Return the condition under which a row S of a merged batch took the place of T, a row of the batches before
    it."""
    if target.write_disposition == "append":
        return None
    in_order = _later(target, columns, in_order=True)
    if not target.batches_rank:
        return in_order
    # A batch that has expired from the log was merged while the log had it: most batches read on from the position.
    windows = [str(batch.batch) for batch in pending.published if not batch.reads_on]
    read_on = f"s.{BATCH_COLUMN} NOT IN ({', '.join(windows)})" if windows else "true"
    return f"CASE WHEN {read_on} THEN {in_order} ELSE {_later(target, columns, in_order=False)} END"


def _in_days(column: str, days: Sequence[str]) -> Column:
    """Whether a DATE column is one of these days: one list of any length, and no tree of conditions."""
    from pyspark.sql import functions as F

    return F.col(quoted(column)).isin([date.fromisoformat(day) for day in days])


def _last_by_partition(pending: _Pending, curated: Table) -> dict[str, int]:
    """Return the last batch that replaces each partition.

    Raises:
        LakeAltered: a batch's sealed snapshot, which names its partitions, was expired from outside.
    """
    missing = sorted(set(range(pending.first, pending.last + 1)) - {batch.batch for batch in pending.known})
    if missing:
        name, raw = ".".join(curated.name()), name_in(curated, RAW)
        raise LakeAltered(
            f"batches {', '.join(map(str, missing))} of {raw} wait for {name}, and the snapshots that name their "
            "partitions were expired from outside",
            fix=f"Drop {raw} and {name}: the next run builds all partitions from the inputs "
            "(load says what to do in BigQuery)",
        )
    return {partition: batch.batch for batch in pending.known for partition in batch.partitions or ()}


def _rows_of(raw: str, columns: Sequence[str], first: int, last: int) -> str:
    """Return a query of all rows of these batches."""
    named = ", ".join(quoted(column) for column in columns)
    return f"SELECT {named} FROM {raw} WHERE {BATCH_COLUMN} BETWEEN {int(first)} AND {int(last)}"


def _one_row_a_key(raw: str, columns: Sequence[str], target: _Target, pending: _Pending) -> str:
    """Return a query of the newest version of every key in these batches."""
    named = ", ".join(quoted(column) for column in columns)
    partition = ", ".join(quoted(key) for key in target.keys)
    # Distributed by key beforehand, the rows are in place for all windows over them.
    spread = f" DISTRIBUTE BY {partition}" if target.log else ""
    batches = f"(SELECT * FROM {raw} WHERE {BATCH_COLUMN} BETWEEN {pending.first:d} AND {pending.last:d}{spread})"
    rows = with_latest(batches, target.keys, target.log, quoted, in_order=pending.in_order)
    order = newest_first(target.versions, target.log, quoted, in_order=pending.in_order)
    if target.write_disposition == "append":
        # If several batches bring a key, the first one stays, as in BigQuery, where each is loaded alone.
        order = f"{quoted(BATCH_COLUMN)} ASC, {order}"
    return (
        f"SELECT {named} FROM (SELECT *, row_number() OVER (PARTITION BY {partition} ORDER BY {order}) AS {_RANK}"
        f" FROM {rows}) WHERE {_RANK} = 1"
    )


def _merge(name: str, incoming: str, columns: Sequence[str], target: _Target, *, in_order: bool) -> str:
    # The query is part of the statement: Spark 4.1 cannot plan a MERGE from a view over an Iceberg table.
    on = " AND ".join(f"t.{quoted(key)} <=> s.{quoted(key)}" for key in target.keys)
    values = ", ".join(f"s.{quoted(column)}" for column in columns)
    named = ", ".join(quoted(column) for column in columns)
    update = ""
    if target.write_disposition != "append":
        assignments = ", ".join(f"t.{quoted(column)} = s.{quoted(column)}" for column in columns)
        update = f" WHEN MATCHED AND ({_later(target, columns, in_order=in_order)}) THEN UPDATE SET {assignments}"
    return (
        f"MERGE INTO {name} t USING ({incoming}) s ON {on}{update}"
        f" WHEN NOT MATCHED THEN INSERT ({named}) VALUES ({values})"
    )


def _later(target: _Target, columns: Sequence[str], *, in_order: bool) -> str:
    """Return the condition under which row S takes the place of T."""
    later = newer(target.versions, target.log, quoted, in_order=in_order)
    if DELETED_COLUMN not in columns:
        return later
    back = f"t.{DELETED_COLUMN} IS NOT NULL AND s.{DELETED_COLUMN} IS NULL"
    return f"{later} OR ({back} AND s.{BATCH_COLUMN} > t.{BATCH_COLUMN})"


def _overwrite(rows: DataFrame, target: str, touched: object, properties: dict[str, str]) -> None:
    writer = rows.writeTo(target)
    for key, value in properties.items():
        writer = writer.option(f"snapshot-property.{key}", value)
    writer.overwrite(touched)  # type: ignore[arg-type]
