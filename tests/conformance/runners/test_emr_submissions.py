"""A retry finds the job of an earlier try, also after a new deployment or setting, and no try starts two jobs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import boto3
import pytest

from connectors.errors import AccessDenied, ConfigurationError, LakeferryError, ServiceUnavailable, SettingError
from lakeferry_airflow.runners import emr_jobs
from lakeferry_airflow.runners.emr_submissions import SubmissionLog
from lakeferry_airflow.runners.emr_trigger import JobRunTrigger
from tests.conformance.runners.kits import ROLE, SECRET, Aws, EmrKit, ended
from tests.support.faulty_endpoint import Answer, Fault, endpoint

STRANGER = "arn:aws:iam::999999999999:role/lakeferry-job"
"""A role of another account, which EMR refuses (AccessDeniedException)."""


class Starts:
    """Requests of StartJobRun on their way to EMR: `bodies` as they were sent, in the order they came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()

    def through(self, fault: Callable[[bytes, Callable[[], Answer]], Answer | None]) -> Fault:
        """Count each, and answer it by `fault`; all other requests are forwarded."""

        def answer(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
            if method != "POST" or not path.endswith("/jobruns"):
                return forward()
            with self._lock:
                self.bodies.append(body)
            return fault(body, forward)

        return answer


@pytest.fixture
def through(aws: Aws, emr: EmrKit, monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], Any]:
    """`with through(fault):` puts a fault between the runner and EMR."""

    @contextmanager
    def use(fault: Fault) -> Iterator[None]:
        with endpoint(aws.endpoint, fault) as address, monkeypatch.context() as patched:
            patched.setenv("AWS_ENDPOINT_URL_EMR_SERVERLESS", address)
            yield

    return use


def forwarded(body: bytes, forward: Callable[[], Answer]) -> Answer:
    return forward()


def refused(status: int, code: str) -> Answer:
    """An error as EMR Serverless writes it."""
    body = json.dumps({"__type": code, "message": f"{code} of the test"})
    return status, {"Content-Type": "application/json"}, body.encode()


def entry_of(emr: EmrKit, job_id: str) -> str:
    entry: str = emr.job(job_id)["jobDriver"]["sparkSubmit"]["entryPoint"]
    return entry.removeprefix(f"{emr.settings.artifacts}/")


def test_a_retry_after_a_redeploy_finds_the_running_job(emr: EmrKit) -> None:
    first = emr.runner().submit(emr.work("waits", attempt=1))
    emr.pids("waits", 1)
    emr.deploy("2")
    again = emr.runner(rows_per_slice=7)
    second = again.submit(emr.work("waits", attempt=2))
    emr.let_go("waits")
    end, output = ended(again, second)
    assert second == first
    assert end.succeeded
    assert "release 1" in output
    assert len(emr.jobs()) == len(emr.pids("waits", 1)) == 1


def test_a_retry_after_a_redeploy_and_a_dead_job_starts_a_new_one_with_the_new_artifacts(emr: EmrKit) -> None:
    runner = emr.runner()
    first = runner.submit(emr.work("fails", attempt=1))
    _, output = ended(runner, first)
    assert "release 1" in output
    emr.deploy("2")
    runner = emr.runner(rows_per_slice=7)
    second = runner.submit(emr.work("fails", attempt=2))
    _, output = ended(runner, second)
    assert "release 2" in output
    assert "release 1" not in output
    assert second != first
    assert "LAKEFERRY_ROWS_PER_SLICE=7" in emr.job(second)["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"]
    third = runner.submit(emr.work("fails", attempt=3))
    ended(runner, third)
    assert len({first, second, third}) == len(emr.jobs()) == len(set(emr.pids("fails", 3))) == 3


def test_a_retry_finds_the_running_job_of_an_application_that_the_settings_named_before(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = emr.settings
    first = emr.runner(emr_deferrable=True).submit(emr.work("waits", attempt=1))
    emr.application = emr.make_application()
    elsewhere = {"artifacts": f"{before.artifacts}-2", "emr_job_role_arn": f"{ROLE}-2"}
    again = emr.runner(emr_deferrable=True, **elsewhere)
    second = again.submit(emr.work("waits", attempt=2))
    assert second == first
    # The triggerer knows today's settings, and the job from the task that was deferred.
    for field in ("artifacts", "emr_application_id", "emr_job_role_arn"):
        monkeypatch.setenv(f"LAKEFERRY_{field.upper()}", str(getattr(emr.settings, field)))
    deferred = again.trigger(second)
    assert deferred is not None
    (module, _, name), fields = deferred.serialize()[0].rpartition("."), deferred.serialize()[1]
    trigger: JobRunTrigger = getattr(import_module(module), name)(**fields)
    emr.let_go("waits")
    assert asyncio.run(anext(trigger.run())).payload == {"job_id": first}
    end, output = ended(again, second)
    assert end.succeeded
    assert "release 1" in output
    assert emr.jobs() == []


def test_a_deferred_job_of_an_application_that_the_settings_named_before_is_stopped(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = emr.runner(emr_deferrable=True)
    job = runner.submit(emr.work("waits"))
    trigger = runner.trigger(job)
    assert trigger is not None
    emr.application = emr.make_application()
    for field in ("artifacts", "emr_application_id", "emr_job_role_arn"):
        monkeypatch.setenv(f"LAKEFERRY_{field.upper()}", str(getattr(emr.settings, field)))
    asyncio.run(trigger.on_kill())
    assert emr.job(job)["state"] == "CANCELLED"


def test_a_driver_that_died_before_it_submitted_leaves_one_job_for_its_retries(
    emr: EmrKit, through: Callable[[Fault], Any]
) -> None:
    with through(lambda *request: None), pytest.raises(ServiceUnavailable):
        emr.runner().submit(emr.work("waits", attempt=1))
    assert emr.jobs() == []
    emr.deploy("2")
    second = emr.runner().submit(emr.work("waits", attempt=2))
    third = emr.runner().submit(emr.work("waits", attempt=3))
    emr.let_go("waits")
    assert second == third
    # Whether the first try was submitted only EMR knows. To ask is to submit, so it is the first try's request.
    assert entry_of(emr, second) == "releases/1/extract.py"
    assert len(emr.jobs()) == 1


def test_a_driver_that_died_before_it_knew_its_job_leaves_it_to_its_retry(
    emr: EmrKit, through: Callable[[Fault], Any]
) -> None:
    starts = Starts()

    def unheard(body: bytes, forward: Callable[[], Answer]) -> None:
        forward()

    with through(starts.through(unheard)), pytest.raises(ServiceUnavailable):
        emr.runner().submit(emr.work("waits", attempt=1))
    emr.deploy("2")
    with through(starts.through(forwarded)):
        second = emr.runner(rows_per_slice=7).submit(emr.work("waits", attempt=2))
    emr.let_go("waits")
    assert [second.rpartition("/")[2]] == emr.jobs()
    assert len(starts.bodies) >= 2
    assert len(set(starts.bodies)) == 1, "EMR is asked with the request it knows, byte for byte"


@pytest.mark.parametrize("other_attempt", [1, 2])
def test_two_drivers_at_once_send_one_request_and_have_one_job(
    emr: EmrKit, through: Callable[[Fault], Any], other_attempt: int
) -> None:
    starts = Starts()
    both_on_their_way = threading.Barrier(2, timeout=60)

    def together(body: bytes, forward: Callable[[], Answer]) -> Answer:
        both_on_their_way.wait()
        return forward()

    with through(starts.through(together)), ThreadPoolExecutor(2) as pool:
        one = pool.submit(emr.runner(rows_per_slice=7).submit, emr.work("waits", attempt=1))
        other = pool.submit(emr.runner(rows_per_slice=8).submit, emr.work("waits", attempt=other_attempt))
        jobs = {one.result(), other.result()}
    emr.let_go("waits")
    assert len(jobs) == len(emr.jobs()) == 1
    assert len(starts.bodies) == 2
    assert len(set(starts.bodies)) == 1


def test_a_token_is_not_sent_again_once_its_job_is_known(emr: EmrKit, through: Callable[[Fault], Any]) -> None:
    starts = Starts()
    with through(starts.through(forwarded)):
        first = emr.runner().submit(emr.work("waits", attempt=1))
        assert emr.runner().submit(emr.work("waits", attempt=2)) == first
    emr.let_go("waits")
    assert len(starts.bodies) == 1


def test_a_job_that_a_forgotten_token_starts_is_stopped(aws: Aws, emr: EmrKit, through: Callable[[Fault], Any]) -> None:
    client = boto3.client("emr-serverless", endpoint_url=aws.endpoint)
    first_arrived, go_on = threading.Event(), threading.Event()

    def forgotten(body: bytes, forward: Callable[[], Answer]) -> Answer:
        if first_arrived.is_set():
            return forward()
        first_arrived.set()
        assert go_on.wait(60)
        request = {**json.loads(body), "clientToken": "a-token-that-emr-does-not-know"}
        started = client.start_job_run(applicationId=emr.application, **request)
        answer = {key: started[key] for key in ("applicationId", "arn", "jobRunId")}
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    with through(Starts().through(forgotten)), ThreadPoolExecutor(1) as pool:
        slow = pool.submit(emr.runner().submit, emr.work("waits", attempt=1))
        assert first_arrived.wait(60)
        quick = emr.runner().submit(emr.work("waits", attempt=2))
        go_on.set()
        assert slow.result() == quick
    states = {job: emr.job(f"{emr.application}/{job}")["state"] for job in emr.jobs()}
    emr.let_go("waits")
    assert states.pop(quick.rpartition("/")[2]) != "CANCELLED"
    assert list(states.values()) == ["CANCELLED"]


def test_a_refused_request_is_not_sent_again(emr: EmrKit, through: Callable[[Fault], Any]) -> None:
    starts = Starts()
    with through(starts.through(forwarded)):
        with pytest.raises(AccessDenied, match="Cross-account"):
            emr.runner(emr_job_role_arn=STRANGER).submit(emr.work("ends-well", attempt=1))
        emr.deploy("2")
        job = emr.runner().submit(emr.work("ends-well", attempt=2))
    assert entry_of(emr, job) == "releases/2/extract.py"
    assert emr.job(job)["executionRole"] == ROLE
    assert len(starts.bodies) == 2


def test_a_request_that_is_refused_to_the_retry_is_kept_until_a_person_has_looked(
    emr: EmrKit, through: Callable[[Fault], Any]
) -> None:
    """Nobody heard what became of the first request: its job may run, and the right have been withdrawn since."""
    with through(lambda *request: None), pytest.raises(ServiceUnavailable):
        emr.runner(emr_job_role_arn=STRANGER).submit(emr.work("ends-well", attempt=1))
    with pytest.raises(ServiceUnavailable, match="Cross-account") as refusal:
        emr.runner().submit(emr.work("ends-well", attempt=2))
    (document,) = emr.lake_documents()
    assert f"only if none runs, delete {emr.settings.lake}/{document}" in str(refusal.value)
    assert "'payments extract manual__2026-11-23T00:00:00+00:00'" in str(refusal.value)
    emr.delete_lake_document(document)
    job = emr.runner().submit(emr.work("ends-well", attempt=3))
    assert emr.job(job)["executionRole"] == ROLE
    assert len(emr.jobs()) == 1


SHORT_ROLE = "LakeferryJobRole"
"""Shorter than the 20 characters of the service's model, so that botocore refuses to send it."""


def test_a_request_that_the_client_refuses_to_send_gives_way_to_a_corrected_setting(
    emr: EmrKit, through: Callable[[Fault], Any]
) -> None:
    starts = Starts()
    with through(starts.through(forwarded)):
        with pytest.raises(SettingError) as refusal:
            emr.runner(emr_job_role_arn=SHORT_ROLE).submit(emr.work("ends-well", attempt=1))
        assert starts.bodies == []
        job = emr.runner().submit(emr.work("ends-well", attempt=2))
    text = str(refusal.value)
    assert refusal.value.exit_code == 2
    assert text.startswith("LAKEFERRY_EMR_JOB_ROLE_ARN: ")
    assert "executionRoleArn" in text
    assert "arn:aws:iam::123456789012:role/" in text
    assert emr.job(job)["executionRole"] == ROLE
    assert len(starts.bodies) == len(emr.jobs()) == 1


def test_a_document_that_the_client_refuses_to_send_again_gives_way_to_a_corrected_setting(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SubmissionLog, "write_answer", dies)
        with pytest.raises(KeyboardInterrupt):
            emr.runner(emr_job_role_arn=SHORT_ROLE).submit(emr.work("ends-well", attempt=1))
    job = emr.runner().submit(emr.work("ends-well", attempt=2))
    assert emr.job(job)["executionRole"] == ROLE
    assert len(emr.jobs()) == 1


def test_artifacts_in_no_bucket_are_a_mistake_in_their_setting(emr: EmrKit) -> None:
    with pytest.raises(SettingError, match=r"^LAKEFERRY_ARTIFACTS: .*bucket"):
        emr.runner(artifacts="s3:///artifacts").submit(emr.work("ends-well"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "SerializationException", ConfigurationError),
        (402, "ServiceQuotaExceededException", ServiceUnavailable),
        (403, "InvalidSignatureException", AccessDenied),
        (409, "ConflictException", ServiceUnavailable),
        (413, "RequestEntityTooLargeException", ConfigurationError),
    ],
)
def test_a_first_request_that_is_refused_for_good_is_not_sent_again(
    emr: EmrKit, through: Callable[[Fault], Any], status: int, code: str, kind: type[LakeferryError]
) -> None:
    starts = Starts()
    with through(starts.through(lambda *request: refused(status, code))), pytest.raises(kind, match=code):
        emr.runner().submit(emr.work("ends-well", attempt=1))
    emr.deploy("2")
    with through(starts.through(forwarded)):
        job = emr.runner().submit(emr.work("ends-well", attempt=2))
    assert entry_of(emr, job) == "releases/2/extract.py"
    assert len(starts.bodies) == len(set(starts.bodies)) == 2


def test_an_application_that_does_not_start_gives_way_to_another(emr: EmrKit) -> None:
    working, emr.application = emr.application, emr.make_application(autoStartConfiguration={"enabled": False})
    emr.emr.stop_application(applicationId=emr.application)
    with pytest.raises(ServiceUnavailable, match=f"application {emr.application} .*ConflictException"):
        emr.runner().submit(emr.work("ends-well", attempt=1))
    emr.application = working
    job = emr.runner().submit(emr.work("ends-well", attempt=2))
    assert job.startswith(f"{working}/")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (403, "ExpiredTokenException"),
        (408, "RequestTimeoutException"),
        (429, "TooManyRequestsException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_a_request_that_fails_for_a_while_is_sent_again(
    emr: EmrKit, through: Callable[[Fault], Any], status: int, code: str
) -> None:
    starts = Starts()
    with through(starts.through(lambda *request: refused(status, code))), pytest.raises(ServiceUnavailable, match=code):
        emr.runner().submit(emr.work("ends-well", attempt=1))
    emr.deploy("2")
    with through(starts.through(forwarded)):
        emr.runner().submit(emr.work("ends-well", attempt=2))
    assert len(starts.bodies) >= 2
    assert len(set(starts.bodies)) == len(emr.jobs()) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ValidationException", ServiceUnavailable),
        (402, "ServiceQuotaExceededException", ServiceUnavailable),
        (403, "AccessDeniedException", ServiceUnavailable),
        (403, "UnrecognizedClientException", AccessDenied),
        (404, "ResourceNotFoundException", ServiceUnavailable),
        (409, "ConflictException", ServiceUnavailable),
    ],
)
@pytest.mark.parametrize("by", ["the runner", "the client"])
def test_a_refusal_that_says_nothing_of_the_first_request_does_not_give_up_its_job(
    emr: EmrKit, through: Callable[[Fault], Any], by: str, status: int, code: str, kind: type[LakeferryError]
) -> None:
    """`by` says who sends the request again: the client does so itself where a connection breaks."""
    starts = Starts()

    def unheard(body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if by == "the client" and len(starts.bodies) > 1:
            return refused(status, code)
        forward()
        return None

    with through(starts.through(unheard)), pytest.raises(kind if by == "the client" else ServiceUnavailable):
        emr.runner().submit(emr.work("waits", attempt=1))
    emr.deploy("2")
    with (
        through(starts.through(lambda *request: refused(status, code))),
        pytest.raises(kind, match=code) as refusal,
    ):
        emr.runner(rows_per_slice=7).submit(emr.work("waits", attempt=2))
    with through(starts.through(forwarded)):
        job = emr.runner(rows_per_slice=7).submit(emr.work("waits", attempt=3))
    emr.let_go("waits")
    assert [job.rpartition("/")[2]] == emr.jobs()
    assert len(set(starts.bodies)) == 1
    (document,) = [key for key in emr.lake_documents() if key.endswith("/1.json")]
    assert (f"{emr.settings.lake}/{document}" in str(refusal.value)) == (kind is ServiceUnavailable)


def test_a_job_of_an_earlier_plan_is_cancelled_when_the_next_plan_is_submitted(
    emr: EmrKit, through: Callable[[Fault], Any]
) -> None:
    ended(emr.runner(), emr.runner().submit(emr.work("ends-well", attempt=1)))
    with through(Starts().through(lambda *request: None)), pytest.raises(ServiceUnavailable):
        emr.runner().submit(emr.work("waits-unheard", attempt=1))
    first = emr.runner().submit(emr.work("waits-1", attempt=1))
    other_run = emr.runner().submit(replace(emr.work("waits-1", attempt=1), run_id="another run"))
    second = emr.runner().submit(emr.work("waits-2", attempt=2))
    again = emr.runner().submit(emr.work("waits-2", attempt=3))
    states = [emr.job(job)["state"] for job in (first, other_run, second)]
    emr.let_go("waits-1")
    emr.let_go("waits-2")
    assert again == second
    assert states[0] == "CANCELLED"
    assert "CANCELLED" not in states[1:]


def test_a_job_that_emr_does_not_know_any_more_gives_way_to_a_new_one(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_jobs, "APPEARS_SECONDS", 0.0)
    emr.runner().submit(emr.work("ends-well", attempt=1))
    (answer,) = [key for key in emr.lake_documents() if key.endswith(".answer.json")]
    emr.put_lake_document(answer, json.dumps({"job_id": "00gone/00gone", "refusal": None}))
    job = emr.runner().submit(emr.work("ends-well", attempt=2))
    assert job.startswith(f"{emr.application}/")
    assert len(emr.jobs()) == 2


def test_no_submission_holds_a_secret(emr: EmrKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AURORA_PAYMENTS", f"mysql://lakeferry:{SECRET}@db:3306/shop")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    job = emr.runner().submit(emr.work("ends-well"))
    documents = emr.lake_documents()
    assert {key.split("/")[0] for key in documents} == {"submissions"}
    request = next(text for key, text in documents.items() if key.endswith("/1.json"))
    assert json.loads(request)["request"]["jobDriver"] == emr.job(job)["jobDriver"]
    for text in (*documents.values(), str(emr.job(job))):
        assert SECRET not in text
        assert "AIRFLOW_CONN" not in text
        assert "AWS_SECRET" not in text
