"""One batch has one schema: rows that are read while a table's columns change are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.base import ReadPlan, ReadRequest, Source


@contextmanager
def as_planned(source: Source, request: ReadRequest, plan: ReadPlan) -> Iterator[None]:
    """Check, after the block has read, that columns and primary key are still the planned ones. If the block failed,
    check whether that is the cause. Note nothing as done before this check.

    Raises:
        SourceMoved: a planned column is gone, renamed or of another type, or the primary key is another.
    """
    try:
        yield
    except Exception:
        source.check_unchanged(request, plan)
        raise
    source.check_unchanged(request, plan)
