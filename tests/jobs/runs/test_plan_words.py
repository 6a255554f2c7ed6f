"""A window of numbers ends at no clock, and below every number where nothing may be read yet."""

from __future__ import annotations

import pytest

from connectors.base import ReadPlan, Window
from jobs.runs.plan_words import nothing_new, reach

LOWEST = str(-(2**63))
OPEN = "nothing is read: a transaction is open since 2026-12-01 00:00:00 UTC, and may still commit a lower id"


def _plan(start: str | None, end: str | None, waiting: str | None = None) -> ReadPlan:
    return ReadPlan(columns=(), window=Window(start=start, end=end), waiting=waiting)


@pytest.mark.parametrize(
    ("plan", "why", "shown"),
    [
        (_plan(None, LOWEST, OPEN), OPEN, ("the beginning", "the beginning")),
        (_plan("7", "7", OPEN), OPEN, ("7", "7")),
        (_plan(None, LOWEST), "nothing new at the source", ("the beginning", "the beginning")),
        (_plan(None, "0"), "nothing new at the source", ("the beginning", "the beginning")),
        (_plan("7", "7"), "nothing new at the source from 7 on", ("7", "7")),
        (
            _plan(None, "2026-12-01 00:00:00"),
            "nothing new at the source before 2026-12-01 00:00:00, its clock less the lag",
            ("the beginning", "2026-12-01 00:00:00"),
        ),
        (_plan("2026-12-01", None), "nothing new at the source", ("2026-12-01", "now")),
    ],
)
def test_an_empty_window_in_words(plan: ReadPlan, why: str, shown: tuple[str, str]) -> None:
    assert nothing_new(plan) == why
    assert plan.window is not None
    assert reach(plan.window, is_empty=True) == shown


def test_a_window_of_numbers_with_rows_names_its_end() -> None:
    assert reach(Window(start=None, end="8"), is_empty=False) == ("the beginning", "8")
