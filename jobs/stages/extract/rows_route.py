"""The route of rows: Spark reads slices, and appends them judged and masked."""

from __future__ import annotations

from collections.abc import Iterator

from pyspark.sql import Observation
from pyspark.sql import functions as F

from connectors.base import SLICE_COLUMN, SOURCE_ROWS_COLUMN, FingerprintOf, ReadPlan
from jobs.stages.batch.reconciliation import altered
from jobs.stages.extract.known_rows import KnownRows
from jobs.stages.extract.source_read import SourceRead


class RowsRoute:
    """Brings slices as rows."""

    def __init__(self, read: SourceRead) -> None:
        self._read = read

    def bring(self, missing: ReadPlan) -> Iterator[None]:
        """Append the slices of a plan to the branch, some at a time, and record what was observed of each. Every step
        is a commit."""
        ids, size = [slice_.id for slice_ in missing.slices], self._read.run.context.settings.slices_per_commit
        for start in range(0, len(ids), size):
            self._append(missing.only(ids[start : start + size]))
            yield

    def _append(self, plan: ReadPlan) -> None:
        read, attempt = self._read, self._read.attempt
        fingerprint = read.fingerprint(plan)
        seen = Observation()
        ids = [slice_.id for slice_ in plan.slices]
        own = {slice_id: F.col(SLICE_COLUMN) == slice_id for slice_id in ids}
        observed = (
            *(F.max(F.when(own[n], F.col(SOURCE_ROWS_COLUMN))).alias(f"rows_{n}") for n in ids),
            *(F.count(F.when(own[n] & altered(fingerprint), 1)).alias(f"altered_{n}") for n in ids),
        )
        known: KnownRows | None = None
        if read.compares_with_published:
            known = KnownRows(read.run, read.run.dataset.identity.cursor, attempt.columns, ids)
        with read.reading(plan):
            asked: FingerprintOf = "row" if fingerprint is not None else "nothing"
            rows = read.source.read(read.run.spark, read.request, plan, asked).observe(seen, *observed)
            # Judged as read, then masked: no part of a masked value is written anywhere.
            attempt.append(read.land(rows), ids, known.unknown if known else None)
        expected = {slice_.id: slice_.expected_rows for slice_ in plan.slices}
        known_stats = known.stats() if known else {}
        for slice_id in ids:
            attempt.record(slice_id, altered_rows=int(seen.get[f"altered_{slice_id}"]), **known_stats.get(slice_id, {}))
            counted = seen.get[f"rows_{slice_id}"]
            counted = expected[slice_id] if counted is None else counted
            if counted is not None and read.run.spec.reconcile != "off":
                attempt.record(slice_id, source_rows=int(counted))
