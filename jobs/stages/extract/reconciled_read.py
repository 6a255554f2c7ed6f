"""Reads a dataset's slices until each of them reconciles with the source, then sets its bad rows aside.

The read passes through named states:

    reading → comparing → sweeping → comparing → setting_aside → proving → reconciled

A slice that differs because rows moved while it was read is read again: `comparing` goes back to `reading`, as often as
the spec allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal, Protocol

from connectors.base import ReadPlan
from connectors.errors import ReconciliationFailed
from jobs.runtime.events import event
from jobs.runtime.fault_points import crash_point
from jobs.stages.batch.reconciliation import SWEPT, SliceCounts, mismatches
from jobs.stages.extract.first_differences import first_differences
from jobs.stages.extract.row_rules_in_place import judge
from jobs.stages.extract.source_read import SourceRead
from jobs.stages.extract.sweep import sweep

State = Literal["reading", "comparing", "sweeping", "setting_aside", "proving", "reconciled"]
_MOST_SLICES = 10
"""How many slices that do not reconcile a message names."""


class RouteIntoLake(Protocol):
    """Brings slices onto the attempt's branch."""

    def bring(self, missing: ReadPlan) -> Iterator[None]:
        """Bring the slices of a plan, some at a time, and record what was observed of each; every step is a commit."""


class ReconciledRead:
    """One read of a dataset.

    Args:
        judges_in_place: whether the route brings rows that are not yet judged by the row rules.
    """

    def __init__(self, read: SourceRead, route: RouteIntoLake, *, judges_in_place: bool) -> None:
        self._read = read
        self._run = read.run
        self._attempt = read.attempt
        self._route = route
        self._judges_in_place = judges_in_place
        self._planned = [slice_.id for slice_ in read.plan.slices]
        self._reads = 0
        self._counts = SliceCounts()
        self._mismatches: dict[int, str] = {}
        """Why slices do not reconcile, by slice."""
        self._swept = False

    def run(self) -> SliceCounts:
        """Read, compare and set aside. Returns the counts of the reconciled batch.

        Raises:
            ReconciliationFailed: a slice still differs after all reads that the spec allows.
            CheckFailed, SourceMoved: see `sweep`.
        """
        state: State = "reading"
        while state != "reconciled":
            state = self._after(state)
        return self._counts

    def _after(self, state: State) -> State:
        if state == "reading":
            return self._bring_missing()
        if state == "comparing":
            return self._compare()
        if state == "sweeping":
            sweep(self._read)
            crash_point("extract.swept", self._run.name)
            self._swept = True
            return "comparing"
        if state == "setting_aside":
            if self._attempt.set_aside(self._counts.rejected):
                self._counts = self._attempt.counts()
            return "proving"
        return self._prove()

    def _bring_missing(self) -> State:
        """Bring the slices that are not there, or differ, and count those that the read did not count."""
        attempt, plan = self._attempt, self._read.plan
        self._reads += 1
        again = [n for n in attempt.done_slices if n in self._mismatches or n not in attempt.stats]
        if again:
            # The result of a sweep depends on the rows that are there.
            again += [n for n in attempt.done_slices if n in SWEPT and n not in again]
            attempt.take_back(again)
        self._swept = self._run.dataset.keys is None or any(n in SWEPT for n in attempt.done_slices)
        done = set(attempt.done_slices)
        missing = plan.only([n for n in self._planned if n not in done])
        for _committed in self._route.bring(missing) if missing.slices else ():
            slices = f"{len(attempt.done_slices)}/{len(self._planned)}"
            event("appended", stage="extract", dataset=self._run.name, slices=slices)
        self._judge()
        self._count_uncounted()
        return "comparing"

    def _judge(self) -> None:
        unjudged = self._read.rejection if self._judges_in_place else None
        unfit = any(stats.unfit_rows for stats in self._attempt.stats.values())
        if (unjudged is not None or unfit) and not self._attempt.set_aside_done:
            judge(self._attempt, unjudged, self._run.spec.primary_key, masked=bool(self._run.spec.mask))

    def _count_uncounted(self) -> None:
        plan = self._read.plan
        uncounted = [n for n in self._planned if self._attempt.stats[n].source_rows is None]
        if not uncounted or self._run.spec.reconcile == "off":
            return
        for slice_id, rows in self._read.source.count(self._read.request, plan.only(uncounted)).items():
            self._attempt.record(slice_id, source_rows=rows)
        self._attempt.observe(self._read.source.observations(plan))

    def _compare(self) -> State:
        self._counts = self._attempt.counts()
        if self._attempt.set_aside_done:
            return "proving"
        # Rejected rows are still on the branch; quarantine may hold a dead attempt's copy of them.
        self._counts = replace(self._counts, quarantined={})
        stats = self._attempt.stats
        self._mismatches = mismatches(self._planned, stats, self._counts)
        if not self._mismatches and not self._swept:
            return "sweeping"
        self._mismatches = self._mismatches or mismatches(self._attempt.done_slices, stats, self._counts)
        if not self._mismatches:
            return "setting_aside"
        event("warning", stage="extract", dataset=self._run.name, warning=next(iter(self._mismatches.values())))
        if self._reads < self._run.spec.reads:
            return "reading"
        raise self._failure()

    def _prove(self) -> State:
        self._mismatches = mismatches({*self._planned, *self._attempt.done_slices}, self._attempt.stats, self._counts)
        if self._mismatches:
            raise self._failure()
        return "reconciled"

    def _failure(self) -> ReconciliationFailed:
        return ReconciliationFailed(
            f"read is not published + quarantined: {_described(self._read, self._mismatches)}",
            fix="Rows may be moving faster than they can be read: raise lag_seconds or reads, or plan again",
        )


def _described(read: SourceRead, mismatches: Mapping[int, str]) -> str:
    """Describe the first slice that does not reconcile, down to its rows and columns, and name the other ones."""
    # The result of a sweep depends on the rows that are there: the plan's slices come first.
    first, *others = sorted(mismatches, key=lambda slice_id: (slice_id in SWEPT, slice_id))
    rows = first_differences(read, first) if first not in SWEPT else None
    text = mismatches[first] + (f" ({rows})" if rows else "")
    if others:
        named = ", ".join(map(str, others[:_MOST_SLICES]))
        more = f" and {len(others) - _MOST_SLICES} more" if len(others) > _MOST_SLICES else ""
        text += f"; other slices do not reconcile either: {named}{more}"
    return text
