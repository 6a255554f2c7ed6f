"""Extract: read the plan's slices in parallel, set bad rows aside, append the rest to a branch.

If the source can, it counts a slice at the snapshot at which its rows are read; if not, it is asked for the count
beside them. The same holds for a fingerprint of each row, which is compared with one made of what arrived. A slice that
differs because rows moved while it was read is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial

from pydantic import JsonValue
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from connectors.base import (
    SLICE_COLUMN,
    SOURCE_ROWS_COLUMN,
    Dataset,
    FingerprintOf,
    Slice,
    Source,
    SourcePlan,
)
from connectors.errors import ReconciliationFailed, SourceMoved
from connectors.versions import columns_of
from jobs.lake.arrow_schema import raw_arrow
from jobs.lake.catalog import data_folder
from jobs.lake.schema import BATCH_COLUMN, DELETED, DELETED_COLUMN, RUN_COLUMN
from jobs.lake.tables import ensure_tables
from jobs.masking.masks import Masking, key_mark, open_masking
from jobs.runs.context import Context
from jobs.runs.plan_document import DatasetPlan
from jobs.runs.receipts import Receipt
from jobs.runs.source import open_source
from jobs.runtime.events import event
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.attempt import Attempt
from jobs.stages.batch.curated_state import catch_up_dataset, refuse_altered
from jobs.stages.batch.reconciliation import (
    SWEPT,
    TOMBSTONE_SLICE,
    Counts,
    SliceNote,
    altered,
    differing,
    notes_to_json,
    source_rows,
)
from jobs.stages.batch.row_rejection import row_rejection
from jobs.stages.batch.spark_landing import as_landed
from jobs.stages.check.publish import step_back_if_late
from jobs.stages.extract.arrow_landing import ArrowLanding
from jobs.stages.extract.first_differences import first_differences
from jobs.stages.extract.known_rows import KnownRows
from jobs.stages.extract.row_rules_in_place import judge
from jobs.stages.extract.schema_guard import as_planned
from jobs.stages.extract.slice_copy import Copying, begin_workers, copy_slices
from jobs.stages.extract.sweep import sweep

Land = Callable[[DataFrame], DataFrame]
"""Turns rows as the source returned them into rows to append: judged, then masked."""
_MOST_SLICES = 10
"""How many slices that do not reconcile a message names."""
Bring = Callable[[SourcePlan], Iterator[None]]
"""Brings the slices of a plan onto the attempt's branch, some at a time, and notes each; every step is a commit."""


def extract(context: Context, dataset: DatasetPlan) -> Receipt | None:
    """Bring one dataset's batch onto a branch of raw and seal it.

    Returns:
        The receipt, with the branch and the sealed snapshot in its details; None if nothing is planned.

    Raises:
        ReconciliationFailed: a slice still differs from the source after all reads that the spec allows.
        SourceMoved: what the plan froze is gone at the source, or its columns changed before a slice was read.
        CheckFailed: more rows are gone at the source than the spec allows.
    """
    if dataset.state != "planned" or dataset.source is None:
        return None
    return step_back_if_late(context, dataset, "extract", partial(_extract, context, dataset))


def _extract(context: Context, dataset: DatasetPlan) -> Receipt:
    assert dataset.source is not None, "planned to be read"
    spec = context.spec(dataset)
    source, request = open_source(context.plan.spec, spec, context.settings)
    columns, arriving = dataset.read_columns, dataset.lake_columns
    as_columns = dataset.route is not None and dataset.route.kind == "columns"
    workers = begin_workers(context.spark, dataset.source.slices) if as_columns else None
    unaltered = partial(refuse_altered, context, dataset)
    ensure_tables(context.spark, dataset.name, arriving, spec.bigquery.partition_by, unaltered)
    crash_point("extract.before", dataset.name)
    if dataset.source.rereads and spec.write_disposition != "replace":
        # Rows read again are compared with the current state, which a run that published and died has left behind.
        catch_up_dataset(context, dataset)
    attempt = Attempt(context, dataset, arriving)
    if observations := attempt.observations:
        source.recall(dataset.source, observations)
    rejection = row_rejection(dataset.rules, columns, spec.mask)
    masking = open_masking(spec.mask, spec.primary_key, context.plan.spec.mask_key)
    if masking.key is not None and dataset.mask_key_mark not in (None, key_mark(masking.key)):
        raise SourceMoved("the key of mask: hmac is another than when this run was planned", fix="Plan again")

    def land(rows: DataFrame) -> DataFrame:
        landed = as_landed(rows, columns, rejection, masking, spec.primary_key)
        if spec.deletes != "sweep":
            return landed
        return landed.withColumn(DELETED_COLUMN, F.lit(None).cast(DELETED.spark_type))

    append = partial(_append, context, dataset, source, request, attempt, land)
    bring = partial(_in_chunks, append, context.settings.slices_per_commit)
    to_judge: SparkColumn | None = None
    if workers is not None:
        workers.result()
    if as_columns:
        bring = partial(_copy, context, dataset, source, request, attempt, masking)
        to_judge = rejection
    counts = _read_all(context, dataset, source, request, attempt, land, bring, to_judge)
    crash_point("extract.read", dataset.name)
    notes = attempt.notes
    known = sum(note.known_rows for note in notes.values())
    nothing_new = counts.read == 0 and (known > 0 or dataset.keys is not None)
    details: dict[str, JsonValue] = {
        "slices": notes_to_json(notes),
        "columns": [column.name for column in arriving],
    }
    if attempt.proof_seconds is not None and spec.reconcile == "fingerprint":
        details["proof_seconds"] = round(attempt.proof_seconds, 3)
    if not nothing_new:
        rejected = [piece for piece, rows in counts.quarantined.items() if rows]
        published = attempt.origins(source.origin_column, rejected) if source.origin_column and rejected else {}
        head = attempt.seal(counts, position_after=source.position_after(dataset.source, published))
        crash_point("extract.sealed", dataset.name)
        details |= {"branch": head.branch, "snapshot_id": str(head.snapshot_id)}
    return context.new_receipt(
        dataset,
        "extract",
        "empty" if nothing_new else "done",
        source_rows=source_rows(notes),
        read=counts.read,
        quarantined=sum(counts.quarantined.values()),
        known=known if dataset.source.rereads or known else None,
        deleted=(notes.get(TOMBSTONE_SLICE, SliceNote()).source_rows or 0) if spec.deletes == "sweep" else None,
        details=details,
    )


def _read_all(
    context: Context,
    dataset: DatasetPlan,
    source: Source,
    request: Dataset,
    attempt: Attempt,
    land: Land,
    bring: Bring,
    to_judge: SparkColumn | None,
) -> Counts:
    assert dataset.source is not None
    plan, spec = dataset.source, context.spec(dataset)
    wanted = [piece.id for piece in plan.slices]
    wrong: dict[int, str] = {}
    swept = dataset.keys is None
    for _ in range(spec.reads):
        again = [piece for piece in attempt.done_slices if piece in wrong or piece not in attempt.notes]
        if again:
            # The result of a sweep depends on the rows that are there.
            again += [piece for piece in attempt.done_slices if piece in SWEPT and piece not in again]
            attempt.take_back(again)
            swept = dataset.keys is None
        swept = swept or any(piece in SWEPT for piece in attempt.done_slices)
        done = set(attempt.done_slices)
        missing = plan.only([piece for piece in wanted if piece not in done])
        for _committed in bring(missing) if missing.slices else ():
            event("appended", stage="extract", dataset=dataset.name, slices=f"{len(attempt.done_slices)}/{len(wanted)}")
        unfit = any(note.unfit_rows for note in attempt.notes.values())
        if (to_judge is not None or unfit) and not attempt.set_aside_done:
            judge(attempt, to_judge, spec.primary_key, masked=bool(spec.mask))
        uncounted = [piece for piece in wanted if attempt.notes[piece].source_rows is None]
        if uncounted and spec.reconcile != "off":
            for piece, rows in source.count(request, plan.only(uncounted)).items():
                attempt.note(piece, source_rows=rows)
            attempt.observe(source.observations(plan))
        counts = attempt.counts()
        if not attempt.set_aside_done:
            # Rejected rows are still on the branch; quarantine may hold a dead attempt's copy of them.
            counts = replace(counts, quarantined={})
            wrong = differing(wanted, attempt.notes, counts)
            if not wrong and not swept:
                sweep(context, dataset, source, request, attempt, land)
                crash_point("extract.swept", dataset.name)
                swept = True
                counts = replace(attempt.counts(), quarantined={})
            wrong = wrong or differing(attempt.done_slices, attempt.notes, counts)
            if wrong:
                event("warning", stage="extract", dataset=dataset.name, warning=next(iter(wrong.values())))
                continue
            if attempt.set_aside(counts.rejected):
                counts = attempt.counts()
        wrong = differing({*wanted, *attempt.done_slices}, attempt.notes, counts)
        if not wrong:
            return counts
        break
    raise ReconciliationFailed(
        f"read is not published + quarantined: {_told(context, dataset, source, request, attempt, wrong)}",
        fix="Rows may be moving faster than they can be read: raise lag_seconds or reads, or plan again",
    )


def _told(
    context: Context, dataset: DatasetPlan, source: Source, request: Dataset, attempt: Attempt, wrong: Mapping[int, str]
) -> str:
    """Describe the first slice that does not reconcile, down to its rows and columns, and name the other ones."""
    # The result of a sweep depends on the rows that are there: the plan's slices come first.
    first, *others = sorted(wrong, key=lambda piece: (piece in SWEPT, piece))
    found = first_differences(context, dataset, source, request, attempt, first) if first not in SWEPT else None
    told = wrong[first] + (f" ({found})" if found else "")
    if others:
        named = ", ".join(map(str, others[:_MOST_SLICES]))
        more = f" and {len(others) - _MOST_SLICES} more" if len(others) > _MOST_SLICES else ""
        told += f"; nor do others hold: {named}{more}"
    return told


def _append(
    context: Context,
    dataset: DatasetPlan,
    source: Source,
    request: Dataset,
    attempt: Attempt,
    land: Land,
    plan: SourcePlan,
) -> None:
    spec = context.spec(dataset)
    made = source.fingerprint(request, plan, "row") if spec.reconcile == "fingerprint" else None
    seen = Observation()
    ids = [piece.id for piece in plan.slices]
    mine = {piece: F.col(SLICE_COLUMN) == piece for piece in ids}
    told = (
        *(F.max(F.when(mine[piece], F.col(SOURCE_ROWS_COLUMN))).alias(f"rows_{piece}") for piece in ids),
        *(F.count(F.when(mine[piece] & altered(made), 1)).alias(f"altered_{piece}") for piece in ids),
    )
    known: KnownRows | None = None
    if plan.rereads and spec.write_disposition != "replace":
        versions = columns_of(source.version_columns(request))
        known = KnownRows(context, dataset, versions[0] if versions else None, attempt.columns, ids)
    with as_planned(source, request, plan), source.reading(plan):
        rows = source.read(context.spark, request, plan, "row" if made is not None else "nothing").observe(seen, *told)
        # Judged as read, then masked: no part of a masked value is written anywhere.
        attempt.append(land(rows), ids, known.unknown if known else None)
    expected = {piece.id: piece.expected_rows for piece in plan.slices}
    left_out = known.notes() if known else {}
    for piece in ids:
        attempt.note(piece, altered_rows=int(seen.get[f"altered_{piece}"]), **left_out.get(piece, {}))
        counted = seen.get[f"rows_{piece}"]
        counted = expected[piece] if counted is None else counted
        if counted is not None and spec.reconcile != "off":
            attempt.note(piece, source_rows=int(counted))


def _copy(
    context: Context,
    dataset: DatasetPlan,
    source: Source,
    request: Dataset,
    attempt: Attempt,
    masking: Masking,
    missing: SourcePlan,
) -> Iterator[None]:
    spec = context.spec(dataset)
    proof: FingerprintOf = "row" if spec.reconcile == "fingerprint" else "nothing"
    raw = context.raw_table(dataset)
    schema = raw_arrow(raw, [column.name for column in attempt.columns if column.name != DELETED_COLUMN])
    landing = ArrowLanding(schema, masking, {RUN_COLUMN: context.plan.run_id, BATCH_COLUMN: dataset.batch})
    reader = source.slice_reader(request, missing, proof, counted=spec.reconcile != "off")

    def reading(slices: Sequence[Slice]) -> AbstractContextManager[int]:
        return source.reading(missing.model_copy(update={"slices": tuple(slices)}))

    work = Copying(reader, landing, data_folder(raw), dict(raw.io.properties), tuple(spec.primary_key))
    together = context.settings.slices_per_commit
    copying = copy_slices(context.spark, work, missing.slices, reading, source.slices_at_once, together)
    brought = 0
    with closing(copying):
        while brought < len(missing.slices):
            with as_planned(source, request, missing):
                copied = next(copying)
            attempt.add(copied)
            brought += len(copied)
            yield


def _in_chunks(append: Callable[[SourcePlan], None], size: int, missing: SourcePlan) -> Iterator[None]:
    ids = [piece.id for piece in missing.slices]
    for start in range(0, len(ids), size):
        append(missing.only(ids[start : start + size]))
        yield
