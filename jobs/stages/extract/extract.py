"""Extract: read the plan's slices in parallel, set bad rows aside, append the rest to a branch.

If the source can, it counts a slice at the snapshot at which its rows are read; if not, it is asked for the count
beside them. The same holds for a fingerprint of each row, which is compared with one made of what arrived. A slice that
differs because rows moved while it was read is read again.
"""

from __future__ import annotations

from functools import partial

from connectors.capabilities import ArrowSource
from connectors.errors import SourceMoved
from jobs.lake.tables import ensure_tables
from jobs.masking.masks import Masking, mask_key_fingerprint, open_masking
from jobs.runs.dataset_run import DatasetRun
from jobs.runs.receipts import Receipt
from jobs.runs.stage_results import Sealed, SliceStats
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.attempt import Attempt
from jobs.stages.batch.curated_state import check_tables_unaltered, update_curated
from jobs.stages.batch.reconciliation import TOMBSTONE_SLICE, SliceCounts, source_rows
from jobs.stages.batch.row_rejection import row_rejection
from jobs.stages.check.publish import step_back_if_late
from jobs.stages.extract.columns_route import ColumnsRoute
from jobs.stages.extract.reconciled_read import ReconciledRead, RouteIntoLake
from jobs.stages.extract.rows_route import RowsRoute
from jobs.stages.extract.slice_copy import begin_workers
from jobs.stages.extract.source_read import SourceRead


def extract(run: DatasetRun) -> Receipt | None:
    """Bring one dataset's batch onto a branch of raw and seal it.

    Returns:
        The receipt, with what was sealed; None if nothing is planned.

    Raises:
        ReconciliationFailed: a slice still differs from the source after all reads that the spec allows.
        SourceMoved: what the plan froze is gone at the source, or its columns changed before a slice was read.
        CheckFailed: more rows are gone at the source than the spec allows.
    """
    if run.dataset.state != "planned" or run.dataset.source is None:
        return None
    return step_back_if_late(run, "extract", partial(_extract, run))


def _extract(run: DatasetRun) -> Receipt:
    read, is_copied = _open(run)
    route: RouteIntoLake = RowsRoute(read)
    if is_copied:
        if not isinstance(read.source, ArrowSource):
            raise SourceMoved("the source was planned to be read as columns, and cannot be here", fix="Plan again")
        route = ColumnsRoute(read, read.source)
    counts = ReconciledRead(read, route, judges_in_place=is_copied).run()
    crash_point("extract.read", run.name)
    return _sealed(read, counts)


def _open(run: DatasetRun) -> tuple[SourceRead, bool]:
    """Open what the read needs, and the attempt. Returns it, and whether slices are copied as columns."""
    plan, spec = run.dataset.source, run.spec
    assert plan is not None, "planned to be read"
    is_copied = run.dataset.route is not None and run.dataset.route.kind == "columns"
    source = run.source()
    workers = begin_workers(run.spark, plan.slices) if is_copied else None
    columns = run.dataset.lake_columns
    ensure_tables(run.spark, run.name, columns, spec.bigquery.partition_by, partial(check_tables_unaltered, run))
    crash_point("extract.before", run.name)
    if plan.overlaps_published and spec.write_disposition != "replace":
        # Rows read again are compared with the current state, which a run that published and died has left behind.
        update_curated(run)
    attempt = Attempt(run, columns)
    if observations := attempt.observations:
        source.recall(plan, observations)
    rejection = row_rejection(run.dataset.rules, run.dataset.read_columns, spec.mask)
    read = SourceRead(run, source, run.request, plan, attempt, _masking(run), rejection)
    if workers is not None:
        workers.result()
    return read, is_copied


def _masking(run: DatasetRun) -> Masking:
    masking = open_masking(run.spec.mask, run.spec.primary_key, run.context.plan.spec.mask_key)
    if masking.key is not None and run.dataset.mask_key_mark not in (None, mask_key_fingerprint(masking.key)):
        raise SourceMoved("the key of mask: hmac differs from the one that this run was planned with", fix="Plan again")
    return masking


def _sealed(read: SourceRead, counts: SliceCounts) -> Receipt:
    """Seal the attempt, unless it brought nothing new, and return the receipt."""
    run, attempt, source, spec = read.run, read.attempt, read.source, read.run.spec
    stats = attempt.stats
    known = sum(slice_stats.known_rows for slice_stats in stats.values())
    nothing_new = counts.read == 0 and (known > 0 or run.dataset.keys is not None)
    proof_seconds = attempt.proof_seconds if spec.reconcile == "fingerprint" else None
    sealed = Sealed(
        slices=dict(stats),
        columns=[column.name for column in attempt.columns],
        proof_seconds=None if proof_seconds is None else round(proof_seconds, 3),
    )
    if not nothing_new:
        rejected = [slice_id for slice_id, rows in counts.quarantined.items() if rows]
        published = attempt.origins(source.origin_column, rejected) if source.origin_column and rejected else {}
        head = attempt.seal(counts, position_after=source.position_after(read.plan, published))
        crash_point("extract.sealed", run.name)
        sealed = sealed.model_copy(update={"branch": head.branch, "snapshot_id": head.snapshot_id})
    return run.new_receipt(
        "extract",
        "empty" if nothing_new else "done",
        source_rows=source_rows(stats),
        read=counts.read,
        quarantined=sum(counts.quarantined.values()),
        known=known if read.plan.overlaps_published or known else None,
        deleted=(stats.get(TOMBSTONE_SLICE, SliceStats()).source_rows or 0) if spec.deletes == "sweep" else None,
        details=sealed,
    )
