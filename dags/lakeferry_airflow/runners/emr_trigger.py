"""Waits for an EMR Serverless job in Airflow's triggerer, so that no worker slot is held by it.

The provider's own trigger fails its task when the job fails; here the task is resumed either way, as
only the receipts say which dataset failed. boto3 in a thread needs no second AWS client library.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from connectors.errors import ServiceUnavailable
from jobs.settings import load_settings
from lakeferry_airflow.runners.emr_serverless import ENDED, EmrServerlessRunner, dashboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PAUSE_SECONDS = 10.0


class JobRunTrigger(BaseTrigger):
    """Fires once the job has ended, however it ended."""

    def __init__(self, application_id: str, job_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.application_id = application_id
        self.job_id = job_id
        # The job's application, which the settings may not name any more.
        self._job = f"{application_id}/{job_id}"
        self._made: EmrServerlessRunner | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        where = f"{JobRunTrigger.__module__}.{JobRunTrigger.__qualname__}"
        return where, {"application_id": self.application_id, "job_id": self.job_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        self.log.info("%s", dashboard(self.application_id, self.job_id))
        while not await asyncio.to_thread(self._ended):
            await asyncio.sleep(_PAUSE_SECONDS)
        yield TriggerEvent({"job_id": self._job})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """End the job when its deferred task is failed, cleared or marked by a person."""
        await asyncio.to_thread(self._runner().stop, self._job)

    def _ended(self) -> bool:
        try:
            return self._runner().state(self._job)[0] in ENDED
        except ServiceUnavailable as error:
            self.log.warning("%s", error)
            return False

    def _runner(self) -> EmrServerlessRunner:
        # Made once: with an Airflow connection each has to look it up.
        if self._made is None:
            self._made = EmrServerlessRunner(load_settings())
        return self._made
