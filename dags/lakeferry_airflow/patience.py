"""How long a task waits in the triggerer before it looks by itself.

Airflow shows a task nothing of its triggerer: heartbeats are in the metadata database, which tasks do not reach
(Airflow 3, Task Execution API). But its scheduler resumes a deferred task whose timeout has passed, whether or not a
triggerer runs (`check_trigger_timeouts` in `airflow/jobs/scheduler_job_runner.py`). So a task defers for a part of its
limit only: where no triggerer runs it is late, by ten minutes or as long as its run took, and not stuck.

The waits double: a run of a day costs a task seven looks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs.runs.receipts import Receipt

SHORTEST = timedelta(minutes=10)
_SLOWEST_LOOK = timedelta(minutes=2)
"""A triggerer that runs has resumed a task by then, also where its machine is busy."""


def next_wait(limit: timedelta, run_started: datetime | None) -> timedelta | None:
    """How long to wait now, so that all waits together end at the limit, which begins with the run; None: it has
    passed."""
    elapsed = datetime.now(UTC) - run_started if run_started else timedelta(0)
    remaining = limit - elapsed
    if remaining <= timedelta(0):
        return None
    return min(max(elapsed, SHORTEST), remaining)


def newest_end(receipts: Iterable[Receipt]) -> str | None:
    """When the newest of the receipts was left, ISO 8601."""
    return max((receipt.finished_at for receipt in receipts), key=datetime.fromisoformat, default=None)


def lack_of_triggerer(
    last_receipt: str | None, watch_seconds: float, setting: str = "LAKEFERRY_TRIGGERER=false"
) -> str | None:
    """What to say where a task's wait ran out although its last receipt had been there: a triggerer had fired.

    Args:
        setting: the one that has the task wait for no triggerer.
    """
    if last_receipt is None:
        return None
    since = datetime.now(UTC) - datetime.fromisoformat(last_receipt)
    if since < max(_SLOWEST_LOOK, 3 * timedelta(seconds=watch_seconds)):
        return None
    return (
        f"The last receipt has been there since {last_receipt}, and no triggerer resumed this task. See that one runs "
        f"(airflow jobs check --job-type TriggererJob), or set {setting}"
    )
