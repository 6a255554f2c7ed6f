"""What `lakeferry receipts` shows: what each stage counted, of which of the pipeline's runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from jobs.cli.run_ids import chosen_run_id, short_run_ids
from jobs.lake.documents import Documents
from jobs.runs.receipts import Receipt, Receipts

_COUNTS = ("source", "read", "published", "quarantined", "deleted", "loaded")


def shown_receipts(
    documents: Documents, pipeline: str, run_id: str | None = None, *, every: bool = False
) -> tuple[str, Table]:
    """A line that says which runs are shown, and the table of their receipts.

    Args:
        run_id: the run's id or a beginning that no other run id of the pipeline has; None: the newest run.
        every: all runs. Only the receipts of the runs that are shown are read.

    Raises:
        UsageError: no run begins with `run_id`, or more than one does.
    """
    receipts = Receipts(documents)
    newest_first = receipts.runs(pipeline)
    if run_id is not None:
        chosen = chosen_run_id(run_id, newest_first, pipeline)
        return f"Run {chosen}", _table(receipts.of_run(pipeline, chosen), newest_first)
    if not newest_first:
        return f"No run of {pipeline} has left a receipt", _table([], [])
    if every or len(newest_first) == 1:
        heading = f"All {len(newest_first)} runs" if len(newest_first) > 1 else f"The only run, {newest_first[0]}"
        return heading, _table(receipts.of_pipeline(pipeline), newest_first)
    heading = f"The newest of {len(newest_first)} runs, {newest_first[0]}; another: --run-id RUN, every one: --all"
    return heading, _table(receipts.of_run(pipeline, newest_first[0]), newest_first)


def receipts_of_run(documents: Documents, pipeline: str, run_id: str) -> Table:
    """The table of one run's receipts, also where it has left none."""
    receipts = Receipts(documents)
    return _table(receipts.of_run(pipeline, run_id), receipts.runs(pipeline))


def _table(receipts: Sequence[Receipt], run_ids: Sequence[str]) -> Table:
    shown = short_run_ids(run_ids)
    table = Table("run", "generation", "dataset", "stage", "verdict", *_COUNTS, "seconds", "proof", "error")
    for receipt in receipts:
        proof = receipt.details.proof_seconds
        counts = (receipt.source_rows, receipt.read, receipt.published, receipt.quarantined, receipt.deleted)
        table.add_row(
            escape(shown.get(receipt.run_id, receipt.run_id)),
            str(receipt.generation),
            receipt.dataset,
            receipt.stage,
            receipt.verdict,
            *("" if count is None else f"{count:,}" for count in (*counts, receipt.loaded)),
            f"{receipt.seconds:.1f}",
            "" if proof is None else f"{proof:.1f}",
            escape(receipt.error or ""),
        )
    return table
