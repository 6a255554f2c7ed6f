"""The log of published batches of a raw table, read from its snapshots.

Every batch ends in a sealed snapshot, whose properties describe the batch. They include the position at which the read
stopped, so rows and position can never part. Tags keep sealed snapshots if another tool expires what `main` no longer
needs: the newest one, and the last `TAGGED_BATCHES`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import JsonValue
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

PREFIX = "lakeferry."
BATCH = PREFIX + "batch"
PIPELINE = PREFIX + "pipeline"
"""The pipeline that published the batch: the position belongs to it."""
RUN_ID = PREFIX + "run-id"
GENERATION = PREFIX + "generation"
SLICES = PREFIX + "slices"
SEALED = PREFIX + "sealed"
ROWS = PREFIX + "rows"
QUARANTINED = PREFIX + "quarantined"
POSITION = PREFIX + "position"
WINDOW_START = PREFIX + "window-start"
WINDOW_END = PREFIX + "window-end"
PARTITIONS = PREFIX + "partitions"
SHAPE = PREFIX + "shape"
"""The shape of the batch: columns, keys, masks (`jobs.contracts.drift.BatchSchema`)."""
ONE_ROW_A_KEY = PREFIX + "one-row-a-key"
"""Present if the source itself lets no two rows of the batch share a key."""
MOVED_POSITION = PREFIX + "moved-position"
"""Whether the batch moved the position: `false` for one of an explicit window."""
REREAD = PREFIX + "reread"
"""Present if versions may not rank the states of the batch's rows: a sweep's marks, or rows that were read again."""
SET_ASIDE = PREFIX + "set-aside"
"""The attempt of the run under whose name quarantine holds the batch's rejected rows; `NOTHING_SET_ASIDE` without such
rows."""
NOTHING_SET_ASIDE = "-"
ACCEPTED_ROWS = PREFIX + "accepted-rows"
"""The rows against which the share of rejected rows is measured: rows of the source that the batch published, and valid
rows that were read and left out because an earlier batch contains them."""
REFUSED_ROWS = PREFIX + "refused-rows"
"""The batch's rejected rows, without messages that only mark a row as gone."""
CORRECTS = PREFIX + "corrects"
"""On the sealed snapshot of a correction: how many rows of each earlier batch it sets aside, as a JSON object of
numbers by batch number."""
CONSUMED = PREFIX + "consumed-batch"
"""On curated snapshots: the last batch of raw that is merged into them."""
CONSUMED_TABLE = PREFIX + "consumed-table"
"""On curated snapshots: the UUID of the raw table whose batches `CONSUMED` counts."""
CONSUMED_SNAPSHOT = PREFIX + "consumed-snapshot"
"""On curated snapshots: the snapshot of raw that seals the batch `CONSUMED`."""

MAIN = "main"
POSITION_TAG = "position"
"""Tag on raw's newest published snapshot: expiry must not take the position with it."""
BATCH_TAG = "batch_"
"""The beginning of the tags on the last published snapshots of raw; the batch number follows."""
CONSUMED_TAG = "consumed"
"""Tag on the curated snapshot that holds the last merged batch."""
TAGGED_BATCHES = 100
"""How many published batches are tagged. A consumer that is further behind finds the others in the history of `main`,
unless another tool has expired them. More tags would keep the files that compaction replaced for longer."""


@dataclass(frozen=True)
class PublishedBatch:
    """One batch on `main`.

    `rows` are those in raw; `partitions` are those a derived batch replaces; `shape` is the property as it stands, for
    `jobs.lake.large_properties.read_position`. `keys_are_unique`: no two rows share a key. `moved_position`: later
    scheduled runs start where this batch ends. `reread`: rows of earlier batches were read again. `set_aside` names the
    attempt whose rows in quarantine belong to the batch; `NOTHING_SET_ASIDE` if there are no such rows, None for a
    batch from before attempts had names there. The share of rejected rows is measured by `accepted` and `refused`
    (`ACCEPTED_ROWS`, `REFUSED_ROWS`); None for a batch from before they were recorded. `corrects`: for a correction,
    how many rows of which batches it sets aside. `corrected`: how many of the rows with which this batch was sealed
    were set aside by later corrections; they are not among `rows`. `pipeline`: None for a batch from before it was
    recorded.
    """

    batch: int
    run_id: str
    generation: int
    rows: int
    quarantined: int
    position: dict[str, JsonValue] | None
    window_start: str | None
    window_end: str | None
    partitions: tuple[str, ...] | None
    snapshot_id: int
    published_at_ms: int
    shape: dict[str, JsonValue] | None = None
    keys_are_unique: bool = False
    moved_position: bool = True
    reread: bool = False
    set_aside: str | None = None
    accepted: int | None = None
    refused: int | None = None
    corrects: Mapping[int, int] = field(default_factory=dict)
    corrected: int = 0
    pipeline: str | None = None

    @property
    def reads_on(self) -> bool:
        """For a source without a cursor: whether the batch began at the position. A batch of a requested window has
        that window. In a batch from before `MOVED_POSITION` was recorded, nothing else says so."""
        return self.moved_position and self.window_start is None and self.window_end is None


@dataclass(frozen=True)
class Consumed:
    """How far a curated table has come: the last raw batch in it, and the table and snapshot of that batch (None:
    merged by a version that did not record them). `snapshot_id` is the curated snapshot that records this."""

    batch: int
    raw_uuid: str | None
    raw_snapshot_id: int | None
    snapshot_id: int


class History:
    """The snapshots of a table's `main`, newest first, as far back as they are kept.

    `complete` is false where the oldest one names a parent that was expired.
    """

    def __init__(self, table: Table) -> None:
        by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
        self.snapshots: list[Snapshot] = []
        current = table.metadata.current_snapshot_id
        while current is not None and current in by_id:
            self.snapshots.append(by_id[current])
            current = by_id[current].parent_snapshot_id
        self.complete = current is None
        self._tagged = {
            name: by_id[ref.snapshot_id]
            for name, ref in table.metadata.refs.items()
            if ref.snapshot_ref_type == SnapshotRefType.TAG and ref.snapshot_id in by_id
        }

    def tagged(self, name: str) -> Snapshot | None:
        """Return the snapshot that a tag names; None without such a tag."""
        return self._tagged.get(name)

    def tagged_batches(self) -> list[Snapshot]:
        """Return the sealed snapshots that batch tags name."""
        snapshots = (snapshot for name, snapshot in self._tagged.items() if name.startswith(BATCH_TAG))
        return [snapshot for snapshot in snapshots if SEALED in properties_of(snapshot)]


def published_batches(table: Table | None, *, after: int = 0) -> list[PublishedBatch]:
    """Return the batches on `main` with a number over `after`, oldest first: those in its history, and tagged ones that
    have expired from it. Rows that a correction has set aside are subtracted from their batch."""
    if table is None:
        return []
    history = History(table)
    batches: dict[int, PublishedBatch] = {}
    for snapshot in history.snapshots:
        batch = sealed_batch(snapshot)
        if batch is not None:
            batches.setdefault(batch.batch, batch)
    if not history.complete:
        oldest = min(batches, default=None)
        for snapshot in [*history.tagged_batches(), *filter(None, [history.tagged(POSITION_TAG)])]:
            batch = sealed_batch(snapshot)
            # A batch newer than the history's is not on main: somebody has set main back.
            if batch is not None and (oldest is None or batch.batch < oldest):
                batches.setdefault(batch.batch, batch)
    return [batch for batch in corrected_batches(batches.values()) if batch.batch > after]


def corrected_batches(sealed: Iterable[PublishedBatch]) -> list[PublishedBatch]:
    """Return batches as their snapshots seal them, oldest first, less the rows that corrections among them removed."""
    by_number = sorted(sealed, key=lambda batch: batch.batch)
    rows: Counter[int] = Counter()
    for batch in by_number:
        rows.update(batch.corrects)
    return [
        replace(batch, rows=batch.rows - rows[batch.batch], corrected=rows[batch.batch]) if rows[batch.batch] else batch
        for batch in by_number
    ]


def missing_batches(published: Sequence[PublishedBatch]) -> list[int]:
    """The numbers of published batches that are gone from the log, since their snapshots were expired; their rows are
    in raw all the same.

    Args:
        published: the batches that are in the log, oldest first.
    """
    known = {batch.batch for batch in published}
    return [number for number in range(1, max(known, default=0) + 1) if number not in known]


def replaces_partitions(published: Sequence[PublishedBatch]) -> bool:
    """Whether a dataset's batches replace partitions (`overwrite_partitions`)."""
    return any(batch.partitions is not None for batch in published)


def last_published(table: Table | None) -> PublishedBatch | None:
    """Return the newest batch on `main`, or None before the first."""
    published = published_batches(table)
    return published[-1] if published else None


def consumed(table: Table | None) -> Consumed | None:
    """How far a curated table has come; None before the first batch.

    The history of `main` decides. Where it was expired, the tag does: it may name an older batch than the rows hold,
    and a batch that is merged again changes nothing.
    """
    if table is None:
        return None
    history = History(table)
    tagged = history.tagged(CONSUMED_TAG)
    for snapshot in [*history.snapshots, *([tagged] if tagged and not history.complete else [])]:
        properties = properties_of(snapshot)
        if CONSUMED in properties:
            at = properties.get(CONSUMED_SNAPSHOT)
            return Consumed(
                batch=int(properties[CONSUMED]),
                raw_uuid=properties.get(CONSUMED_TABLE),
                raw_snapshot_id=int(at) if at is not None else None,
                snapshot_id=snapshot.snapshot_id,
            )
    return None


def consumed_batch(table: Table | None) -> int:
    """Return the number of the last batch merged into a curated table; 0 before the first."""
    merged = consumed(table)
    return merged.batch if merged else 0


def sealed_batch(snapshot: Snapshot) -> PublishedBatch | None:
    """Read a batch from a snapshot's properties; None if the snapshot seals no batch."""
    properties = properties_of(snapshot)
    return batch_of(properties, snapshot.snapshot_id, snapshot.timestamp_ms) if SEALED in properties else None


def batch_of(properties: Mapping[str, str], snapshot_id: int, created_at_ms: int) -> PublishedBatch:
    """Read a batch from the properties of the snapshot that seals it."""
    partitions = properties.get(PARTITIONS)
    set_aside = properties.get(SET_ASIDE)
    accepted, refused = properties.get(ACCEPTED_ROWS), properties.get(REFUSED_ROWS)
    return PublishedBatch(
        batch=int(properties[BATCH]),
        run_id=properties[RUN_ID],
        generation=int(properties[GENERATION]),
        rows=int(properties[ROWS]),
        quarantined=int(properties[QUARANTINED]),
        position=json.loads(properties[POSITION]) if POSITION in properties else None,
        window_start=properties.get(WINDOW_START),
        window_end=properties.get(WINDOW_END),
        partitions=tuple(json.loads(partitions)) if partitions is not None else None,
        snapshot_id=snapshot_id,
        published_at_ms=created_at_ms,
        shape=json.loads(properties[SHAPE]) if SHAPE in properties else None,
        keys_are_unique=ONE_ROW_A_KEY in properties,
        moved_position=properties.get(MOVED_POSITION) != "false",
        reread=REREAD in properties,
        # Before attempts were named, the property said "true".
        set_aside=None if set_aside == "true" else set_aside,
        accepted=int(accepted) if accepted is not None else None,
        refused=int(refused) if refused is not None else None,
        corrects={int(batch): int(rows) for batch, rows in json.loads(properties.get(CORRECTS, "{}")).items()},
        pipeline=properties.get(PIPELINE),
    )


def properties_of(snapshot: Snapshot) -> Mapping[str, str]:
    """Return a snapshot's summary: Iceberg's counts and our properties, all text."""
    return snapshot.summary.additional_properties if snapshot.summary else {}
