"""The wait for a job whose looks fail, or whose output cannot be read: the job and its receipts decide."""

from __future__ import annotations

import gzip
import io
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from connectors.errors import ServiceUnavailable
from jobs.runtime.settings import Settings
from lakeferry_airflow.runners import emr_jobs, emr_serverless, emr_sight
from lakeferry_airflow.runners.emr_serverless import EmrServerlessRunner
from lakeferry_airflow.runners.emr_trigger import JobRunTrigger

JOB = "00a/00j"


def refusal(status: int, code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": f"says {code}"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetJobRun")


DENIED = refusal(403, "AccessDeniedException")
DOWN = refusal(500, "InternalServerException")
EXPIRED = refusal(403, "UnrecognizedClientException")
GONE = refusal(404, "ResourceNotFoundException")


class Aws:
    """EMR, whose looks at the job go by a script, the last of it for ever; and S3 with the files of its driver."""

    exceptions = SimpleNamespace(NoSuchKey=KeyError)

    def __init__(self) -> None:
        self.looks: list[str | ClientError] = []
        self.cancelled: list[str] = []
        self.cancel_problems: list[ClientError] = []
        self.age = timedelta(0)
        self.details = ""
        self.files: dict[str, str | ClientError] = {}

    def get_job_run(self, applicationId: str, jobRunId: str) -> dict[str, Any]:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, ClientError):
            raise look
        return {
            "jobRun": {
                "state": look,
                "stateDetails": self.details,
                "applicationId": applicationId,
                "jobRunId": jobRunId,
                "createdAt": datetime.now(UTC) - self.age,
                "updatedAt": datetime.now(UTC),
                "executionTimeoutMinutes": 60,
                "configurationOverrides": {
                    "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://b/logs/"}}
                },
            }
        }

    def cancel_job_run(self, applicationId: str, jobRunId: str) -> None:
        if self.cancel_problems:
            raise self.cancel_problems.pop(0)
        self.cancelled.append(f"{applicationId}/{jobRunId}")

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        found = self.files[Key.rsplit("/", 1)[1]]
        if isinstance(found, ClientError):
            raise found
        return {"Body": io.BytesIO(gzip.compress(found.encode()))}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws()
    for module in (emr_jobs, emr_serverless):
        monkeypatch.setattr(module, "aws_client", lambda *_: aws)
    monkeypatch.setattr(emr_jobs, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(emr_serverless, "_pause", lambda *_: None)
    return aws


@pytest.fixture
def runner(aws: Aws) -> EmrServerlessRunner:
    role = "arn:aws:iam::123456789012:role/lakeferry-job"
    return EmrServerlessRunner(
        Settings(
            runner="emr_serverless",
            artifacts="s3://b",
            emr_application_id="00a",
            emr_job_role_arn=role,
            emr_deferrable=True,
        )
    )


def test_looks_that_fail_leave_the_job_to_be_waited_for(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.looks = [GONE, "RUNNING", DENIED, DENIED, "RUNNING", DOWN, EXPIRED, "SUCCESS"]
    lines: list[str] = []
    assert runner.wait(JOB, lines.append).succeeded
    assert [line for line in lines if "seen" in line] == [
        f"EMR Serverless job {JOB} cannot be seen now, and goes on: EMR Serverless job {JOB} does not exist: "
        "ResourceNotFoundException: says ResourceNotFoundException.",
        f"EMR Serverless job {JOB} can be seen again",
        f"EMR Serverless job {JOB} cannot be seen now, and goes on: EMR Serverless job {JOB} refuses: "
        "AccessDeniedException: says AccessDeniedException. Check the rights of Airflow's role; "
        "see docs/how-to/aws.md.",
        f"EMR Serverless job {JOB} can be seen again",
        f"EMR Serverless job {JOB} cannot be seen now, and goes on: EMR Serverless job {JOB} answers "
        "InternalServerException: says InternalServerException.",
        f"EMR Serverless job {JOB} cannot be seen now, and goes on: EMR Serverless job {JOB} refuses the AWS "
        "credentials: UnrecognizedClientException. Correct the credentials of Airflow's role, or the clock of this "
        "machine.",
        f"EMR Serverless job {JOB} can be seen again",
    ]
    assert aws.cancelled == []


def test_a_wait_without_faults_says_nothing_of_looks(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.looks = ["SUBMITTED", "RUNNING", "SUCCESS"]
    aws.files = {"stdout.gz": "read 1\n", "stderr.gz": ""}
    lines: list[str] = []
    assert runner.wait(JOB, lines.append).succeeded
    assert [line for line in lines if "dashboard" not in line] == [
        f"EMR Serverless job {JOB} is SUBMITTED",
        f"EMR Serverless job {JOB} is RUNNING",
        f"EMR Serverless job {JOB} is SUCCESS",
        "read 1",
    ]


def test_a_job_that_is_never_seen_ends_the_wait_and_not_the_retries(
    aws: Aws, runner: EmrServerlessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_sight, "UNSEEN_SECONDS", 0.0)
    aws.looks = [DENIED]
    with pytest.raises(
        ServiceUnavailable, match=r"cannot be seen, and may run: .*AccessDeniedException.*Check the rig"
    ):
        runner.wait(JOB, lambda _: None)


def test_a_look_that_fails_while_a_job_is_cancelled_at_its_limit_ends_nothing(
    aws: Aws, runner: EmrServerlessRunner
) -> None:
    aws.age, aws.looks = timedelta(minutes=61), ["RUNNING", "RUNNING", DOWN, "CANCELLED"]
    assert runner.wait(JOB, lambda _: None).over_limit
    assert aws.cancelled == [JOB]


def test_a_job_that_is_not_seen_since_its_limit_ends_the_wait(
    aws: Aws, runner: EmrServerlessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_sight, "UNSEEN_SECONDS", 1.0)
    aws.age, aws.looks = timedelta(minutes=61), ["RUNNING", DENIED]
    with pytest.raises(ServiceUnavailable, match="cannot be seen, and may run"):
        runner.wait(JOB, lambda _: None)
    # The client does not see it by then, and cancels it all the same.
    assert aws.cancelled == [JOB]


def test_a_job_that_is_gone_is_left_to_its_receipts(
    aws: Aws, runner: EmrServerlessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_sight, "APPEARS_SECONDS", 0.0)
    aws.looks = [GONE]
    ended = runner.wait(JOB, lambda _: None)
    assert (ended.succeeded, ended.exit_code) == (False, None)
    assert f"job {JOB} is gone" in ended.details


def test_what_emr_says_of_a_failed_job_shows_no_credentials(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.looks, aws.details = ["FAILED"], "Glue refuses: x-amz-security-token:IQoJb3JpZ2lu"
    ended = runner.wait(JOB, lambda _: None)
    assert "Glue refuses: x-amz-security-token:[removed]" in ended.details


def test_a_cancel_that_fails_at_the_limit_is_tried_until_emr_takes_it(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.age, aws.cancel_problems = timedelta(minutes=61), [DENIED, DENIED, DOWN]
    # Each cancel looks at the job first.
    aws.looks = ["RUNNING"] * 9 + ["CANCELLING", "CANCELLED"]
    lines: list[str] = []
    assert runner.wait(JOB, lines.append).over_limit
    assert aws.cancelled == [JOB]
    assert sum("has reached its time limit" in line for line in lines) == 1
    problems = [line.split("again: ")[1] for line in lines if "could not be cancelled" in line]
    assert [problem.split(": says")[0] for problem in problems] == [
        f"EMR Serverless job {JOB} refuses: AccessDeniedException",
        f"EMR Serverless job {JOB} answers InternalServerException",
    ]


def test_a_job_that_ends_before_a_cancel_succeeds_is_over_its_limit(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.age, aws.cancel_problems = timedelta(minutes=61), [DENIED] * 9
    aws.looks = ["RUNNING", "RUNNING", "CANCELLED"]
    assert runner.wait(JOB, lambda _: None).over_limit
    assert aws.cancelled == []


@pytest.mark.parametrize("state", ["RUNNING", "SUCCESS"])
def test_a_job_that_emr_does_not_know_yet_is_not_over(aws: Aws, runner: EmrServerlessRunner, state: str) -> None:
    aws.looks = [GONE, GONE, state]
    assert runner._is_over(JOB) == (state == "SUCCESS")


def test_a_job_that_emr_does_not_know_yet_is_stopped(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.looks, aws.cancel_problems = [GONE, GONE, "RUNNING"], [GONE]
    runner.stop(JOB)
    assert aws.cancelled == [JOB]


def test_a_job_that_emr_does_not_know_for_a_minute_is_over(
    aws: Aws, runner: EmrServerlessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_jobs, "APPEARS_SECONDS", 0.0)
    aws.looks, aws.cancel_problems = [GONE], [GONE]
    assert runner._is_over(JOB)
    runner.stop(JOB)
    assert aws.cancelled == []


def test_a_job_that_cannot_be_seen_is_adopted_and_deferred(aws: Aws, runner: EmrServerlessRunner) -> None:
    aws.looks = [DENIED]
    assert runner._is_over(JOB) is False
    trigger = runner.trigger(JOB)
    assert isinstance(trigger, JobRunTrigger)
    assert trigger.ends_at is None
    runner.stop(JOB)
    assert aws.cancelled == [JOB]


@pytest.mark.parametrize(
    ("state", "age_minutes", "triggerer", "deferred"),
    [
        ("RUNNING", 0, True, True),
        ("SUBMITTED", 59, True, True),
        ("RUNNING", 61, True, False),
        ("FAILED", 0, True, False),
        ("RUNNING", 0, False, False),
    ],
)
def test_only_a_job_that_goes_on_is_left_to_a_triggerer(
    aws: Aws, runner: EmrServerlessRunner, state: str, age_minutes: int, triggerer: bool, deferred: bool
) -> None:
    aws.looks, aws.age = [state], timedelta(minutes=age_minutes)
    runner._settings = runner._settings.model_copy(update={"triggerer": triggerer})
    began = time.time()
    trigger = runner.trigger(JOB, timedelta(minutes=10))
    assert (trigger is not None) == deferred
    if isinstance(trigger, JobRunTrigger):
        # A triggerer has what the task knew.
        read_back = JobRunTrigger(**trigger.serialize()[1])
        assert read_back.looks_at == trigger.looks_at
        assert trigger.looks_at is not None
        assert 600 <= trigger.looks_at - began < 660


@pytest.mark.parametrize("problem", [refusal(403, "AccessDenied"), refusal(503, "SlowDown")])
@pytest.mark.parametrize("state", ["SUCCESS", "FAILED"])
def test_output_that_cannot_be_read_changes_nothing(
    aws: Aws, runner: EmrServerlessRunner, problem: ClientError, state: str
) -> None:
    aws.looks, aws.files = [state], {"stdout.gz": problem, "stderr.gz": "a trace\n"}
    lines: list[str] = []
    assert runner.wait(JOB, lines.append).succeeded == (state == "SUCCESS")
    assert lines[-1] == "a trace"
    assert "stdout.gz cannot be read, or is not there" in lines[-2]
