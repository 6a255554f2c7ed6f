"""Jobs of EMR Serverless that run already: what runner and trigger both ask of them.

API: https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_GetJobRun.html
"""

from __future__ import annotations

import logging
import time
from typing import Any

from botocore.config import Config

from connectors.errors import LakeferryError, ObjectNotFound, SettingError
from jobs.runtime.settings import Settings
from lakeferry_airflow.runners.aws_clients import aws_client
from lakeferry_airflow.runners.emr_errors import translated

_log = logging.getLogger(__name__)
ENDED = ("SUCCESS", "FAILED", "CANCELLED")
APPEARS_SECONDS = 60.0
"""How long EMR may say of a job that it does not know it. Its API promises no order of a start and a look."""
_PAUSE_SECONDS = 1.0
TIMEOUTS = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 3})


class EmrJobs:
    """Asks for jobs and stops them.

    A job's id is `APPLICATION/JOBRUN`: a job belongs to the application to which it was submitted, no matter what the
    settings name by the time it is asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._application = required_setting(settings, "emr_application_id")
        self.client = aws_client("emr-serverless", settings.emr_aws_conn_id, TIMEOUTS)

    def describe(self, job_id: str) -> dict[str, Any]:
        application, job_run = self.address(job_id)
        with translated(f"EMR Serverless job {job_id}"):
            return dict(self.client.get_job_run(applicationId=application, jobRunId=job_run)["jobRun"])

    def address(self, job_id: str) -> tuple[str, str]:
        """Application and job run. Tasks that an earlier version deferred know the job run alone."""
        application, _, job_run = job_id.rpartition("/")
        return application or self._application, job_run

    def state(self, job_id: str) -> tuple[str, str]:
        """The job's state and what EMR says of it."""
        job = self.describe(job_id)
        return job["state"], job.get("stateDetails", "")

    def appeared_state(self, job_id: str) -> str:
        """The job's state. A job that EMR does not know is looked for until it should have appeared.

        Raises:
            ObjectNotFound: EMR does not know the job: its application was deleted, which takes jobs that have ended.
        """
        until = time.monotonic() + APPEARS_SECONDS
        while True:
            try:
                return self.state(job_id)[0]
            except ObjectNotFound:
                if time.monotonic() >= until:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def stop(self, job_id: str, until: float | None = None) -> None:
        """Cancel the job unless it has ended.

        Args:
            until: when to give up a job that EMR does not know, by `time.monotonic`; None: once it should have
                appeared. A job that started a moment ago may be unknown to a look and to a cancel.
        """
        until = time.monotonic() + APPEARS_SECONDS if until is None else until
        while True:
            try:
                self._stop(job_id)
                return
            except ObjectNotFound:
                if time.monotonic() >= until:
                    return  # Its application was deleted, which takes jobs that have ended.
            time.sleep(_PAUSE_SECONDS)

    def _stop(self, job_id: str) -> None:
        try:
            if self.state(job_id)[0] in ENDED:
                return
        except ObjectNotFound:
            pass  # A cancel may know the job before a look does.
        except LakeferryError as error:
            _log.warning("Cancelling a job that cannot be seen now: %s", error)
        application, job_run = self.address(job_id)
        with translated(f"EMR Serverless job {job_id}"):
            self.client.cancel_job_run(applicationId=application, jobRunId=job_run)


def ends_at(job: dict[str, Any]) -> float | None:
    """When a job reaches its limit, in seconds since the epoch; a job without one says 0 or nothing."""
    minutes = job.get("executionTimeoutMinutes")
    return float(job["createdAt"].timestamp() + minutes * 60) if minutes else None


def ran_out(job: dict[str, Any]) -> bool:
    """Whether a cancelled job had its limit's time: EMR cancels it there by itself, and a person may before."""
    limit = ends_at(job)
    return limit is not None and float(job["updatedAt"].timestamp()) >= limit


def dashboard(application: str, job_run: str) -> str:
    """How a person gets the address of a job's Spark pages, which is good for an hour."""
    command = f"aws emr-serverless get-dashboard-for-job-run --application-id {application} --job-run-id {job_run}"
    return f"Spark's pages of this job: {command}"


def required_setting(settings: Settings, field: str) -> str:
    value = getattr(settings, field)
    if not value:
        variable = f"LAKEFERRY_{field.upper()}"
        described = type(settings).model_fields[field].description
        raise SettingError(
            f"setting {variable} is not set, and the runner emr_serverless needs it",
            where=variable,
            fix=f"Set it: {described}",
        )
    return str(value)
