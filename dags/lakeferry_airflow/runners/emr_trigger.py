"""Waits for an EMR Serverless job in Airflow's triggerer, so that no worker slot is held by it.

The provider's own trigger fails its task when the job fails; here the task is resumed either way, as
only the receipts say which dataset failed. boto3 in a thread needs no second AWS client library.

With an Airflow connection the client asks Airflow for it, over the channel of the triggerer's event loop. Airflow 3.2
reads the answer in that loop alone (`TriggerCommsDecoder.send` in airflow/jobs/triggerer_job_runner.py), which a thread
of asyncio's own does not know: an answer that is asked for there is never read, and no later one fits its question. So
what asks Airflow goes through asgiref, and threads of asyncio's own ask AWS alone.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from connectors.errors import LakeferryError
from jobs.runtime.settings import load_settings
from lakeferry_airflow.ends import IN_WORK, state_of
from lakeferry_airflow.runners.emr_jobs import ENDED, EmrJobs, dashboard, ends_at
from lakeferry_airflow.runners.emr_sight import Sight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PAUSE_SECONDS = 10.0
_CLOCKS_SECONDS = 60.0
"""How far the clock of the triggerer may be behind that of the scheduler, which ends a wait."""


class JobRunTrigger(BaseTrigger):
    """Fires once the job has ended, however it ended, or reached its limit.

    Args:
        ends_at: when it reaches the limit, in seconds since the epoch; the task that is resumed then stops the job.
            None where the task could not see the job: the first look finds the limit.
        looks_at: when Airflow resumes the task in any case, in seconds since the epoch. It cancels the trigger then,
            as it does for a person, and the job goes on: the task looks at it.
    """

    def __init__(
        self, application_id: str, job_id: str, ends_at: float | None = None, looks_at: float | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.application_id = application_id
        self.job_id = job_id
        self.ends_at = ends_at
        self.looks_at = looks_at
        # The job's application, which the settings may not name any more.
        self._job = f"{application_id}/{job_id}"
        self._jobs: EmrJobs | None = None
        self._sight: Sight | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        where = f"{JobRunTrigger.__module__}.{JobRunTrigger.__qualname__}"
        return where, {
            "application_id": self.application_id,
            "job_id": self.job_id,
            "ends_at": self.ends_at,
            "looks_at": self.looks_at,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        self.log.info("%s", dashboard(self.application_id, self.job_id))
        try:
            while not (self._is_over_limit() or await self._ended()):
                await asyncio.sleep(_PAUSE_SECONDS)
        except asyncio.CancelledError:
            # Airflow before 3.3 has no `on_kill` and cancels for a person as it does for its own shutdown.
            if not hasattr(BaseTrigger, "on_kill"):
                await self.on_kill()
            raise
        yield TriggerEvent({"job_id": self._job})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """End the job where its deferred task was failed, cleared or marked by a person, or its run is over.

        A task that is still deferred goes on in another triggerer: this one shuts down, or lost the trigger to it. One
        whose wait is over looks at its job and adopts it, also if a person cleared it at that moment.
        """
        if await sync_to_async(self._is_wanted)():
            self.log.info("EMR Serverless job %s goes on: its task looks at it, or waits for it elsewhere", self._job)
            return
        try:
            jobs = await self._open_jobs()
            await asyncio.to_thread(jobs.stop, self._job)
        except LakeferryError as error:
            self.log.warning("EMR Serverless job %s could not be cancelled; cancel it by hand: %s", self._job, error)

    def _is_wanted(self) -> bool:
        task = self.task_instance
        if task is None:
            return False
        state = state_of(task, RuntimeTaskInstance.get_task_states)
        if state in ("deferred", None):
            return True
        return self.looks_at is not None and time.time() >= self.looks_at - _CLOCKS_SECONDS and state in IN_WORK

    def _is_over_limit(self) -> bool:
        return self.ends_at is not None and time.time() >= self.ends_at

    async def _ended(self) -> bool:
        """Whether the job is over, or cannot be waited for here; the task that is resumed finds out which."""
        if self._sight is None:
            self._sight = Sight(self._job, lambda text: self.log.warning("%s", text))
        try:
            try:
                jobs = await self._open_jobs()
            except LakeferryError as error:
                self._sight.missed(error)
                return False
            job = await asyncio.to_thread(self._sight.look, lambda: jobs.describe(self._job))
        except LakeferryError as error:
            self.log.warning("%s", error)
            return True
        if job is None:
            return False
        if self.ends_at is None:
            # The task could not see the job when it deferred.
            self.ends_at = ends_at(job)
        return job["state"] in ENDED

    async def _open_jobs(self) -> EmrJobs:
        # Once: with an Airflow connection each has to look it up.
        if self._jobs is None:
            self._jobs = await sync_to_async(lambda: EmrJobs(load_settings()))()
        return self._jobs
