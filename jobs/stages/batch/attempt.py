"""An attempt to bring a batch into the lake: it writes rows to a branch, sets bad rows aside and seals the counts.

A batch is sealed only if read = raw + quarantine holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import JsonValue

from connectors.base import REJECTED_COLUMN, SLICE_COLUMN, TOMBSTONE, Column
from connectors.errors import ReconciliationFailed
from jobs.contracts.drift import batch_schema_of
from jobs.lake import batch_log as batches
from jobs.lake.large_properties import read_position, write_position
from jobs.lake.names import QUARANTINE
from jobs.lake.quarantine import has_set_aside
from jobs.lake.raw_table import Head, RawTable, branch_prefix
from jobs.lake.row_hash import sum_of_hashes
from jobs.lake.schema import (
    ATTEMPT_COLUMN,
    BATCH_COLUMN,
    GENERATION_COLUMN,
    RUN_COLUMN,
    literal,
    quoted,
    raw_columns,
    table_name,
)
from jobs.lake.spark_session import session_with_properties
from jobs.runs.row_identity import place_of
from jobs.runs.stage_results import SliceStats, stats_from_json, stats_text
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.file_proof import check_files_unaltered, count_files
from jobs.stages.batch.reconciliation import (
    TOMBSTONE_SLICE,
    SliceCounts,
    batch_rows,
    count_in_lake,
    mismatches,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.lake.data_files import DataFile
    from jobs.runs.dataset_run import DatasetRun
    from jobs.stages.extract.slice_copy import CopiedSlice

STATS = batches.PREFIX + "notes"
_OBSERVATIONS = batches.PREFIX + "observations"
_TOMBSTONES = batches.PREFIX + "tombstones"
"""How many of the rejected rows are messages that only mark a row as gone."""
_ROW_BY_ROW = f"length({RUN_COLUMN}) > 0"
"""A condition that every row meets and Iceberg cannot evaluate. If Iceberg can evaluate the whole condition, Spark
drops files by metadata alone (`SupportsDeleteV2`), and that commit gets none of the session's snapshot properties."""


class Attempt:
    """One run's attempt at one dataset, on its own branch."""

    def __init__(self, run: DatasetRun, columns: Sequence[Column]) -> None:
        self._run = run
        self.columns = tuple(columns)
        self._spark: SparkSession = run.spark
        self.table = RawTable(self._spark, run.name)
        self._head = self.table.open_attempt(run.run_id, run.dataset.generation, run.dataset.base_snapshot_id)
        self._done = _numbers(self._head.properties.get(batches.SLICES)) if self._ours(self._head) else []
        recorded = json.loads(self._head.properties.get(STATS, "{}")) if self._ours(self._head) else {}
        self._stats = stats_from_json(recorded)
        self._set_aside_by = self._head.properties.get(batches.SET_ASIDE) if self._ours(self._head) else None
        self._tombstones = int(self._head.properties.get(_TOMBSTONES, 0)) if self._ours(self._head) else 0
        self._observations = self._head.properties.get(_OBSERVATIONS) if self._ours(self._head) else None
        self.proof_seconds: float | None = None
        """Seconds that tasks took to compare rows and files of the slices copied as columns; None without such
        slices."""

    @property
    def done_slices(self) -> list[int]:
        """The slices that an earlier attempt, or this one, has brought in."""
        return list(self._done)

    @property
    def stats(self) -> Mapping[int, SliceStats]:
        """What was observed of each slice. A done slice without stats comes from an attempt that died before it could
        record them: take the slice back."""
        return dict(self._stats)

    @property
    def set_aside_done(self) -> bool:
        return self._set_aside_by is not None

    def append(
        self,
        rows: DataFrame,
        slices: Sequence[int],
        unknown: Callable[[DataFrame], DataFrame] | None = None,
        in_place: bool = False,
    ) -> None:
        """Append slices to the branch in one commit; `rows` are as `spark_landing.as_landed` leaves them.

        If the spec asks for fingerprints, the stats of each slice hold the hash of the rows that were written.

        Args:
            unknown: leaves out the rows that earlier batches hold; it gets the rows as they would be written.
            in_place: whether the rows replace those that the branch holds of these slices.
        """
        from pyspark.sql import Observation
        from pyspark.sql import functions as F

        marked = rows.select(
            *[F.col(quoted(column.name)) for column in self.columns],
            F.lit(self._run.run_id).alias(RUN_COLUMN),
            F.lit(self._run.dataset.batch).cast("bigint").alias(BATCH_COLUMN),
            F.col(SLICE_COLUMN).cast("int").alias(SLICE_COLUMN),
            F.col(REJECTED_COLUMN),
        )
        if unknown:
            marked = unknown(marked)
        written = Observation()
        hashed = self._run.spec.reconcile == "fingerprint"
        if hashed:
            good, schema = F.col(f"{REJECTED_COLUMN}.reason").isNull(), self.table.schema
            sums = [
                sum_of_hashes(self._names, schema, good & (F.col(SLICE_COLUMN) == slice_id)).alias(f"hash_{slice_id}")
                for slice_id in slices
            ]
            marked = marked.observe(written, *sums)
        done = sorted({*self._done, *slices})
        # A done slice without stats comes from an attempt that died: nobody knows what it wrote.
        before = {slice_id: self._stats.pop(slice_id, SliceStats()) for slice_id in slices}
        if in_place:
            old = (F.col(BATCH_COLUMN) == self._run.dataset.batch) & F.col(SLICE_COLUMN).isin(list(slices))
            self.table.replace(marked, old, self._head.branch, self._properties(done))
        else:
            self.table.append(marked, self._head.branch, self._properties(done))
        self._done = done
        crash_point("extract.appended", self._run.name)
        self._stats |= {
            slice_id: replace(
                before[slice_id] if in_place else SliceStats(),
                row_hash=int(written.get[f"hash_{slice_id}"] or 0) if hashed else None,
            )
            for slice_id in slices
        }

    def add(self, copied: Sequence[CopiedSlice]) -> None:
        """Append slices that were copied into files, in one commit, and record what was observed of each."""
        done = sorted({*self._done, *(slice_copy.id for slice_copy in copied)})
        self._stats |= {
            slice_copy.id: SliceStats(
                source_rows=slice_copy.source_rows,
                altered_rows=slice_copy.altered_rows,
                rejected_rows=slice_copy.rejected_rows,
                unfit_rows=slice_copy.unfit_rows,
            )
            for slice_copy in copied
        }
        self.proof_seconds = (self.proof_seconds or 0.0) + sum(slice_copy.proof_seconds for slice_copy in copied)
        files = [file for slice_copy in copied for file in slice_copy.files]
        self.table.append_files(files, self._head.branch, self._properties(done))
        self._done = done
        crash_point("extract.appended", self._run.name)

    def record(self, slice_id: int, **seen: int) -> None:
        """Add to a slice's stats (`source_rows`, `altered_rows`, those of `KnownRows`). The next commit records them
        in its properties."""
        self._stats[slice_id] = replace(self._stats.get(slice_id, SliceStats()), **seen)

    @property
    def observations(self) -> dict[str, JsonValue] | None:
        """What an earlier attempt has observed (see `observe`); None if it recorded nothing."""
        if self._observations is None:
            return None
        return read_position(self._run.context.documents, json.loads(self._observations))

    def observe(self, observations: dict[str, JsonValue] | None) -> None:
        """Keep what the source observed while it counted (`Source.observations`). It goes into the same commits as the
        counts, so a retry that finds the counts finds the observations, too."""
        self._observations = write_position(self._run.context.documents, self._run.name, observations, "observations")

    def take_back(self, slices: Sequence[int]) -> None:
        """Remove slices from the branch, so that they can be read again."""
        self._done = [s for s in self._done if s not in slices]
        self._stats = {s: stats for s, stats in self._stats.items() if s not in slices}
        inside = ", ".join(str(int(s)) for s in slices)
        self._sql(
            f"DELETE FROM {self._branch} WHERE {self._mine} AND {SLICE_COLUMN} IN ({inside}) AND {_ROW_BY_ROW}", {}
        )

    def set_aside(self, rejected_rows: int) -> bool:
        """Move the rejected rows from the branch to quarantine, under the name of this attempt.

        Rows in quarantine are never replaced: those of another attempt may belong to a published batch. The sealed
        snapshot names the attempt whose rows count.

        Args:
            rejected_rows: how many the branch holds (`SliceCounts.rejected`).

        Returns:
            Whether there were any. If so, count the rows again.
        """
        from pyspark.sql import Observation
        from pyspark.sql import functions as F

        if self._set_aside_by is not None:
            return self._set_aside_by != batches.NOTHING_SET_ASIDE
        if not rejected_rows:
            self._set_aside_by = batches.NOTHING_SET_ASIDE
            return False
        rejected = self.batch().where(f"{REJECTED_COLUMN}.reason IS NOT NULL")
        at = self._run.dataset.identity.place_columns(self._run.spec.primary_key, self._names)
        seen = Observation()
        bad = rejected.select(
            F.col(RUN_COLUMN),
            F.lit(self._run.dataset.generation).cast("int").alias(GENERATION_COLUMN),
            F.lit(self._name).alias(ATTEMPT_COLUMN),
            F.col(BATCH_COLUMN),
            F.col(SLICE_COLUMN),
            F.col(f"{REJECTED_COLUMN}.reason").alias("reason"),
            place_of(at).alias("place"),
            F.col(f"{REJECTED_COLUMN}.record").alias("record"),
            F.current_timestamp().alias("quarantined_at"),
        ).observe(seen, F.count_if(F.col("reason") == TOMBSTONE).alias("tombstones"))
        crash_point("extract.quarantining", self._run.name)
        # Another driver may have published and dropped the branch: rows set aside now would belong to no batch.
        self.table.head(self._head.branch)
        bad.writeTo(table_name(self._spark, QUARANTINE, self._run.name)).append()
        self._tombstones = int(seen.get["tombstones"])
        crash_point("extract.quarantined", self._run.name)
        if self._run.spec.reconcile == "fingerprint":
            self._hash_written()
        self._sql(
            f"DELETE FROM {self._branch} WHERE {self._mine} AND {REJECTED_COLUMN}.reason IS NOT NULL",
            {batches.SET_ASIDE: self._name, _TOMBSTONES: str(self._tombstones)},
        )
        self._set_aside_by = self._name
        return True

    def counts(self) -> SliceCounts:
        """Count the batch's rows in the lake by slice, as its files have them now."""
        bad = any(stats.rejected_rows for stats in self._stats.values()) or has_set_aside(self._set_aside_by)
        by_files = None if bad else count_files(self._files)
        return by_files or self._count_in_lake(self._set_aside_by)

    def _count_in_lake(self, set_aside_by: str | None, hashed: Sequence[str] = ()) -> SliceCounts:
        run_id = self._run.run_id
        return count_in_lake(self._spark, self.batch(), self._run.name, run_id, set_aside_by, hashed)

    def _hash_written(self) -> None:
        """Note the hash of each slice's good rows if files stood for them: some are about to be written again."""
        properties = self._run.raw_table().io.properties
        check_files_unaltered(self._spark, self._files, properties)
        counts = self._count_in_lake(None, self._names)
        for slice_id, stats in self._stats.items():
            if stats.row_hash is None:
                self._stats[slice_id] = replace(stats, row_hash=counts.row_hash.get(slice_id, 0))

    def seal(
        self,
        counts: SliceCounts,
        partitions: Sequence[str] | None = None,
        *,
        position_after: dict[str, JsonValue] | None = None,
    ) -> Head:
        """Close the batch: its counts and position become properties of the branch's last snapshot.

        Args:
            position_after: replaces the plan's position, if the read could say more than the plan.
        """
        plan, dataset = self._run.context.plan, self._run.dataset
        position = (position_after or dataset.position) if dataset.moves_position else dataset.start_position
        properties = self._properties(self._done) | {
            batches.SEALED: "true",
            batches.PIPELINE: plan.pipeline,
            batches.ROWS: str(sum(counts.raw.values())),
            batches.QUARANTINED: str(sum(counts.quarantined.values())),
            batches.SET_ASIDE: self._set_aside_by or batches.NOTHING_SET_ASIDE,
            batches.ACCEPTED_ROWS: str(self._accepted(counts)),
            batches.REFUSED_ROWS: str(sum(counts.quarantined.values()) - self._tombstones),
            batches.MOVED_POSITION: "true" if dataset.moves_position else "false",
            # A retry begins at the sealed snapshot.
            _TOMBSTONES: str(self._tombstones),
        }
        window = dataset.window
        source_key = dataset.source.primary_key if dataset.source else ()
        schema = batch_schema_of(self._run.spec, self.columns, source_key, dataset.mask_key_mark)
        schema_document = schema.model_dump(mode="json")
        optional = {
            batches.SHAPE: write_position(self._run.context.documents, dataset.name, schema_document, "shapes"),
            batches.POSITION: write_position(self._run.context.documents, dataset.name, position),
            batches.WINDOW_START: window.start if window else None,
            batches.WINDOW_END: window.end if window else None,
            batches.PARTITIONS: json.dumps(list(partitions)) if partitions is not None else None,
            batches.REREAD: "true" if dataset.keys or (dataset.source and dataset.source.overlaps_published) else None,
            batches.ONE_ROW_A_KEY: "true" if dataset.key_guarantee == "one_row_per_key" else None,
        }
        properties |= {key: value for key, value in optional.items() if value is not None}
        wrong = mismatches(self._done, self._stats, counts)
        if wrong:
            raise ReconciliationFailed(next(iter(wrong.values())), pipeline=plan.pipeline, dataset=dataset.name)
        return self.table.seal(self._head.branch, properties)

    def _accepted(self, counts: SliceCounts) -> int:
        """Count the valid rows read from the source. A sweep did not read the rows it marks as deleted."""
        known = sum(stats.known_rows - stats.known_rejected_rows for stats in self._stats.values())
        return known + sum(rows for slice_id, rows in counts.raw.items() if slice_id != TOMBSTONE_SLICE)

    def origins(self, column: str, slices: Sequence[int]) -> dict[int, set[str]]:
        """Return the values of a column, by slice, in the rows that the branch holds of these slices. Once the rejected
        rows are set aside, these are the rows to be published."""
        from pyspark.sql import functions as F

        rows = self.batch().where(F.col(SLICE_COLUMN).isin(list(slices)))
        values_by_slice: dict[int, set[str]] = {slice_id: set() for slice_id in slices}
        for slice_id, value in rows.select(F.col(SLICE_COLUMN), F.col(quoted(column))).distinct().collect():
            values_by_slice[slice_id].add(value)
        return values_by_slice

    @property
    def _names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def _name(self) -> str:
        """The attempt's name within its run."""
        return self._head.branch.removeprefix(f"{branch_prefix(self._run.run_id)}_")

    @property
    def _branch(self) -> str:
        return f"{self.table.name}.branch_{self._head.branch}"

    @property
    def _mine(self) -> str:
        # A branch may begin at a snapshot that holds another run's batch of this number: see `RawTable.open_attempt`.
        return f"{BATCH_COLUMN} = {int(self._run.dataset.batch)} AND {RUN_COLUMN} = {literal(self._run.run_id)}"

    def batch(self) -> DataFrame:
        """The rows of this batch as they are on the branch now."""
        now = self.table.head(self._head.branch).snapshot_id
        return batch_rows(self.table, now, self._run.run_id, self._run.dataset.batch)

    @property
    def _files(self) -> list[DataFile]:
        return self.table.batch_files(self._head.branch, self._run.run_id, self._run.dataset.batch)

    def _ours(self, head: Head) -> bool:
        properties = head.properties
        return (
            properties.get(batches.RUN_ID) == self._run.run_id
            and properties.get(batches.GENERATION) == str(self._run.dataset.generation)
            and properties.get(batches.BATCH) == str(self._run.dataset.batch)
        )

    def _properties(self, slices: Sequence[int]) -> dict[str, str]:
        observed = {} if self._observations is None else {_OBSERVATIONS: self._observations}
        return observed | {
            batches.RUN_ID: self._run.run_id,
            batches.GENERATION: str(self._run.dataset.generation),
            batches.BATCH: str(self._run.dataset.batch),
            batches.SLICES: json.dumps(list(slices)),
            STATS: stats_text(self._stats),
        }

    def _sql(self, statement: str, properties: Mapping[str, str]) -> None:
        session_with_properties(self._spark, {**self._properties(self._done), **properties}).sql(statement)


def lake_columns(columns: Sequence[Column]) -> list[str]:
    """Return the names of a raw table's columns, for the schema contract."""
    return [column.name for column in raw_columns(columns)]


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in json.loads(text)] if text else []
