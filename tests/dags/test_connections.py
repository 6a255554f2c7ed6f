"""A missing connection and a secrets backend that fails are two things."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.sdk.execution_time.secrets import ExecutionAPISecretsBackend
from botocore.exceptions import ClientError

from connectors.connection import find_connection
from connectors.errors import AccessDenied, ConnectionNotFound, ServiceUnavailable
from lakeferry_airflow.connections import connection_variables

PAUSES: list[float] = []


class Backend:
    """A secrets backend that fails for some questions, then answers."""

    def __init__(self, failures: int, answer: Connection | None = None, error: Exception | None = None) -> None:
        self.failures = failures
        self.answer = answer
        self.error = error or ConnectionError("no route")

    def get_connection(self, conn_id: str) -> Connection | None:
        self.failures -= 1
        if self.failures >= 0:
            raise self.error
        return self.answer


@pytest.fixture(autouse=True)
def quick() -> None:
    PAUSES.clear()


def backends(monkeypatch: pytest.MonkeyPatch, *given: Any) -> None:
    # The question of Airflow, in its own way of asking.
    monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: list(given))


def variables() -> dict[str, str]:
    return connection_variables(["shop_db"], PAUSES.append)


def found_by_the_child(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> str:
    monkeypatch.delenv("LAKEFERRY_SECRETS", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return find_connection("shop_db").address


SHOP = Connection(conn_id="shop_db", conn_type="mysql", host="db", port=3306, login="a", password="b")


def test_a_hiccup_is_asked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    backends(monkeypatch, Backend(2, SHOP))
    assert found_by_the_child(monkeypatch, variables()) == "db:3306"
    assert PAUSES == [1.0]


def test_a_backend_that_stays_down_is_a_failure_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    backends(monkeypatch, Backend(99))
    given = variables()
    assert PAUSES == [1.0, 2.0, 4.0]
    with pytest.raises(ServiceUnavailable, match="Airflow's secrets backends failed"):
        found_by_the_child(monkeypatch, given)


def test_a_connection_that_nobody_has_is_missing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backends(monkeypatch, Backend(0))
    assert variables() == {}
    assert PAUSES == []
    with pytest.raises(ConnectionNotFound):
        found_by_the_child(monkeypatch, {})


def api(monkeypatch: pytest.MonkeyPatch, error: ErrorType) -> None:
    comms = SimpleNamespace(send=lambda _: ErrorResponse(error=error))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    backends(monkeypatch, ExecutionAPISecretsBackend())


def test_an_api_server_that_fails_leaves_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    api(monkeypatch, ErrorType.API_SERVER_ERROR)
    assert variables() == {"LAKEFERRY_CONNECTIONS_IN_DOUBT": "shop_db"}


def test_an_api_server_without_the_connection_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    api(monkeypatch, ErrorType.CONNECTION_NOT_FOUND)
    assert variables() == {}
    assert PAUSES == []


def test_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(ErrorType, "PERMISSION_DENIED"):
        pytest.skip("Airflow 3.2 does not tell a refusal from a missing connection")
    api(monkeypatch, ErrorType.PERMISSION_DENIED)
    with pytest.raises(AccessDenied, match="refuses connection 'shop_db'"):
        variables()


@pytest.mark.services
@pytest.mark.parametrize(("code", "doubt"), [("InternalServiceError", True), ("ResourceNotFoundException", False)])
def test_amazons_backend_is_seen_through(monkeypatch: pytest.MonkeyPatch, code: str, doubt: bool) -> None:
    if not hasattr(ErrorType, "PERMISSION_DENIED"):
        pytest.skip("the environment of Airflow 3.2 has no provider of Amazon's")
    from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    backend = SecretsManagerBackend(connections_prefix="airflow/connections")
    errors = backend.client.exceptions
    failing = getattr(errors, code)({"Error": {"Code": code, "Message": "?"}}, "GetSecretValue")
    assert isinstance(failing, ClientError)

    def raises(**_: str) -> None:
        raise failing

    monkeypatch.setattr(backend.client, "get_secret_value", raises)
    backends(monkeypatch, backend)
    assert ("LAKEFERRY_CONNECTIONS_IN_DOUBT" in variables()) is doubt


def test_a_variable_that_airflow_cannot_read_is_left_to_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    backends(monkeypatch)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", "not a connection")
    assert variables() == {"AIRFLOW_CONN_SHOP_DB": "not a connection"}
