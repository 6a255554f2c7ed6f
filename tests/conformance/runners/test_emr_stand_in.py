"""The EMR Serverless of this machine refuses what AWS refuses: StartJobRun in its API Reference."""

from __future__ import annotations

import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conformance.runners.kits import ROLE, EmrKit


def request_of(emr: EmrKit, token: str, name: str = "ends-well") -> dict[str, Any]:
    artifacts = emr.settings.artifacts
    return {
        "applicationId": emr.application,
        "clientToken": token,
        "executionRoleArn": ROLE,
        "name": name,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": f"{artifacts}/releases/1/extract.py",
                "entryPointArguments": ["--plan", f"file://{emr.folder}/{name}"],
                "sparkSubmitParameters": "--conf spark.executor.cores=2",
            }
        },
        "configurationOverrides": {
            "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": f"{artifacts}/logs/"}}
        },
        "executionTimeoutMinutes": 60,
        "tags": {"stage": "extract"},
    }


def new_token() -> str:
    return uuid.uuid4().hex


def changed(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The request with the value at `jobDriver.sparkSubmit.entryPoint`, say, replaced."""
    key, _, rest = path.partition(".")
    return request | {key: changed(request[key], rest, value) if rest else value}


def test_a_known_token_with_the_same_parameters_gives_its_job(emr: EmrKit) -> None:
    request = request_of(emr, new_token())
    first, second = emr.emr.start_job_run(**request), emr.emr.start_job_run(**request)
    assert first["jobRunId"] == second["jobRunId"]
    assert emr.jobs() == [first["jobRunId"]]


OTHER_VALUES = {
    "executionRoleArn": f"{ROLE}-2",
    "name": "another",
    "jobDriver.sparkSubmit.entryPoint": "s3://artifacts/releases/2/extract.py",
    "jobDriver.sparkSubmit.entryPointArguments": ["--plan", "file:///another"],
    "jobDriver.sparkSubmit.sparkSubmitParameters": "--conf spark.executor.cores=4",
    "configurationOverrides.monitoringConfiguration.s3MonitoringConfiguration.logUri": "s3://artifacts/elsewhere/",
    "executionTimeoutMinutes": 61,
    "tags": {"stage": "load"},
}


def test_a_known_token_with_other_parameters_is_refused(emr: EmrKit) -> None:
    request = request_of(emr, new_token())
    job = emr.emr.start_job_run(**request)["jobRunId"]
    for path, value in OTHER_VALUES.items():
        with pytest.raises(ClientError) as refused:
            emr.emr.start_job_run(**changed(request, path, value))
        assert refused.value.response["Error"]["Code"] == "ConflictException", path
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert emr.emr.start_job_run(**request)["jobRunId"] == job
    assert emr.jobs() == [job]


def test_a_token_that_another_application_knows_is_refused(emr: EmrKit) -> None:
    request = request_of(emr, new_token())
    emr.emr.start_job_run(**request)
    other = emr.make_application()
    with pytest.raises(ClientError, match="ConflictException"):
        emr.emr.start_job_run(**request | {"applicationId": other})
    assert emr.jobs(other) == []


@pytest.mark.parametrize("token", ["x" * 65, "a b", "a/b", "日本", "a\n"])
def test_a_token_of_other_length_or_characters_is_refused(emr: EmrKit, token: str) -> None:
    with pytest.raises(ClientError) as refused:
        emr.emr.start_job_run(**request_of(emr, token))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert emr.jobs() == []


@pytest.mark.parametrize("token", ["x" * 64, "A-z_0.9"])
def test_a_token_within_the_limits_is_taken(emr: EmrKit, token: str) -> None:
    assert emr.jobs() == []
    job = emr.emr.start_job_run(**request_of(emr, token))["jobRunId"]
    assert emr.jobs() == [job]


REFUSED_VALUES = [
    ("applicationId", "00F1"),
    ("applicationId", "x" * 65),
    ("executionRoleArn", "LakeferryJobRole"),
    ("executionRoleArn", "lakeferry-job-of-the-production"),
    ("executionRoleArn", "arn:aws:iam::1234:role/lakeferry-job"),
    ("executionRoleArn", f"{ROLE} 2"),
    ("name", " "),
    ("name", "x" * 257),
    ("jobDriver.sparkSubmit.entryPoint", " "),
    ("jobDriver.sparkSubmit.entryPoint", "s3://" + "x" * 4096),
    ("jobDriver.sparkSubmit.entryPointArguments", ["x"] * 1025),
    ("jobDriver.sparkSubmit.sparkSubmitParameters", "\t"),
    ("jobDriver.sparkSubmit.sparkSubmitParameters", "x" * 102401),
    ("tags", {"stage": "抽出"}),
    ("tags", {"stage": "x" * 257}),
    ("tags", {"": "extract"}),
]


@pytest.mark.parametrize(("path", "value"), REFUSED_VALUES, ids=lambda part: str(part)[:60])
def test_a_value_outside_the_limits_is_refused(emr: EmrKit, path: str, value: Any) -> None:
    request = changed(request_of(emr, new_token()), path, value)
    # The client checks a part of the limits itself. They are the service's all the same.
    client = boto3.client(
        "emr-serverless", endpoint_url=emr.emr.meta.endpoint_url, config=Config(parameter_validation=False)
    )
    with pytest.raises(ClientError) as refused:
        client.start_job_run(**request)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert path.split(".")[-1] in refused.value.response["Error"]["Message"]
    assert emr.jobs() == []


def test_a_stopped_application_that_does_not_start_itself_is_in_conflict(emr: EmrKit) -> None:
    application = emr.make_application(autoStartConfiguration={"enabled": False})
    request = request_of(emr, new_token()) | {"applicationId": application}
    job = emr.emr.start_job_run(**request)["jobRunId"]
    emr.emr.stop_application(applicationId=application)
    with pytest.raises(ClientError) as refused:
        emr.emr.start_job_run(**request | {"clientToken": new_token()})
    assert refused.value.response["Error"]["Code"] == "ConflictException"
    assert emr.emr.start_job_run(**request)["jobRunId"] == job
    emr.emr.start_application(applicationId=application)
    emr.emr.start_job_run(**request | {"clientToken": new_token()})
    assert len(emr.jobs(application)) == 2


def test_a_stopped_application_that_starts_itself_takes_a_job(emr: EmrKit) -> None:
    emr.emr.stop_application(applicationId=emr.application)
    job = emr.emr.start_job_run(**request_of(emr, new_token()))["jobRunId"]
    assert emr.jobs() == [job]
    assert emr.emr.get_application(applicationId=emr.application)["application"]["state"] == "STARTED"
