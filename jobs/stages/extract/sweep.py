"""Sweep: compares all keys at the source with the lake's; a row that is gone gets a tombstone.

A tombstone is the row as curated has it, with `_deleted_at`. It travels through raw as the newest version of its key,
in a slice of its own.

The sweep also finds rows at the source that the lake marks as deleted or never had. If such a row's cursor lies before
this run's window, no window will hold the row: it is read by the slice of its key, and brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil
from operator import and_

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from connectors.base import (
    REJECTED_COLUMN,
    REJECTED_TYPE,
    SLICE_COLUMN,
    SOURCE_ROWS_COLUMN,
    KeyScanPlan,
    ReadPlan,
)
from connectors.errors import CheckFailed, ReconciliationFailed
from jobs.lake.batch_log import published_batches
from jobs.lake.catalog import find_table
from jobs.lake.names import RAW
from jobs.lake.quarantine import Counted
from jobs.lake.schema import DELETED_COLUMN, quoted
from jobs.masking.masks import open_masking
from jobs.runtime.events import event
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.curated_state import state_at_base
from jobs.stages.batch.reconciliation import RETURNED_SLICE, TOMBSTONE_SLICE, altered
from jobs.stages.batch.spark_landing import as_landed
from jobs.stages.extract.known_rows import KnownRows
from jobs.stages.extract.source_read import SourceRead

FEW_ROWS = 10
"""So many rows may vanish from a table that keeps others, regardless of their share."""

_KIND, _LIVE, _THERE, _BEHIND, _KEY_SLICE = "_kind", "_live", "_there", "_behind", "_key_slice"
_VANISHED, _RETURNED, _MISSING = "vanished", "returned", "missing"


@dataclass(frozen=True)
class _Compared:
    """Keys that differ, with their kind and the slice in which they were read, and how many there are in all."""

    keys: DataFrame
    live: int
    at_source: int
    counts: dict[str, int]

    @property
    def brought(self) -> int:
        return self.counts.get(_RETURNED, 0) + self.counts.get(_MISSING, 0)


def sweep(read: SourceRead) -> None:
    """Append to an attempt whose slices are all in: tombstones of the rows that are gone, and rows no window will hold.

    Both come in one commit. If nothing differs, nothing is appended.

    Raises:
        CheckFailed: more rows are gone than `most_deleted` allows.
        ReconciliationFailed: the keys that came are not those the source counted.
        SourceMoved: the columns changed while the keys or these rows were read.
    """
    run, attempt = read.run, read.attempt
    swept = _Sweep(read)
    crash_point("extract.comparing", run.name)
    compared = swept.compare()
    crash_point("extract.compared", run.name)
    gone = compared.counts.get(_VANISHED, 0)
    _check_deleted_share(gone, compared, run.spec.most_deleted)
    event("swept", stage="extract", dataset=run.name, keys=compared.at_source, deleted=gone, returned=compared.brought)
    parts = [swept.tombstones(compared)] if gone else []
    if not compared.brought:
        if parts:
            attempt.append(parts[0], [TOMBSTONE_SLICE])
            attempt.record(TOMBSTONE_SLICE, source_rows=gone)
        return
    event(
        "warning",
        stage="extract",
        dataset=run.name,
        warning=f"{compared.brought} rows at the source that the lake marks as deleted or lacks have a cursor before "
        "this window: they are read by their keys. Something writes rows with a cursor of the past",
    )
    plan, observed = swept.plan_of(compared), Observation()
    known = swept.known_rows()
    ids = [TOMBSTONE_SLICE, RETURNED_SLICE] if gone else [RETURNED_SLICE]
    with read.reading(plan):
        parts.append(known.not_set_aside(swept.rows_of(compared, plan, observed)))
        attempt.append(reduce(DataFrame.unionByName, parts), ids)
    if gone:
        attempt.record(TOMBSTONE_SLICE, source_rows=gone)
    attempt.record(
        RETURNED_SLICE,
        source_rows=compared.brought,
        altered_rows=int(observed.get["altered"]),
        **known.stats()[RETURNED_SLICE],
    )


def _check_deleted_share(gone: int, compared: _Compared, most_deleted: float) -> None:
    if gone <= compared.live * most_deleted or (gone <= FEW_ROWS and compared.at_source):
        return
    share = min(ceil(gone / compared.live * 1000) / 1000, 1.0)
    empty = "; it holds no row at all" if not compared.at_source else ""
    raise CheckFailed(
        f"{gone:,} of {compared.live:,} rows are gone at the source, more than most_deleted: {most_deleted:g}{empty}",
        fix=f"See what became of them; if they were meant to go, write most_deleted: {share:g} for one run, and run "
        "again",
    )


class _Sweep:
    """One comparison of a dataset's keys, and the rows that follow from it."""

    def __init__(self, read: SourceRead) -> None:
        assert read.run.dataset.keys is not None, "planned to be swept"
        self._read = read
        self._run = read.run
        self._keys: KeyScanPlan = read.run.dataset.keys
        self._spec = read.run.spec
        self._names = list(self._spec.primary_key)
        self._curated = state_at_base(read.run)

    def compare(self) -> _Compared:
        """Compare the keys at the source with curated, this batch and quarantine."""
        for _ in range(self._spec.reads):
            read, seen = Observation(), Observation()
            with self._read.reading(self._keys.read):
                differing = self._differing(self._source_keys(read), seen).localCheckpoint()
            wrong = self._incomplete(read)
            if wrong is None:
                counts = {row[0]: row[1] for row in differing.groupBy(_KIND).count().collect()}
                return _Compared(differing, int(seen.get["live"]), int(seen.get["at_source"]), counts)
            event("warning", stage="extract", dataset=self._run.name, warning=wrong)
        raise ReconciliationFailed(
            wrong or "no key was read",
            fix="Keys may be moving faster than they can be read: raise reads, or plan again",
        )

    def tombstones(self, compared: _Compared) -> DataFrame:
        """Return the vanished rows as curated has them. The plan's clock marks them, so that a retry writes the
        same."""
        live = self._curated.where(F.col(DELETED_COLUMN).isNull())
        return self._of_kinds(live, compared, [_VANISHED]).select(
            *[F.col(quoted(c.name)) for c in self._read.attempt.columns if c.name != DELETED_COLUMN],
            F.lit(self._keys.clock).cast("timestamp").alias(DELETED_COLUMN),
            F.lit(TOMBSTONE_SLICE).alias(SLICE_COLUMN),
            F.lit(None).cast(REJECTED_TYPE).alias(REJECTED_COLUMN),
        )

    def plan_of(self, compared: _Compared) -> ReadPlan:
        """Return the slices that contain the rows to bring; each slice is read whole."""
        chosen = compared.keys.where(F.col(_KIND) != _VANISHED).select(_KEY_SLICE).distinct().collect()
        return ReadPlan(
            columns=self._read.plan.columns,
            slices=self._keys.read.only([row[0] for row in chosen]).slices,
            snapshot=self._read.plan.snapshot,
        )

    def rows_of(self, compared: _Compared, plan: ReadPlan, observed: Observation) -> DataFrame:
        """Return the rows to bring, landed, from the slices of `plan`; `observed` counts those that arrived altered."""
        fingerprint = self._read.fingerprint(plan)
        rows = self._read.source.read(
            self._run.spark, self._read.request, plan, "nothing" if fingerprint is None else "row"
        )
        landed = self._read.land(rows.observe(observed, F.count(F.when(altered(fingerprint), 1)).alias("altered")))
        # A row that has moved on since its key was read belongs to a window.
        behind = landed.where(self._behind(landed))
        return self._of_kinds(behind, compared, [_RETURNED, _MISSING]).withColumn(SLICE_COLUMN, F.lit(RETURNED_SLICE))

    def known_rows(self) -> KnownRows:
        """Return a filter for rows of any age that were set aside before."""
        anywhere = self._read.plan.model_copy(update={"overlap_start": None})
        run = replace(self._run, dataset=self._run.dataset.model_copy(update={"source": anywhere}))
        return KnownRows(run, None, self._read.attempt.columns, [RETURNED_SLICE])

    def _source_keys(self, read: Observation) -> DataFrame:
        plan = self._keys.read
        fingerprint = self._read.fingerprint(plan)
        rows = self._read.source.read(
            self._run.spark, self._read.request, plan, "nothing" if fingerprint is None else "row"
        )
        counted = F.when(
            F.col(SOURCE_ROWS_COLUMN).isNotNull(), F.concat_ws(":", F.col(SLICE_COLUMN), F.col(SOURCE_ROWS_COLUMN))
        )
        observed = rows.observe(
            read,
            F.count(F.lit(1)).alias("rows"),
            F.count(F.when(altered(fingerprint), 1)).alias("altered"),
            F.concat_ws(",", F.collect_set(counted)).alias("counted"),
        )
        masking = open_masking(self._spec.mask, self._names, self._run.context.plan.spec.mask_key)
        landed = as_landed(observed, plan.columns, None, masking)
        keys = landed.select(
            *self._numbered(),
            F.lit(True).alias(_THERE),
            F.coalesce(self._behind(landed), F.lit(False)).alias(_BEHIND),
            F.col(SLICE_COLUMN).alias(_KEY_SLICE),
        )
        # Spark drops the plan of an empty side of a join, and with it what was observed there.
        nobody = [F.lit(None).cast(field.dataType).alias(field.name) for field in keys.schema]
        return keys.unionByName(self._run.spark.range(1).select(*nobody))

    def _incomplete(self, read: Observation) -> str | None:
        """Return why the keys that came cannot be trusted, or None: a lost key would look deleted."""
        counts_text = str(read.get["counted"] or "")
        counted = {
            int(slice_): int(rows) for slice_, rows in (entry.split(":") for entry in counts_text.split(",") if entry)
        }
        silent = [slice_.id for slice_ in self._keys.read.slices if slice_.id not in counted]
        if silent:
            # No row of these slices came that could have carried their count.
            counted |= self._read.source.count(self._read.request, self._keys.read.only(silent))
        came, other = int(read.get["rows"]), int(read.get["altered"])
        if came != sum(counted.values()):
            return f"the source has {sum(counted.values())} keys, {came} were read"
        return f"{other} of {came} keys did not arrive as the source has them" if other else None

    def _differing(self, there: DataFrame, seen: Observation) -> DataFrame:
        here = self._curated.select(*self._numbered(), F.col(DELETED_COLUMN).isNull().alias(_LIVE))
        live, at_source = F.coalesce(_LIVE, F.lit(False)), F.coalesce(_THERE, F.lit(False))
        kind = (
            F.when(live & ~at_source, F.lit(_VANISHED))
            .when(F.col(_BEHIND) & F.col(_LIVE).isNull(), F.lit(_MISSING))
            .when(F.col(_BEHIND) & ~live, F.lit(_RETURNED))
        )
        same = self._same("here", "there") & F.col(f"there.{_THERE}")
        both = here.alias("here").join(there.alias("there"), same, "full_outer")
        compared = both.observe(
            seen, F.count(F.when(live, 1)).alias("live"), F.count(F.when(at_source, 1)).alias("at_source")
        ).select(
            *[F.coalesce(f"here.{k}", f"there.{k}").alias(k) for k in self._numbers()], kind.alias(_KIND), _KEY_SLICE
        )
        differing = compared.where(F.col(_KIND).isNotNull()).alias("found")
        batch = self._read.attempt.batch().where(F.col(SLICE_COLUMN) >= 0).select(*self._numbered()).alias("batch")
        differing = differing.join(batch, self._same("found", "batch"), "left_anti")
        return self._not_set_aside(differing)

    def _not_set_aside(self, differing: DataFrame) -> DataFrame:
        """Drop keys that the lake lacks because their rows were set aside: those wait until their cursor moves."""
        log = published_batches(find_table(self._run.context.catalog, RAW, self._run.name))
        counted = Counted(log)
        if not counted:
            return differing
        bad = counted.rows(self._run.spark, self._run.name)
        if self._spec.mask and not bad.where("record IS NULL").isEmpty():
            # Without records nobody can say which rows those are.
            return differing.where(F.col(_KIND) != _MISSING)
        values = F.from_json(F.col("record"), "map<string,string>")
        types = {field.name: field.dataType for field in self._curated.schema}
        keys = []
        for number, name in enumerate(self._names):
            text = values[F.lit(name)]
            binary = types[name].simpleString() == "binary"
            keys.append((F.unbase64(text) if binary else text.try_cast(types[name])).alias(f"_k{number}"))
        aside = bad.select(*keys).alias("aside")
        missing = F.col(f"found.{_KIND}") == _MISSING
        return differing.alias("found").join(aside, self._same("found", "aside") & missing, "left_anti")

    def _of_kinds(self, rows: DataFrame, compared: _Compared, kinds: Sequence[str]) -> DataFrame:
        keys = compared.keys.where(F.col(_KIND).isin(list(kinds))).alias("found")
        same = [
            F.col(f"rows.{quoted(name)}").eqNullSafe(F.col(f"found._k{number}"))
            for number, name in enumerate(self._names)
        ]
        return rows.alias("rows").join(keys, reduce(and_, same), "left_semi")

    def _behind(self, rows: DataFrame) -> SparkColumn:
        """Whether a row's cursor lies before this run's window: neither this window nor a later one holds the row."""
        window, cursor = self._read.plan.window, self._run.dataset.identity.cursor
        if window is None or window.start is None or cursor is None:
            return F.lit(False)
        return rows[quoted(cursor)] < F.lit(window.start).cast(rows.schema[cursor].dataType)

    def _numbers(self) -> list[str]:
        return [f"_k{number}" for number in range(len(self._names))]

    def _numbered(self) -> list[SparkColumn]:
        return [F.col(quoted(name)).alias(number) for name, number in zip(self._names, self._numbers(), strict=True)]

    def _same(self, one: str, other: str) -> SparkColumn:
        return reduce(and_, (F.col(f"{one}.{k}").eqNullSafe(F.col(f"{other}.{k}")) for k in self._numbers()))
