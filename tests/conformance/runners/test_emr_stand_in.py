"""The EMR Serverless of this machine answers client tokens as AWS does: StartJobRun in its API Reference."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from kits import ROLE, EmrKit


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
