"""The route of columns: slices go from the source into files, without passing through Spark's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing

from connectors.base import FingerprintOf, ReadPlan, Slice
from connectors.capabilities import ArrowSource
from jobs.lake.arrow_schema import raw_arrow
from jobs.lake.catalog import data_folder
from jobs.lake.schema import BATCH_COLUMN, DELETED_COLUMN, RUN_COLUMN
from jobs.stages.extract.arrow_landing import ArrowLanding
from jobs.stages.extract.schema_guard import as_planned
from jobs.stages.extract.slice_copy import Copying, copy_slices
from jobs.stages.extract.source_read import SourceRead


class ColumnsRoute:
    """Brings slices as columns. Rows are judged afterwards, in the files: see `row_rules_in_place`."""

    def __init__(self, read: SourceRead, source: ArrowSource) -> None:
        self._read = read
        self._source = source

    def bring(self, missing: ReadPlan) -> Iterator[None]:
        """Copy the slices of a plan onto the branch, some at a time, and record what was observed of each. Every step
        is a commit."""
        read, run = self._read, self._read.run
        proof: FingerprintOf = "row" if run.spec.reconcile == "fingerprint" else "nothing"
        raw = run.raw_table()
        schema = raw_arrow(raw, [column.name for column in read.attempt.columns if column.name != DELETED_COLUMN])
        landing = ArrowLanding(schema, read.masking, {RUN_COLUMN: run.run_id, BATCH_COLUMN: run.dataset.batch})
        reader = self._source.slice_reader(read.request, missing, proof, counted=run.spec.reconcile != "off")

        def reading(slices: Sequence[Slice]) -> AbstractContextManager[int]:
            return read.source.connections(missing.model_copy(update={"slices": tuple(slices)}))

        work = Copying(reader, landing, data_folder(raw), dict(raw.io.properties), tuple(run.spec.primary_key))
        together = run.context.settings.slices_per_commit
        copying = copy_slices(run.spark, work, missing.slices, reading, self._source.slices_at_once(), together)
        brought = 0
        with closing(copying):
            while brought < len(missing.slices):
                with as_planned(read.source, read.request, missing):
                    copied = next(copying)
                read.attempt.add(copied)
                brought += len(copied)
                yield
