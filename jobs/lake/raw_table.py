"""Branches of a raw table: they hold a batch before anyone sees it, and publish it.

What SQL cannot express is done through Iceberg's Java API (`SnapshotUpdate`, `ManageSnapshots` in its javadoc). A
reference moves only if nobody has moved it since it was read: otherwise Iceberg refuses the commit.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import IllegalArgumentException

from connectors.errors import LakeMoved
from jobs.lake.batch_log import BATCH, BATCH_TAG, MAIN, POSITION_TAG, ROWS, RUN_ID, TAGGED_BATCHES
from jobs.lake.data_files import DataFile
from jobs.lake.java_api import commit_with, data_files, java_class, java_table, members_of
from jobs.lake.names import RAW
from jobs.lake.schema import table_name
from jobs.runtime.fault_points import crash_point

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, DataFrameWriterV2, SparkSession
    from pyspark.sql.types import StructType

_ADDED: dict[tuple[str, int], Sequence[DataFile]] = {}
"""The files that snapshots of this application's batches added, by table and snapshot."""
_TRIES = 10
_MOST_SNAPSHOTS = 2**31 - 1
_FOR_EVER_MS = 2**63 - 1
"""Age a tag may reach, in milliseconds. A table's `history.expire.max-ref-age-ms` would remove tags without one."""


@dataclass(frozen=True)
class Head:
    """Where a branch stands: its snapshot, when that was made, and its properties."""

    branch: str
    snapshot_id: int
    created_at_ms: int
    properties: Mapping[str, str]


class RawTable:
    """The raw table of one dataset, as one Spark session sees it."""

    def __init__(self, spark: SparkSession, dataset: str) -> None:
        self._spark = spark
        self.dataset = dataset
        self.name = table_name(spark, RAW, dataset)

    @property
    def schema(self) -> StructType:
        """The table's columns; they are the same on every branch."""
        return self._spark.table(self.name).schema

    def head(self, branch: str = MAIN) -> Head:
        """Return where the branch stands now.

        Raises:
            LakeMoved: there is no such branch (any more).
        """
        return self._head(self._java(), branch)

    def find_head(self, branch: str) -> Head | None:
        """Return where the branch stands now; None if there is no such branch (any more)."""
        table = self._java()
        return None if table.snapshot(branch) is None else self._head(table, branch)

    def open_attempt(self, run_id: str, generation: int, base_snapshot_id: int | None) -> Head:
        """Create a branch for this attempt, beginning at the last attempt's head, else at the plan's base.

        A plan without a base was written before the table was created: its branch begins at the table's first snapshot,
        regardless of what was published since.

        Two attempts never share a branch: a driver that seemed dead writes where nobody looks. Nor does a later attempt
        get the name of an earlier one: publishing drops the branches of a run, and rows in quarantine keep the name.
        """
        prefix = f"{branch_prefix(run_id)}_g{generation}_a"
        while True:
            table = self._java()
            attempts = {int(name.removeprefix(prefix).partition("_")[0]): name for name in ref_names(table, prefix)}
            last = max(attempts, default=0)
            start = table.snapshot(attempts[last]).snapshotId() if last else base_snapshot_id or self._first(table)
            branch = f"{prefix}{last + 1}_{uuid.uuid4().hex[:8]}"
            if self._created(table, branch, start):
                return self._head(table, branch)
            if self._java().snapshot(start) is None:
                raise LakeMoved(
                    f"snapshot {start}, which the plan of {self.name} builds on, is gone",
                    dataset=self.dataset,
                    fix="Clear plan with downstream (or run again), to plan afresh",
                )

    def open_branch(self, branch: str, snapshot_id: int) -> Head:
        """Create a branch of that name at that snapshot."""
        until_committed(lambda: kept(self._java().manageSnapshots().createBranch(branch, snapshot_id), branch).commit())
        return self._head(self._java(), branch)

    def append(self, rows: DataFrame, branch: str, properties: Mapping[str, str]) -> None:
        """Append the rows to the branch, as one snapshot with these properties."""
        self._writer(rows, branch, properties).append()

    def replace(self, rows: DataFrame, old: SparkColumn, branch: str, properties: Mapping[str, str]) -> None:
        """Replace the rows on the branch for which `old` holds by these rows, as one snapshot with these properties.
        Each file holds only rows for which `old` holds, or no such row."""
        self._writer(rows, branch, properties).overwrite(old)

    def append_files(self, files: Sequence[DataFile], branch: str, properties: Mapping[str, str]) -> None:
        """Append data files to the branch, as one snapshot with these properties."""
        table = self._existing(branch)
        update = table.newAppend().toBranch(branch)
        for entry in data_files(self._spark, table, files):
            update = update.appendFile(entry)
        commit_with(update, properties)

    def batch_files(self, at: int | str, run_id: str, batch: int) -> list[DataFile]:
        """Return a batch's data files at a snapshot, or where a branch stands now: those that its own snapshots added,
        less those they removed. Metadata answers; no file is read."""
        table = self._java()
        added: dict[str, DataFile] = {}
        removed: set[str] = set()
        for snapshot, summary in self._batch_snapshots(table, at, run_id, batch):
            if "deleted-data-files" in summary:
                removed.update(str(file.location()) for file in members_of(snapshot.removedDataFiles(table.io())))
            if "added-data-files" in summary:
                added |= {file.path: file for file in self._added(table, snapshot)}
        return [file for path, file in sorted(added.items()) if path not in removed]

    def seal(self, branch: str, properties: Mapping[str, str]) -> Head:
        """Add a snapshot without rows that says what the batch is."""
        table = self._existing(branch)
        commit_with(table.newAppend().toBranch(branch), properties)
        return self._head(table, branch)

    def rows(self, snapshot_id: int) -> DataFrame:
        """Return the rows at a snapshot."""
        return self._spark.read.option("versionAsOf", snapshot_id).table(self.name)

    def publish(self, head: Head, run_id: str, batch: int, main_snapshot_id: int) -> bool:
        """Fast-forward `main` to the proved head, tag it and drop the run's branches, in one commit.

        Args:
            batch: the number of the batch; the head gets its tag.
            main_snapshot_id: where `main` stood when the batch's number and position were read.

        Returns:
            False where `main` is not there (any more), or the head does not build on it; nothing is changed then.

        Raises:
            LakeMoved: the branch is no longer at the head that was proved.
        """
        table = self._java()
        snapshot = table.snapshot(head.branch)
        if snapshot is None:
            # Another driver of the run has published, and dropped its branches.
            return False
        if snapshot.snapshotId() != head.snapshot_id:
            raise LakeMoved(
                f"branch {head.branch} of {self.name} is not at the snapshot that was proved", dataset=self.dataset
            )
        numbers = [name.removeprefix(BATCH_TAG) for name in ref_names(table, BATCH_TAG)]
        crash_point("publish.commit", self.dataset)
        outdated = [number for number in numbers if number.isdecimal() and int(number) <= batch - TAGGED_BATCHES]
        return advance_main(
            self._spark,
            table,
            head.branch,
            main_snapshot_id,
            tags=[POSITION_TAG, f"{BATCH_TAG}{batch}"],
            dropped=[f"{BATCH_TAG}{number}" for number in outdated],
            branches=ref_names(table, branch_prefix(run_id)),
        )

    def is_on(self, head: Head, main_snapshot_id: int) -> bool:
        """Whether a head builds on a snapshot of `main`."""
        table = self._java()
        if table.snapshot(head.snapshot_id) is None:
            return False
        return bool(self._class("util.SnapshotUtil").isAncestorOf(table, head.snapshot_id, main_snapshot_id))

    def append_again(self, head: Head, run_id: str, batch: int, branch: str, properties: Mapping[str, str]) -> bool:
        """Append the files of a batch to another branch as they are, and seal it there: only metadata is written.

        Returns:
            False where the batch's files do not hold just its rows, as they do with delete files; nothing is changed
            then.

        Raises:
            LakeMoved: the head's snapshot was expired.
        """
        table = self._java()
        if table.snapshot(head.snapshot_id) is None:
            raise LakeMoved(
                f"snapshot {head.snapshot_id} of {self.name}, which was proved, was expired", dataset=self.dataset
            )
        files: dict[str, Any] = {}
        removed: set[str] = set()
        for snapshot, summary in self._batch_snapshots(table, head.snapshot_id, run_id, batch):
            if "added-delete-files" in summary:
                return False
            if "deleted-data-files" in summary:
                removed.update(str(file.location()) for file in members_of(snapshot.removedDataFiles(table.io())))
            if "added-data-files" in summary:
                files |= {str(file.location()): file for file in members_of(snapshot.addedDataFiles(table.io()))}
        kept_files = [file for path, file in sorted(files.items()) if path not in removed]
        if sum(int(file.recordCount()) for file in kept_files) != int(head.properties[ROWS]):
            return False
        update = table.newAppend().toBranch(branch)
        for file in kept_files:
            update = update.appendFile(file)
        commit_with(update, properties)
        return True

    def drop_attempts(self, run_id: str) -> None:
        """Remove the branches of a run that is published."""

        def drop() -> None:
            table = self._java()
            dead = ref_names(table, branch_prefix(run_id))
            change = table.manageSnapshots()
            for name in dead:
                change = change.removeBranch(name)
            if dead:
                change.commit()

        until_committed(drop)

    def _existing(self, branch: str) -> Any:
        """The table, where it has the branch. Iceberg makes one that is missing, at `main`, and a batch would lack what
        was appended before.

        Raises:
            LakeMoved: it is gone.
        """
        table = self._java()
        if table.snapshot(branch) is None:
            raise LakeMoved(f"branch {branch} of {self.name} is gone", dataset=self.dataset, fix="Plan the run again")
        return table

    def _writer(self, rows: DataFrame, branch: str, properties: Mapping[str, str]) -> DataFrameWriterV2:
        writer = rows.writeTo(f"{self.name}.branch_{branch}")
        for key, value in properties.items():
            writer = writer.option(f"snapshot-property.{key}", value)
        return writer

    def _batch_snapshots(
        self, table: Any, at: int | str, run_id: str, batch: int
    ) -> Iterator[tuple[Any, Mapping[str, str]]]:
        """Yield the snapshots in which a batch was written, newest first, beginning at one of them, with their
        summaries.
        """
        snapshot = table.snapshot(at)
        while snapshot is not None:
            metadata = self._metadata(snapshot)
            summary = metadata["summary"]
            if (summary.get(RUN_ID), summary.get(BATCH)) != (run_id, str(batch)):
                return
            yield snapshot, summary
            parent = metadata.get("parent-snapshot-id")
            snapshot = table.snapshot(parent) if parent is not None else None

    def _metadata(self, snapshot: Any) -> dict[str, Any]:
        """Return a snapshot as the table's metadata has it, in one call to the JVM; each property would take
        several."""
        metadata: dict[str, Any] = json.loads(self._class("SnapshotParser").toJson(snapshot))
        return metadata

    def _added(self, table: Any, snapshot: Any) -> Sequence[DataFile]:
        """Return the files that a snapshot added. They never change, and are listed in a manifest, which is a file to
        be read: the stages of an application read it once."""
        snapshot_id = int(snapshot.snapshotId())
        known = _ADDED.get((self.name, snapshot_id))
        if known is None:
            known = [
                DataFile(str(file.location()), int(file.recordCount()), int(file.fileSizeInBytes()))
                for file in members_of(snapshot.addedDataFiles(table.io()))
            ]
            _ADDED[self.name, snapshot_id] = known
        return known

    def _head(self, table: Any, branch: str) -> Head:
        snapshot = table.snapshot(branch)
        if snapshot is None:
            raise LakeMoved(f"branch {branch} of {self.name} is gone", dataset=self.dataset, fix="Plan the run again")
        metadata = self._metadata(snapshot)
        return Head(branch, int(metadata["snapshot-id"]), int(metadata["timestamp-ms"]), metadata["summary"])

    def _first(self, table: Any) -> int:
        return int(self._class("util.SnapshotUtil").oldestAncestor(table).snapshotId())

    def _created(self, table: Any, branch: str, snapshot_id: int) -> bool:
        """Whether the branch was created: it is not if another commit came in between, or if the snapshot is gone."""
        try:
            kept(table.manageSnapshots().createBranch(branch, snapshot_id), branch).commit()
        except IllegalArgumentException:
            return False
        except Py4JJavaError as error:
            if is_conflict(error):
                return False
            raise
        return True

    def _class(self, name: str) -> Any:
        return java_class(self._spark, f"org.apache.iceberg.{name}")

    def _java(self) -> Any:
        return java_table(self._spark, self.name)


def advance_main(
    spark: SparkSession,
    table: Any,
    branch: str,
    main_snapshot_id: int,
    *,
    tags: Sequence[str],
    dropped: Sequence[str] = (),
    branches: Sequence[str] = (),
) -> bool:
    """Fast-forward a table's `main` to a branch, set tags there and drop references, in one commit.

    Args:
        table: as it was just loaded (`org.apache.iceberg.Table`); the commit fails if it changed since.
        main_snapshot_id: where `main` must stand.
        tags: tags that are set, or moved, to the branch's snapshot.
        dropped: tags that are removed.
        branches: branches that are removed.

    Returns:
        False where `main` stands elsewhere or another commit came in between; nothing is changed then.
    """
    main, head = table.currentSnapshot(), table.snapshot(branch)
    if head is None or main is None or int(main.snapshotId()) != main_snapshot_id:
        return False
    head_id = int(head.snapshotId())
    if not java_class(spark, "org.apache.iceberg.util.SnapshotUtil").isAncestorOf(table, head_id, main_snapshot_id):
        return False
    try:
        change = table.manageSnapshots().fastForwardBranch(MAIN, branch)
        for tag in tags:
            set_tag = change.createTag if table.snapshot(tag) is None else change.replaceTag
            change = set_tag(tag, head_id).setMaxRefAgeMs(tag, _FOR_EVER_MS)
        for name in dropped:
            change = change.removeTag(name)
        for name in branches:
            change = change.removeBranch(name)
        change.commit()
    except IllegalArgumentException as error:
        # Since the table was loaded main was moved, or the branch was dropped: its batch may be published.
        if "fast-forward" in str(error) or "does not exist" in str(error):
            return False
        raise
    except Py4JJavaError as error:
        if is_conflict(error):
            return False
        raise
    return True


def kept(change: Any, branch: str) -> Any:
    """Return a change of references (`org.apache.iceberg.ManageSnapshots`) that also keeps the branch's snapshots from
    expiry: a batch under way consists of them."""
    change = change.setMinSnapshotsToKeep(branch, _MOST_SNAPSHOTS).setMaxSnapshotAgeMs(branch, _FOR_EVER_MS)
    return change.setMaxRefAgeMs(branch, _FOR_EVER_MS)


def until_committed(commit: Callable[[], None]) -> None:
    """Repeat a commit that concerns our own references if another commit came in between: Iceberg does not repeat it by
    itself for references."""
    for attempt in range(_TRIES):
        try:
            commit()
        except Py4JJavaError as error:
            if attempt + 1 == _TRIES or not is_conflict(error):
                raise
        else:
            return


def ref_names(table: Any, prefix: str) -> list[str]:
    """Return the names of a table's branches and tags that begin with `prefix`. They come as one text, because each
    entry of a set would take several calls to the JVM; our names consist of a few plain characters."""
    return re.findall(rf"(?<![^\[ ]){re.escape(prefix)}\w*(?=[,\]])", str(table.refs().keySet().toString()))


def branch_prefix(run_id: str) -> str:
    """Return the beginning of a run's branch names: a hash, because run ids hold characters that a name may not."""
    return "run_" + hashlib.sha256(run_id.encode()).hexdigest()[:12]


def is_conflict(error: Py4JJavaError) -> bool:
    """Whether Iceberg refused a commit because another one came in between."""
    return error.java_exception.getClass().getSimpleName() in ("CommitFailedException", "ValidationException")
