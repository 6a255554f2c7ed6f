"""What a run was asked for, and which invocation of the run asked: the two things that decide whether a plan that is
there is the plan that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from connectors.base import Window


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunRequest(_Frozen):
    """`start` and `end` bound an explicit window, see `connectors.base.Window`; both None: from the published
    position. `datasets` are names; empty: all of the pipeline."""

    start: str | None = None
    end: str | None = None
    datasets: tuple[str, ...] = ()

    @classmethod
    def of(cls, window: Window | None, only: Sequence[str]) -> RunRequest:
        """The request for a window (None: none) and for some of the datasets (empty: all)."""
        start, end = (window.start, window.end) if window else (None, None)
        return cls(start=start, end=end, datasets=tuple(sorted(set(only))))

    @property
    def has_window(self) -> bool:
        return self.start is not None or self.end is not None

    def is_same_as(self, other: RunRequest) -> bool:
        """Whether both ask for the same: one instant may be written in several ways."""
        return self._compared == other._compared

    @property
    def _compared(self) -> tuple[object, ...]:
        return _instant(self.start), _instant(self.end), frozenset(self.datasets)

    def __str__(self) -> str:
        window = f"the window from {self.start or 'the beginning'} to {self.end or 'now'}" if self.has_window else ""
        datasets = f"the datasets {', '.join(self.datasets)}" if self.datasets else "all datasets"
        return f"{datasets} by {window}" if window else f"{datasets} from the published position"


class Invocation(_Frozen):
    """Which time a run is carried out. Airflow counts how often the run was cleared, and says when it started. A run
    that was deleted and created again under its id starts the count again. None: not known, as on the command line.

    Source: Airflow, `airflow/models/dagrun.py` and `airflow/models/taskinstance.py` (`clear_task_instances`).
    """

    clear_number: int | None = None
    started_at: str | None = None

    def is_other_than(self, earlier: Invocation) -> bool:
        """Whether a person (or Airflow for one) asked once more. A retry of a task is the same invocation."""
        return any(mine != theirs for mine, theirs in self._known_pairs(earlier))

    def is_retry_of(self, earlier: Invocation) -> bool:
        """Whether it is known to be the same invocation. On the command line a person asks each time."""
        pairs = self._known_pairs(earlier)
        return bool(pairs) and all(mine == theirs for mine, theirs in pairs)

    def _known_pairs(self, earlier: Invocation) -> list[tuple[object, object]]:
        pairs = ((self.clear_number, earlier.clear_number), (self.started_at, earlier.started_at))
        return [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]


def _instant(text: str | None) -> str | datetime | None:
    """A bound as an instant, where it names one in every time zone. A number stays as it is written. A time without an
    offset stays without one, as a cursor of days reads it in its own time zone: a day is its midnight."""
    if text is None or text.lstrip("-").isdigit():
        return text
    try:
        read = datetime.fromisoformat(text)
        return read if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return text
