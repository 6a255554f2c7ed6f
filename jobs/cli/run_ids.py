"""Run ids in tables: the shortest beginning that still selects the run, and the run that a beginning selects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectors.errors import UsageError

_LEAST = 24
"""Characters that are always shown: `cli__` and Airflow's prefixes up to the second or minute of the run's start."""
_CUT = "…"
_CHOICES = 10


def short_run_ids(run_ids: Iterable[str]) -> dict[str, str]:
    """The text that a table shows for each of a pipeline's runs: a beginning that no other run id has, and `…`.

    An id that would lose no more than the `…` takes is shown whole. The text is what `chosen_run_id` accepts.
    """
    ordered = sorted(set(run_ids))
    shown = {}
    for place, run_id in enumerate(ordered):
        neighbours = ordered[max(place - 1, 0) : place] + ordered[place + 1 : place + 2]
        length = max([_LEAST, *(_shared(run_id, other) + 1 for other in neighbours)])
        shown[run_id] = run_id if length + len(_CUT) >= len(run_id) else run_id[:length] + _CUT
    return shown


def chosen_run_id(text: str, newest_first: Sequence[str], pipeline: str, what: str = "a receipt") -> str:
    """The run that a whole run id or the beginning of one selects. A whole one goes first.

    Args:
        newest_first: the run ids of the pipeline.
        what: what the runs have left, for the error.

    Raises:
        UsageError: no run id begins with it, or more than one does.
    """
    if text in newest_first:
        return text
    begins = [run_id for run_id in newest_first if run_id.startswith(text.removesuffix(_CUT))]
    if len(begins) == 1:
        return begins[0]
    if not begins:
        raise UsageError(f"no run {text!r} has left {what}", pipeline=pipeline, choices=[*newest_first][:_CHOICES])
    raise UsageError(
        f"{len(begins)} run ids begin with {text!r}",
        pipeline=pipeline,
        choices=begins[:_CHOICES],
        fix="Write more of the run id",
    )


def is_shortened(text: str) -> bool:
    """Whether the text is one that `short_run_ids` cut, not the name of a run."""
    return text.endswith(_CUT)


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    for length, (first, second) in enumerate(zip(one, other, strict=False)):
        if first != second:
            return length
    return min(len(one), len(other))
