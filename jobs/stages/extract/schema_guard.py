"""One batch, one schema: what is read while a table's columns change is not taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.base import Dataset, Source, SourcePlan


@contextmanager
def as_planned(source: Source, request: Dataset, plan: SourcePlan) -> Iterator[None]:
    """See, once what is read inside is read, that columns and primary key are still the planned ones; where the read
    failed, whether that is why. Nothing read may be noted as done before.

    Raises:
        SourceMoved: a planned column is gone, renamed or of another type, or the primary key is another.
    """
    try:
        yield
    except Exception:
        source.check_unchanged(request, plan)
        raise
    source.check_unchanged(request, plan)
