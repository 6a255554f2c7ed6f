"""What `lakeferry quarantine` shows: the rows set aside of a dataset, by reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from jobs.lake.batch_log import published_batches
from jobs.lake.catalog import find_table, open_catalog
from jobs.lake.names import QUARANTINE, RAW
from jobs.lake.quarantine import Counted
from jobs.lake.schema import ATTEMPT_COLUMN
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec

_COLUMNS = ("_run_id", "_batch", "reason", ATTEMPT_COLUMN)
_EXAMPLE = ("place", "record")
_TIME = "quarantined_at"


@dataclass
class SetAside:
    """The rows of one dataset, run and reason. `published` is whether the run's batch is: only then do they count.

    `examples` are (place at the source, the row as it was read), masked as the lake has it. `first_at` and `last_at`
    are when the first and the last of the rows were set aside, if the caller asked for them.
    """

    dataset: str
    run_id: str
    batch: int
    reason: str
    published: bool
    rows: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    first_at: datetime | None = None
    last_at: datetime | None = None

    def note_time(self, at: datetime) -> None:
        self.first_at = at if self.first_at is None else min(self.first_at, at)
        self.last_at = at if self.last_at is None else max(self.last_at, at)


def set_aside(
    spec: PipelineSpec,
    settings: Settings,
    *,
    only: list[str],
    examples: int,
    with_times: bool = False,
    last_batches: int | None = None,
    catalog: Catalog | None = None,
) -> list[SetAside]:
    """Rows in quarantine of the pipeline's datasets (of `only`, where it names any), newest batch first.

    Args:
        examples: how many rows of each reason to keep; 0 does not even read them.
        with_times: whether to read when rows were set aside, too.
        last_batches: only those of so many batches back from the newest published one, and of runs that were not
            published since; None: all there are.
        catalog: that of the lake, where it is open already.

    Raises:
        SpecError: `only` names a dataset the pipeline does not have.
    """
    catalog = catalog or open_catalog(settings)
    entries: dict[tuple[str, str, str, bool], SetAside] = {}
    for dataset in [spec.dataset(name) for name in only] or spec.datasets:
        published = published_batches(find_table(catalog, RAW, dataset.name))
        counted = Counted(published)
        first = published[-1].batch - last_batches + 1 if published and last_batches is not None else 0
        table = find_table(catalog, QUARANTINE, dataset.name)
        more = (*((_TIME,) if with_times else ()), *(_EXAMPLE if examples else ()))
        for run_id, batch, reason, attempt, *rest in _rows(table, more, first):
            counts = counted.holds(run_id, attempt)
            entry = entries.setdefault(
                (dataset.name, run_id, reason, counts), SetAside(dataset.name, run_id, batch, reason, counts)
            )
            entry.rows += 1
            if with_times and rest[0] is not None:
                entry.note_time(rest[0])
            if len(entry.examples) < examples:
                place, record = rest[-2:]
                entry.examples.append((place or "", record or ""))
    return sorted(entries.values(), key=lambda entry: (entry.dataset, -entry.batch, entry.reason))


def _rows(table: Table | None, more: tuple[str, ...], first: int) -> Iterator[tuple[Any, ...]]:
    if table is None:
        return
    wanted = (*_COLUMNS, *more)
    # A table that an earlier version created may not have all of them until the next batch.
    present = [name for name in wanted if name in table.schema().column_names]
    # A batch at a time: quarantine has no bound.
    for part in table.scan(row_filter=f"_batch >= {first}", selected_fields=tuple(present)).to_arrow_batch_reader():
        columns = {name: part.column(name).to_pylist() for name in present}
        absent = [None] * part.num_rows
        yield from zip(*(columns.get(name, absent) for name in wanted), strict=True)
