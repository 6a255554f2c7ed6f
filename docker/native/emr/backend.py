"""moto's EMR Serverless, which answers that every job succeeded, made to run it.

Also what moto leaves out of StartJobRun, in this order:

- The limits on its values: `emr.limits`.
- A client token. One that it knows, with the parameters it knows it with, gives the job it was first used for; with
  other parameters it is refused. "StartJobRun" in the "Amazon EMR Serverless API Reference" says of the token: "Its
  value must be unique for each request", 1 to 64 of the characters A-Z a-z 0-9 . _ -. ConflictException (409) is listed
  for the operations that begin something under a token, and for no other operation.
- An application that is stopped. It starts when a job comes, or, without `autoStartConfiguration`, refuses the job:
  "Application states" in the User Guide says of STARTED "The application only accepts jobs when it's in this state" and
  names no error; the API Reference has ConflictException for a "conflict in the current state of the resource".

https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_StartJobRun.html
"""

from __future__ import annotations

from copy import deepcopy
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import utcnow
from moto.emrserverless import models

from emr.limits import check_value_ranges
from emr.submission import Submission

if TYPE_CHECKING:
    from emr.execution import Executions

_LIVE = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING")
_RESTING = ("CREATED", "STOPPED")


class ConflictException(JsonRESTError):
    """A token that is known with other parameters, or an application that takes no job in its state."""

    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ConflictException", message)


def install(executions: Executions) -> None:
    """Put the running backend in the place of moto's own, for every account and region."""
    starting = Lock()

    class RunningBackend(models.EMRServerlessBackend):
        def __init__(self, region_name: str, account_id: str) -> None:
            super().__init__(region_name, account_id)
            self.known_tokens: dict[str, tuple[object, models.JobRun]] = {}
            """The parameters a token was first used with, and the job it started."""

        def start_job_run(self, application_id: str, client_token: str, **parameters: Any) -> models.JobRun:
            request = {"application_id": application_id, **deepcopy(parameters)}
            check_value_ranges("StartJobRun", {"client_token": client_token, **request})
            # moto's server answers in threads: two requests with one token must still make one job.
            with starting:
                if client_token in self.known_tokens:
                    first_request, job = self.known_tokens[client_token]
                    if request != first_request:
                        raise ConflictException(f"Client token {client_token} was used with other parameters.")
                    return job
                self._wake(application_id)
                job = super().start_job_run(application_id, client_token, **parameters)
                job.state = "SUBMITTED"
                # moto's own is the midnight before: limits count from here.
                job.created_at = job.updated_at = utcnow()
                self.known_tokens[client_token] = (request, job)
            Thread(target=_run, args=(executions, job), name=job.id, daemon=True).start()
            return job

        def _wake(self, application_id: str) -> None:
            application = self.applications.get(application_id)
            if application is None or application.state not in _RESTING:
                return
            if not application.auto_start_configuration.get("enabled", True):
                raise ConflictException(
                    f"Application {application_id} is {application.state} and does not start itself."
                )
            application.state = "STARTED"

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
    except Exception as error:  # noqa: BLE001 - every error becomes the job's state, which its submitter reads
        code, details = 1, f"{type(error).__name__}: {error}"
    if job.state != "CANCELLED":
        job.state = "SUCCESS" if code == 0 else "FAILED"
        job.state_details = details
    job.updated_at = utcnow()
