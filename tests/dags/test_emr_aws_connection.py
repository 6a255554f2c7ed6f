"""The credentials with which EMR Serverless is asked: those of an Airflow connection where a setting names one."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config

from connectors.errors import ConnectionNotFound, ServiceUnavailable
from jobs.runtime.settings import Settings
from lakeferry_airflow import connections
from lakeferry_airflow.runners.aws_clients import aws_client
from lakeferry_airflow.runners.emr_serverless import EmrServerlessRunner

CONFIG = Config(connect_timeout=5)


def key_of(client: Any) -> tuple[str, str]:
    credentials = client._request_signer._credentials.get_frozen_credentials()
    return credentials.access_key, client.meta.region_name


@pytest.fixture(autouse=True)
def own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    # boto3 keeps the credentials it found first.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OFTHEMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_REGION", raising=False)
    connection = {
        "conn_type": "aws",
        "login": "OFTHECONNECTION",
        "password": "s",
        "extra": {"region_name": "ap-northeast-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE_AWS", json.dumps(connection))


def test_without_the_setting_the_machine_asks() -> None:
    assert key_of(aws_client("emr-serverless", None, CONFIG)) == ("OFTHEMACHINE", "us-east-1")


def test_with_the_setting_the_connection_asks_both_services() -> None:
    settings = Settings(
        runner="emr_serverless",
        artifacts="s3://bucket/lakeferry",
        emr_application_id="00a",
        emr_job_role_arn="arn:aws:iam::123456789012:role/lakeferry-job",
        emr_aws_conn_id="lake_aws",
    )
    runner = EmrServerlessRunner(settings)
    assert key_of(runner._jobs.client) == key_of(runner._s3) == ("OFTHECONNECTION", "ap-northeast-1")
    assert runner._jobs.client.meta.config.connect_timeout == 5


def test_a_connection_that_is_missing_is_not_replaced_by_the_machine() -> None:
    with pytest.raises(ConnectionNotFound, match="LAKEFERRY_EMR_AWS_CONN_ID"):
        aws_client("s3", "nobody", CONFIG)


def test_a_connection_in_doubt_is_a_failure_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> str:
        raise connections._NoAnswer("Vault")

    monkeypatch.setattr(connections, "_asked", fails)
    monkeypatch.setattr(connections, "_PAUSES_SECONDS", (0.0,))
    with pytest.raises(ServiceUnavailable, match="no certain answer"):
        aws_client("s3", "nobody", CONFIG)
