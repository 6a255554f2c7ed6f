"""Which receipt of a dataset is the last of its run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.receipts import Receipt

_RETRIED_EXIT_CODE = 3
"""Of a failed receipt that a stage answers with a plan of the next generation."""


def is_last(receipts: Iterable[Receipt], last_stage: str) -> bool:
    """Whether a dataset gets no further receipt of its run.

    Args:
        receipts: those of the dataset in its newest generation.
        last_stage: the stage behind which none follows.

    A failure with exit code 3 is not the last: the stage plans the next generation and goes on.
    """
    for receipt in receipts:
        if receipt.verdict == "failed":
            if receipt.exit_code != _RETRIED_EXIT_CODE:
                return True
        elif receipt.stage == last_stage or receipt.verdict == "superseded":
            return True
    return False
