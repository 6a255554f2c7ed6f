"""Connections: Airflow's conventions, and nothing secret in what is shown."""

from __future__ import annotations

import json

import boto3
import pytest

from connectors.connection import Connection, find_connection
from connectors.errors import ConfigurationError, ConnectionNotFound


def test_a_uri() -> None:
    found = Connection.parse(
        "c", "mysql://us%40er:p%3Aw%2F@db.example:3307/shop?ssl_mode=verify_identity&ssl_ca=%2Fca.pem"
    )
    assert (found.conn_type, found.host, found.port, found.schema) == ("mysql", "db.example", 3307, "shop")
    assert (found.login, found.password) == ("us@er", "p:w/")
    assert found.extra == {"ssl_mode": "verify_identity", "ssl_ca": "/ca.pem"}
    assert found.address == "db.example:3307"


def test_json_and_airflows_extra_in_a_uri() -> None:
    text = json.dumps({"conn_type": "google-cloud", "host": "h", "port": "1", "extra": json.dumps({"a": 1, "b": "x"})})
    found = Connection.parse("c", text)
    assert (found.conn_type, found.port, found.extra) == ("google_cloud", 1, {"a": "1", "b": "x"})
    assert Connection.parse("c", "aws://?__extra__=%7B%22region_name%22%3A%20%22r%22%7D").extra == {"region_name": "r"}


def test_json_without_a_type_and_with_numbers() -> None:
    """Airflow leaves out the type of a connection that has none (`as_json`), and keeps a number as it is written."""
    found = Connection.parse("c", '{"host": "h", "login": 7, "password": 123456, "schema": null}')
    assert (found.conn_type, found.host, found.login, found.password, found.schema) == ("", "h", "7", "123456", None)


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "hush", "host": ["h"]}',
        '{"password": true, "host": "h"}',
        '{"host": "h", "extra": ["hush"]}',
        '{"host": "h", "port": [1]}',
        '{"host": "h", "port": 1e999}',
        '{"host": "h", "port": 70000}',
        '{"username": "hush", "dbname": "hush"}',
        "{}",
        '{"host": ' + "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_json_that_is_no_connection_is_a_mistake_of_the_configuration(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Connection.parse("c", text)
    assert "hush" not in str(caught.value)
    assert "AIRFLOW_CONN_C" in str(caught.value)


def test_repr_and_errors_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hush" not in repr(Connection.parse("c", "mysql://u:hush@h/?key=hush"))
    for broken in ("hush", "mysql://u:hush@h:port/", '{"password": "hush"'):
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", broken)
        with pytest.raises(ConfigurationError) as caught:
            find_connection("broken")
        assert "hush" not in str(caught.value)
        assert "AIRFLOW_CONN_BROKEN" in str(caught.value)


@pytest.mark.services
def test_a_connection_nobody_defined_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionNotFound, match="AIRFLOW_CONN_NOBODY"):
        find_connection("nobody")
    monkeypatch.setenv("LAKEFERRY_SECRETS", "secrets_manager")
    with pytest.raises(ConnectionNotFound, match="secret airflow/connections/nobody"):
        find_connection("nobody")


@pytest.mark.services
def test_secrets_manager_holds_what_the_environment_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEFERRY_SECRETS", "secrets_manager")
    client = boto3.client("secretsmanager")
    client.create_secret(Name="airflow/connections/from_secrets", SecretString="mysql://a:b@c:1/d")
    try:
        assert find_connection("from_secrets").address == "c:1"
    finally:
        client.delete_secret(SecretId="airflow/connections/from_secrets", ForceDeleteWithoutRecovery=True)
