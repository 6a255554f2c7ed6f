"""Looks at a running job of EMR Serverless. A look that fails says nothing of the job, which goes on.

GetJobRun may be throttled, answer an error 5xx, or refuse for credentials that expired or a right that was withdrawn
for a while ("Common Errors" in the API Reference of EMR Serverless). A job that was seen is waited for until its limit.
One that was never seen is given up after a quarter of an hour: Airflow's role may lack the right to look. As long is
the wait for one that was seen last near its limit or behind it, as it is being cancelled then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from connectors.errors import LakeferryError, ObjectNotFound, ServiceUnavailable
from lakeferry_airflow.runners.emr_jobs import APPEARS_SECONDS, ends_at

UNSEEN_SECONDS = 900.0


class Sight:
    """What can be seen of one job.

    Args:
        job_id: for the warnings.
        warn: takes a warning; the same one is given once.
    """

    def __init__(self, job_id: str, warn: Callable[[str], None]) -> None:
        self._job_id = job_id
        self._warn = warn
        self._began = time.monotonic()
        self._limit = time.time() + UNSEEN_SECONDS
        self._problem: str | None = None

    def look(self, describe: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """The job as `describe` finds it; None where it cannot be seen now.

        Raises:
            ObjectNotFound: EMR does not know the job, and it should have appeared.
            ServiceUnavailable: the job was not seen for too long.
        """
        try:
            job = describe()
        except LakeferryError as error:
            self.missed(error)
            return None
        if self._problem is not None:
            self._warn(f"EMR Serverless job {self._job_id} can be seen again")
            self._problem = None
        limit = ends_at(job)
        self._limit = math.inf if limit is None else max(limit, time.time() + UNSEEN_SECONDS)
        return job

    def missed(self, error: LakeferryError) -> None:
        """Take note of a look that failed.

        Raises:
            ObjectNotFound, ServiceUnavailable: see `look`.
        """
        if isinstance(error, ObjectNotFound) and time.monotonic() >= self._began + APPEARS_SECONDS:
            raise error
        if time.time() >= self._limit:
            raise ServiceUnavailable(
                f"EMR Serverless job {self._job_id} cannot be seen, and may run: {error.problem}", fix=error.fix
            )
        if str(error) != self._problem:
            self._problem = str(error)
            self._warn(f"EMR Serverless job {self._job_id} cannot be seen now, and goes on: {error}")
