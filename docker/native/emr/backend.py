"""moto's EMR Serverless, which answers that every job succeeded, made to run it.

Also what moto leaves out of StartJobRun: a client token it has seen gives the job it was first used for.
https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_StartJobRun.html
"""

from __future__ import annotations

from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from moto.core.utils import utcnow
from moto.emrserverless import models

from emr.submission import Submission

if TYPE_CHECKING:
    from emr.execution import Executions

_LIVE = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING")


def install(executions: Executions) -> None:
    """Put the running backend in the place of moto's own, for every account and region."""
    _tokens = Lock()

    class RunningBackend(models.EMRServerlessBackend):
        def start_job_run(self, application_id: str, client_token: str, *args: Any, **kwargs: Any) -> models.JobRun:
            # moto's server answers in threads: two requests with one token must still make one job.
            with _tokens:
                for job in self.job_runs.get(application_id, []):
                    if job.client_token == client_token:
                        return job
                job = super().start_job_run(application_id, client_token, *args, **kwargs)
                job.state = "SUBMITTED"
            Thread(target=_run, args=(executions, job), name=job.id, daemon=True).start()
            return job

        def cancel_job_run(self, application_id: str, job_run_id: str) -> tuple[str, str]:
            job = self.get_job_run(application_id, job_run_id)
            if job.state in _LIVE:
                job.state = "CANCELLED"
                job.updated_at = utcnow()
                executions.stop(job_run_id)
            return application_id, job_run_id

    # moto finds a service's URLs beside the module its backend says it is from.
    RunningBackend.__module__ = models.__name__
    models.emrserverless_backends.backend = RunningBackend


def _run(executions: Executions, job: models.JobRun) -> None:
    def started() -> bool:
        if job.state != "SUBMITTED":
            return False
        job.state = "RUNNING"
        return True

    try:
        submission = Submission.read(job.job_driver, job.configuration_overrides)
        code, details = executions.run(job.application_id, job.id, submission, started)
    except Exception as error:  # noqa: BLE001 - whatever it is becomes the job's state, which its submitter reads
        code, details = 1, f"{type(error).__name__}: {error}"
    if job.state != "CANCELLED":
        job.state = "SUCCESS" if code == 0 else "FAILED"
        job.state_details = details
    job.updated_at = utcnow()
