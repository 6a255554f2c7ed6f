"""Describes a plan's windows in words."""

from __future__ import annotations

from connectors.base import ReadPlan, Window

_BEGINNING = "the beginning"


def reach(window: Window, *, is_empty: bool) -> tuple[str, str]:
    """Say where a window starts and ends. A window of numbers without rows and without a start ends below every number
    of the column's type, at a number that no row has."""
    start, end = window.start or _BEGINNING, window.end or "now"
    return start, _BEGINNING if is_empty and window.start is None and _is_number(window.end) else end


def nothing_new(plan: ReadPlan) -> str:
    """Say why a plan reads nothing. Numbers have no clock and no lag: they end where a transaction may still write."""
    window = plan.window
    if window is not None and _is_number(window.end):
        return plan.waiting or "nothing new at the source" + (f" from {window.start} on" if window.start else "")
    before = f" before {window.end}, its clock less the lag" if window and window.end else ""
    return f"nothing new at the source{before}" + (f" ({plan.waiting})" if plan.waiting else "")


def _is_number(bound: str | None) -> bool:
    return bound is not None and bound.removeprefix("-").isdigit()
