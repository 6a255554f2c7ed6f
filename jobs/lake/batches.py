"""The log of published batches of a raw table, read from its snapshots.

Every batch ends in a sealed snapshot: one whose properties say what the batch is. Where a source was
left off is in them too, so rows and position can never part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

PREFIX = "lakeferry."
BATCH = PREFIX + "batch"
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
"""What the batch is made of: columns, keys, masks (`jobs.drift.Shape`)."""
ONE_ROW_A_KEY = PREFIX + "one-row-a-key"
"""Where the source itself lets no two rows of the batch share a key."""
CONSUMED = PREFIX + "consumed-batch"
"""On curated snapshots: the last batch of raw that is merged into them."""


@dataclass(frozen=True)
class PublishedBatch:
    """One batch on `main`. `rows` are those in raw; `partitions` are those a derived batch replaces; `shape` is
    the property as it stands, for `jobs.lake.position.read_position`. `one_row_a_key`: no two rows share a key."""

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
    one_row_a_key: bool = False


def published_batches(table: Table | None, *, after: int = 0) -> list[PublishedBatch]:
    """The batches on `main` with a number over `after`, oldest first."""
    found: dict[int, PublishedBatch] = {}
    for snapshot in _ancestors(table):
        batch = sealed_batch(snapshot)
        if batch is None:
            continue
        if batch.batch <= after:
            break
        found.setdefault(batch.batch, batch)
    return [found[number] for number in sorted(found)]


def last_published(table: Table | None) -> PublishedBatch | None:
    """The newest batch on `main`, or None before the first."""
    return next((batch for snapshot in _ancestors(table) if (batch := sealed_batch(snapshot))), None)


def last_position(table: Table | None) -> dict[str, JsonValue] | None:
    """Where the next scheduled run starts; None: from the beginning."""
    last = last_published(table)
    return last.position if last else None


def consumed_batch(table: Table | None) -> int:
    """The last batch merged into a curated table; 0 before the first."""
    for snapshot in _ancestors(table):
        value = _properties(snapshot).get(CONSUMED)
        if value is not None:
            return int(value)
    return 0


def sealed_batch(snapshot: Snapshot) -> PublishedBatch | None:
    """What a snapshot's properties say of its batch; None where it seals none."""
    properties = _properties(snapshot)
    return batch_of(properties, snapshot.snapshot_id, snapshot.timestamp_ms) if SEALED in properties else None


def batch_of(properties: Mapping[str, str], snapshot_id: int, made_at_ms: int) -> PublishedBatch:
    """What the properties of the snapshot that seals a batch say of it."""
    partitions = properties.get(PARTITIONS)
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
        published_at_ms=made_at_ms,
        shape=json.loads(properties[SHAPE]) if SHAPE in properties else None,
        one_row_a_key=ONE_ROW_A_KEY in properties,
    )


def _properties(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else {}


def _ancestors(table: Table | None) -> Iterator[Snapshot]:
    snapshot = table.current_snapshot() if table else None
    while snapshot is not None and table is not None:
        yield snapshot
        snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
