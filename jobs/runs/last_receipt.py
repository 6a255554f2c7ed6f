"""Which receipt of a dataset is the last of its run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.runs.receipts import Receipt


def is_last(receipts: Iterable[Receipt], last_stage: str) -> bool:
    """Whether a dataset gets no further receipt of its run.

    Args:
        receipts: those of the dataset in its newest generation.
        last_stage: the stage behind which none follows.

    If the lake or the source moved, the stage plans the next generation and goes on, regardless of what the later
    stages have left. Any other failure stands.
    """
    known = list(receipts)
    failed = [receipt for receipt in known if receipt.verdict == "failed"]
    if failed:
        return any(receipt.recovers_by != "plan_again" for receipt in failed)
    return any(receipt.stage == last_stage or receipt.verdict == "superseded" for receipt in known)
