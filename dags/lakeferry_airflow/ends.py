"""Tasks that Airflow ends: at a time limit, for a person, or because their worker goes away.

Airflow sends SIGTERM, and its task runner then calls `on_kill` (`_on_term` in `sdk/execution_time/task_runner.py`):

- where a heartbeat is answered with 404, 409 or 410 (`supervisor.py`): a person failed, cleared or marked the task, the
  run passed its limit, or the scheduler gave the task up as lost, and another try may work by now;
- where the API server does not answer heartbeats;
- since 3.3 also where the worker is shut down: the supervisor passes SIGTERM on. Before, the supervisor dies alone.

SIGTERM says nothing of the reason; the state that Airflow keeps for the task does. In all but the last case SIGKILL
follows after five seconds, in which the supervisor answers questions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout

from connectors.errors import LakeferryError
from jobs.runs.time_limits import TimeLimit

_log = logging.getLogger(__name__)
IN_WORK = ("running", "up_for_retry", "scheduled", "queued", "deferred", "up_for_reschedule")
"""States of a task whose work is still wanted: by this try, or by one that comes or has come after it."""


class Killed(AirflowException):
    """Airflow ended the task; its retries are Airflow's. `job_goes_on`: its job is not to be stopped."""

    def __init__(self, message: str, job_goes_on: bool) -> None:
        super().__init__(message)
        self.job_goes_on = job_goes_on


class EndRequest:
    """Whether Airflow asked the task to end.

    `on_kill` is a signal handler: the task may be in the middle of a question to its supervisor, or of a submission. So
    it sets a flag and nothing else, and the task looks at the flag where it can act on it.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        self._asked = True

    def obey(self, message: str) -> None:
        """Raise `Killed` with this message where the task was asked to end and has no job yet."""
        if self._taken():
            raise Killed(message, job_goes_on=True)

    def look(self, ti: Any) -> None:
        """Raise `Killed` where the task was asked to end. `ti` is the task instance of its context."""
        if not self._taken():
            return
        state = self._wanted(ti)
        raise Killed(
            f"Airflow ended this try and not its work (state of the task: {state or 'unknown'}): "
            "the job goes on, and the next try, or this task once it is cleared, waits for it",
            job_goes_on=True,
        )

    def look_before_deferral(self, ti: Any) -> None:
        """Raise `Killed` where the task's work is not wanted any more, whether the task was asked to end or not.

        SIGTERM follows a heartbeat, of which several seconds may pass between two. Airflow refuses to defer a task that
        a person ended (409, `ti_update_state` in `execution_api/routes/task_instances.py`), so that no trigger would
        see its job. A worker that goes away hinders no deferral. Cost: one question to the API server.
        """
        self._taken()
        self._wanted(ti)

    def _wanted(self, ti: Any) -> str | None:
        """The state of a task whose work is wanted; None where Airflow does not answer. Raises `Killed` otherwise."""
        state = state_of(ti, ti.get_task_states)
        if state is None or state in IN_WORK:
            return state
        raise Killed(f"the task was set to {state} while it ran: its job is stopped", job_goes_on=False)

    def _taken(self) -> bool:
        # `airflow dags test` has one process for all tries: a request is for one of them.
        asked, self._asked = self._asked, False
        return asked


def state_of(ti: Any, states: Callable[..., Mapping[str, Any]]) -> str | None:
    """The state that Airflow keeps for a task; "removed" where it knows none, None where it does not answer.

    Args:
        ti: has `dag_id`, `run_id` and `task_id`.
        states: `get_task_states` of a task instance.
    """
    try:
        of_run = states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id]).get(ti.run_id, {})
    except Exception as error:  # noqa: BLE001 - a missing answer does not stop the job
        _log.warning("Airflow does not say what state task %s has: %s", ti.task_id, error)
        return None
    return str(of_run.get(ti.task_id) or "removed")


@contextmanager
def within(limit: TimeLimit, what: str, stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn Airflow's timeout into an error that names the limit, after `stop`. Airflow tries again after either.

    `AirflowTaskTimeout` is a BaseException, raised by SIGALRM wherever the task is.
    """
    try:
        yield
    except AirflowTaskTimeout:
        message = limit.passed(what)
        try:
            stop()
        except LakeferryError as error:
            message += f". Its job could not be stopped and may run until its own limit: {error}"
        raise AirflowException(message) from None
