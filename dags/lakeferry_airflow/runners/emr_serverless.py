"""Stages as jobs of EMR Serverless, from the artifacts of `make package`.

A job gets settings and nothing secret: it looks its connections up in Secrets Manager, as its role.
API: https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_StartJobRun.html
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shlex
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from connectors.credentials_in_text import without_credentials
from connectors.errors import LakeferryError, ObjectNotFound, RunnerFailed, ServiceUnavailable
from jobs.lake.documents import open_documents
from jobs.launch.commands import LAUNCH_CONFS
from jobs.launch.quoted_output import last_lines
from jobs.runs.receipts import SPARK_STAGES
from jobs.runtime.driver_end import driver_end
from jobs.runtime.settings import Settings
from lakeferry_airflow.runners import Ended, Look, PassLine, Work
from lakeferry_airflow.runners.aws_clients import aws_client
from lakeferry_airflow.runners.emr_errors import lakeferry_error, refuses_request, starts_no_job, translated
from lakeferry_airflow.runners.emr_jobs import (
    APPEARS_SECONDS,
    ENDED,
    TIMEOUTS,
    EmrJobs,
    dashboard,
    ends_at,
    ran_out,
    required_setting,
)
from lakeferry_airflow.runners.emr_output import DriverOutput
from lakeferry_airflow.runners.emr_sight import Sight
from lakeferry_airflow.runners.emr_submissions import Answer, Submission, SubmissionLog

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.triggers.base import BaseTrigger

    from jobs.runs.receipts import Stage

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 15.0
_LOOK_SECONDS = 0.2
_OUTPUT_SECONDS = 60.0
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 /_.:=+@-]")
_LONGEST_CANCEL_SECONDS = 300.0
# What describes this machine, or the submission itself, means nothing to a job.
_NOT_FOR_JOBS = {
    "artifacts",
    "asset_prefix",
    "dag_id_prefix",
    "dags_paused",
    "emr_application_id",
    "emr_aws_conn_id",
    "emr_deferrable",
    "emr_job_role_arn",
    "emr_python",
    "emr_studio_url",
    "expectations",
    "lake_url",
    "page_minutes",
    "pass_environment",
    "pipelines",
    "plan_timeout_minutes",
    "run_timeout_minutes",
    "runner",
    "schedules",
    "spark_driver_memory",
    "spark_master",
    "spark_packages_dir",
    "stage_timeout_minutes",
    "state_dir",
    "task_retries",
    "task_retry_delay_seconds",
    "triggerer",
    "watch_seconds",
}


class EmrServerlessRunner:
    """Submits to the application, role and artifacts that the settings name.

    A job's id is `APPLICATION/JOBRUN`: a job belongs to the application to which it was submitted, no matter what the
    settings name by the time it is asked for.
    """

    through: ClassVar[Stage] = "check"
    needs_connections: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._application = required_setting(settings, "emr_application_id")
        self._role = required_setting(settings, "emr_job_role_arn")
        self._artifacts = required_setting(settings, "artifacts").rstrip("/")
        self._jobs = EmrJobs(settings)
        self._s3 = aws_client("s3", settings.emr_aws_conn_id, TIMEOUTS)

    def submit(self, work: Work) -> str:
        """Start a job with today's artifacts and settings, or find that of an earlier try, which has not ended.

        `emr_submissions` says how it is found. A job that has ended left no receipt, or nobody would submit again. A
        job that still runs for an earlier plan of the run is cancelled before the first one of this plan is started: it
        would work in vain.

        Raises:
            ConfigurationError: EMR or the lake refuses; AccessDenied, ObjectNotFound or SettingError.
            ServiceUnavailable: one of them does not answer, or EMR refuses for now; the next try finds the job, should
                there be one.
        """
        log = SubmissionLog(open_documents(self._settings.lake), work)
        while True:
            newest = log.newest()
            if newest is None:
                self._stop_earlier_plans(log)
            else:
                job_id = self._job_of(log, newest)
                if job_id is not None and not self._is_over(job_id):
                    return job_id
            submission = log.append(newest.number + 1 if newest else 1, self._request(work))
            if submission is not None:
                outcome = self._ask(log, submission, sent_before=False)
                if isinstance(outcome, LakeferryError):
                    raise outcome
                return outcome
            # Another driver submits at the same moment: theirs is the newest submission.

    def wait(self, job_id: str, pass_line: PassLine, look: Look = lambda: None) -> Ended:
        """Poll until the job has ended, and pass on its driver's output as far as EMR publishes it meanwhile.

        The log does not show the address that GetDashboardForJobRun creates: anybody who has it can open the job's
        pages for an hour (API reference), and a task's log has more readers than that call. It shows the command that
        creates one.

        Raises:
            ServiceUnavailable: the job was not seen for too long (`emr_sight`), and may run; the next try finds it.
        """
        pause, before = _FIRST_PAUSE_SECONDS, ""
        over = cancelled = False
        report_cancel = _once(pass_line)
        output: DriverOutput | None = None
        looked = time.monotonic()
        sight = Sight(job_id, pass_line)
        while True:
            try:
                job = sight.look(lambda: self._jobs.describe(job_id))
            except ObjectNotFound as error:
                # Its application was deleted, which takes jobs that have ended; receipts say what it has done.
                return Ended(False, None, f"EMR Serverless job {job_id} is gone: {error.problem}")
            if job is not None:
                state, details = job["state"], job.get("stateDetails", "")
                if not cancelled and self._is_over_limit(job):
                    # EMR counts from where the job runs; a task waits for one that is queued, too.
                    if not over:
                        pass_line(f"EMR Serverless job {job_id} has reached its time limit: cancelling it")
                    over = True
                    cancelled = self._cancel(job_id, report_cancel)
                if state != before:
                    pass_line(f"EMR Serverless job {job_id} is {state}")
                    before = state
                if output is None:
                    output = DriverOutput(job, self._read)
                    pass_line(dashboard(*self._jobs.address(job_id)))
                if state in ENDED:
                    break
                if time.monotonic() - looked >= _OUTPUT_SECONDS:
                    output.pass_new(pass_line)
                    looked = time.monotonic()
            _pause(pause, look)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        lines = output.pass_rest(pass_line)
        # EMR quotes the last exceptions of the job.
        quoted = without_credentials(" | ".join(last_lines(details, len(details))))
        said = f": {quoted}" if quoted else ""
        memory, at_once = self._settings.spark_driver_memory, self._settings.datasets_in_parallel
        why = None if state == "SUCCESS" else driver_end(None, "\n".join([details, *lines]), memory, at_once, emr=True)
        said += f". {why.problem}. {why.fix}" if why else ""
        # EMR does not say a driver's exit code; receipts say what failed.
        how = f"EMR Serverless job {job_id} ended as {state}{said}"
        return Ended(state == "SUCCESS", None, how, over_limit=state == "CANCELLED" and (over or ran_out(job)))

    def stop(self, job_id: str) -> None:
        self._jobs.stop(job_id)

    def trigger(self, job_id: str, wait: timedelta | None = None) -> BaseTrigger | None:
        if not (self._settings.emr_deferrable and self._settings.triggerer):
            return None
        # Its imports are Airflow's of a running task, and a parse needs only this class.
        from lakeferry_airflow.runners.emr_trigger import JobRunTrigger

        limit: float | None = None
        try:
            job = self._jobs.describe(job_id)
            if job["state"] in ENDED or self._is_over_limit(job):
                return None
            limit = ends_at(job)
        except LakeferryError as error:
            # The trigger looks again; EMR ends the job at its limit, and Airflow the wait a while after it.
            _log.warning("The limit of EMR Serverless job %s cannot be seen now: %s", job_id, error)
        looks_at = time.time() + wait.total_seconds() if wait is not None else None
        return JobRunTrigger(*self._jobs.address(job_id), ends_at=limit, looks_at=looks_at)

    def _stop_earlier_plans(self, log: SubmissionLog) -> None:
        until = time.monotonic() + APPEARS_SECONDS
        for job_id in log.jobs_of_earlier_plans():
            try:
                self._jobs.stop(job_id, until)
            except LakeferryError as error:
                # Two drivers are safe side by side (docs/explanation/races.md).
                _log.warning("EMR Serverless job %s of an earlier plan could not be cancelled: %s", job_id, error)

    def _job_of(self, log: SubmissionLog, submission: Submission) -> str | None:
        """The job of a submission; None where the request was refused.

        No answer was written down where the submission's driver died, or still waits for EMR. Then EMR is asked: it
        answers with the job, or starts it as it was requested. How long EMR knows a token is not documented, so a
        token is sent again in this case alone, and never once a newer submission exists.
        """
        answer = log.answer(submission)
        if answer is not None:
            return answer.job_id
        outcome = self._ask(log, submission, sent_before=True)
        return None if isinstance(outcome, LakeferryError) else outcome

    def _ask(self, log: SubmissionLog, submission: Submission, sent_before: bool) -> str | LakeferryError:
        """Send the submission and write down the answer: the job's id, or the error where the request is refused.

        Args:
            sent_before: whether anybody may have sent the submission before.

        Raises:
            LakeferryError: the error does not prove that there is no job, so no answer is written.
        """
        application = submission.request["applicationId"]
        job_id: str | None = None
        refusal: LakeferryError | None = None
        try:
            started = self._jobs.client.start_job_run(**submission.request)
            job_id = f"{started['applicationId']}/{started['jobRunId']}"
        except (BotoCoreError, ClientError) as error:
            problem = lakeferry_error(f"EMR Serverless application {application}", error)
            if not starts_no_job(error, sent_before):
                if refuses_request(error):
                    problem = self._in_doubt(problem, log, submission)
                raise problem from None
            # A refused request started nothing and is not sent again: it would be refused after the setting was
            # mended, too, or start old artifacts after the right was granted.
            refusal = problem
        standing = log.write_answer(submission, Answer(job_id, str(refusal) if refusal else None))
        if job_id is not None and standing.job_id != job_id:
            # Another driver has been answered otherwise, so EMR had forgotten the token when it got ours.
            self.stop(job_id)
        if standing.job_id is not None:
            return standing.job_id
        return refusal or RunnerFailed(f"EMR Serverless job {job_id} was stopped, as {standing.refusal}")

    def _in_doubt(self, problem: LakeferryError, log: SubmissionLog, submission: Submission) -> ServiceUnavailable:
        """Return the error for a request that is refused now and may have a job. No try may give it up by itself, no
        matter what the settings name by then."""
        request = submission.request
        document = f"{self._settings.lake.rstrip('/')}/{log.key(submission)}"
        again = (
            "The request was sent before and its job may run, so the next try sends it again. Where application"
            f" {request['applicationId']} cannot take it any more, look there for a job {request['name']!r};"
            f" only if none runs, delete {document}"
        )
        own = f"{problem.fix}. " if problem.fix and not isinstance(problem, ServiceUnavailable) else ""
        return ServiceUnavailable(problem.problem, where=problem.where, fix=f"{own}{again}")

    def _is_over(self, job_id: str) -> bool:
        until = time.monotonic() + _LONGEST_CANCEL_SECONDS
        try:
            # A job that an earlier try cancelled will leave no receipt: it is not adopted but followed by a new one.
            while (state := self._jobs.appeared_state(job_id)) == "CANCELLING" and time.monotonic() < until:
                time.sleep(_FIRST_PAUSE_SECONDS)
            return state in ENDED
        except ObjectNotFound:
            # Its application was deleted, which takes jobs that have ended.
            return True
        except LakeferryError as error:
            # It is waited for as one that runs: should it have ended, the wait finds that out.
            _log.warning("EMR Serverless job %s of an earlier try cannot be seen now: %s", job_id, error)
            return False

    @staticmethod
    def _is_over_limit(job: dict[str, Any]) -> bool:
        limit = ends_at(job)
        return limit is not None and time.time() >= limit and job["state"] not in (*ENDED, "CANCELLING")

    def _cancel(self, job_id: str, pass_line: PassLine) -> bool:
        """Cancel a job at its limit. Returns whether EMR took the request; the next look sends it again if not."""
        try:
            self.stop(job_id)
        except LakeferryError as error:
            pass_line(f"EMR Serverless job {job_id} could not be cancelled, and is cancelled again: {error}")
            return False
        return True

    def _request(self, work: Work) -> dict[str, Any]:
        manifest = self._manifest()
        arguments = ["--plan", work.plan_uri]
        if work.through and work.through != work.stage:
            arguments += ["--through", work.through]
        confs = self._confs(manifest)
        if work.stage not in SPARK_STAGES:
            # Load needs executors for large batches only: one less to wait for, and Spark asks for more.
            confs["spark.dynamicAllocation.initialExecutors"] = "1"
        parameters = [part for key, value in sorted(confs.items()) for part in ("--conf", f"{key}={value}")]
        return {
            "applicationId": self._application,
            "executionRoleArn": self._role,
            "name": f"{work.pipeline} {work.stage} {work.run_id}"[:256],
            "jobDriver": {
                "sparkSubmit": {
                    "entryPoint": f"{self._artifacts}/{manifest['entries'][work.stage]}",
                    "entryPointArguments": arguments,
                    "sparkSubmitParameters": shlex.join(parameters),
                }
            },
            "configurationOverrides": {
                "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": f"{self._artifacts}/logs/"}}
            },
            **({"executionTimeoutMinutes": math.ceil(work.limit.seconds / 60)} if work.limit else {}),
            "tags": {
                "lakeferry:pipeline": _tag(work.pipeline),
                "lakeferry:run": _tag(work.run_id),
                "lakeferry:stage": _tag(work.stage),
            },
        }

    def _confs(self, manifest: dict[str, Any]) -> dict[str, str]:
        environment = self._job_environment(manifest)
        archives = {"environment": manifest["environment"], "lakeferry": manifest["source"]}
        confs = {
            **LAUNCH_CONFS,
            "spark.archives": ",".join(f"{self._artifacts}/{path}#{name}" for name, path in archives.items()),
            "spark.jars": ",".join(f"{self._artifacts}/{path}" for path in manifest["jars"]),
        }
        # https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/jobs-spark.html
        confs |= {f"spark.emr-serverless.driverEnv.{key}": value for key, value in environment.items()}
        confs |= {f"spark.executorEnv.{key}": value for key, value in environment.items()}
        return confs

    def _job_environment(self, manifest: dict[str, Any]) -> dict[str, str]:
        settings = self._settings.model_dump(mode="json", exclude=_NOT_FOR_JOBS, exclude_none=True)
        python = self._settings.emr_python
        return {
            **{f"LAKEFERRY_{key.upper()}": str(value) for key, value in settings.items()},
            "LAKEFERRY_PROGRESS": "json",
            "LAKEFERRY_SECRETS": os.environ.get("LAKEFERRY_SECRETS", "secrets_manager"),
            "PYSPARK_DRIVER_PYTHON": python,
            "PYSPARK_PYTHON": python,
            # Archives are unpacked in the working directory of driver and executors before Python starts.
            "PYTHONPATH": "./lakeferry:./environment",
        }

    def _manifest(self) -> dict[str, Any]:
        address = f"{self._artifacts}/manifest.json"
        body = self._read(address)
        if body is None:
            raise ObjectNotFound(
                f"there are no artifacts at {self._artifacts}",
                where="LAKEFERRY_ARTIFACTS",
                fix=f"Put them there: LAKEFERRY_ARTIFACTS={self._artifacts} make package",
            )
        manifest: dict[str, Any] = json.loads(body)
        return manifest

    def _read(self, address: str) -> bytes | None:
        parts = urlsplit(address)
        with translated(address):
            try:
                answer = self._s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            except self._s3.exceptions.NoSuchKey:
                return None
            return bytes(answer["Body"].read())


def _once(pass_line: PassLine) -> PassLine:
    """Pass each line on unless it is the one before it again."""
    last = ""

    def pass_on(line: str) -> None:
        nonlocal last
        if line != last:
            pass_line(line)
        last = line

    return pass_on


def _pause(seconds: float, look: Look) -> None:
    """Wait, and look meanwhile: a task that is to end has seconds, fewer than a pause between two questions."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        look()
        time.sleep(min(_LOOK_SECONDS, rest))


def _tag(value: str) -> str:
    """A tag's value: ASCII letters, digits and few signs, 256 at most (TagValue in EMR Serverless's API)."""
    return _NOT_IN_TAGS.sub("_", value)[:256]
