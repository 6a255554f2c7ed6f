"""Connections: Airflow-style URIs, found in the environment or in AWS Secrets Manager.

The convention is Airflow's own (`Managing Connections` in its documentation): the connection
`aurora_payments` is read from the variable `AIRFLOW_CONN_AURORA_PAYMENTS`, as a URI or as JSON, or
from the secret `airflow/connections/aurora_payments`, which is where MWAA keeps it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.aws_errors import AwsFixes, code_of, lakeferry_error
from connectors.errors import ConfigurationError, ConnectionNotFound, ServiceUnavailable

SECRETS_PREFIX = "airflow/connections/"
IN_DOUBT_VARIABLE = "LAKEFERRY_CONNECTIONS_IN_DOUBT"
"""Ids, with commas between them, of connections that Airflow may have: a secrets backend failed when it was asked."""

_SECRETS_FIXES = AwsFixes(
    credentials="Check the AWS credentials of this machine",
    rights="Grant the role secretsmanager:GetSecretValue on the secret, and kms:Decrypt on its key",
    unavailable="Check the region and the way to Secrets Manager, then run again",
    refused="Check the secret and the region",
)
_JSON_KEYS = ("conn_type", "host", "port", "login", "password", "schema", "extra")
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Connection:
    """One resolved connection. `repr` shows no password and no extras: they may hold keys. `conn_type` is empty where
    Airflow's connection has none."""

    id: str
    conn_type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """`host:port` for messages; never a secret."""
        return f"{self.host or '?'}:{self.port}" if self.port else (self.host or "?")

    @classmethod
    def parse(cls, connection_id: str, text: str) -> Connection:
        """Reads a URI (`mysql://user:password@host:3306/schema?ssl_mode=verify_identity`) or JSON.

        Raises:
            ConfigurationError: the text is neither; it is not repeated, as it holds secrets.
        """
        try:
            return (
                cls._parse_json(connection_id, text)
                if text.lstrip().startswith("{")
                else cls._parse_uri(connection_id, text)
            )
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise ConfigurationError(
                f"connection {connection_id!r} is neither a connection URI nor Airflow's JSON",
                fix=f"Write {variable_name(connection_id)}=TYPE://LOGIN:PASSWORD@HOST:PORT/SCHEMA?EXTRA=…, "
                'with reserved characters percent-encoded, or {"conn_type": "TYPE", "host": "HOST", …} with the keys '
                f"{', '.join(_JSON_KEYS)}",
            ) from None

    @classmethod
    def _parse_uri(cls, connection_id: str, text: str) -> Connection:
        parts = urlsplit(text.strip())
        if not parts.scheme:
            raise ValueError("no scheme")
        extra = dict(parse_qsl(parts.query, keep_blank_values=True))
        if "__extra__" in extra:
            extra |= {key: _text(value) for key, value in json.loads(extra.pop("__extra__")).items()}
        return cls(
            id=connection_id,
            conn_type=parts.scheme.replace("-", "_"),
            host=unquote(parts.hostname) if parts.hostname else None,
            port=parts.port,
            login=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            schema=unquote(parts.path.lstrip("/")) or None,
            extra=extra,
        )

    @classmethod
    def _parse_json(cls, connection_id: str, text: str) -> Connection:
        document = json.loads(text)
        if not document.keys() & set(_JSON_KEYS):
            raise ValueError("no key of a connection")
        extra = document.get("extra") or {}
        if isinstance(extra, str):
            extra = json.loads(extra)
        port = int(document.get("port") or 0)
        if port not in range(_LARGEST_PORT + 1):
            raise ValueError("no port")
        words = {key: _word(document.get(key)) for key in ("conn_type", "host", "login", "password", "schema")}
        return cls(
            id=connection_id,
            conn_type=(words["conn_type"] or "").replace("-", "_"),
            host=words["host"],
            port=port or None,
            login=words["login"],
            password=words["password"],
            schema=words["schema"],
            extra={key: _text(value) for key, value in extra.items()},
        )


def variable_name(connection_id: str) -> str:
    """The environment variable a connection is read from."""
    return f"AIRFLOW_CONN_{connection_id.upper()}"


def find_connection(connection_id: str) -> Connection:
    """Looks the connection up where Airflow would: the environment, then Secrets Manager.

    Secrets Manager is asked only where a region is configured, so a laptop never waits for it.

    Raises:
        ConnectionNotFound: neither place has it.
        ConfigurationError: it is there and cannot be read.
        ServiceUnavailable: Secrets Manager does not answer, or Airflow's secrets backends did not when they were asked.
    """
    text = os.environ.get(variable_name(connection_id))
    if text:
        return Connection.parse(connection_id, text)
    looked = [f"environment variable {variable_name(connection_id)}"]
    if os.environ.get("LAKEFERRY_SECRETS", "environment") == "secrets_manager":
        secret = _find_secret(connection_id)
        if secret is not None:
            return Connection.parse(connection_id, secret)
        looked.append(f"secret {SECRETS_PREFIX}{connection_id}")
    if connection_id in os.environ.get(IN_DOUBT_VARIABLE, "").split(","):
        raise ServiceUnavailable(
            f"connection {connection_id!r} is not in {' or '.join(looked)}, and Airflow's secrets backends failed when "
            "they were asked for it",
            fix="The task's log names the backend and its error. Run again once it answers",
        )
    raise ConnectionNotFound(
        f"connection {connection_id!r} is not defined; looked for {' and '.join(looked)}",
        fix=f"Set {variable_name(connection_id)} to a connection URI, or on AWS put it into Secrets Manager "
        f"as {SECRETS_PREFIX}{connection_id} and set LAKEFERRY_SECRETS=secrets_manager",
    )


def _find_secret(connection_id: str) -> str | None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    name = f"{SECRETS_PREFIX}{connection_id}"
    # The standard mode asks again after throttling, errors 5xx and broken connections, with pauses that grow ("Retry
    # behavior" in the AWS SDKs and Tools Reference Guide).
    retries: Any = {"total_max_attempts": 4, "mode": "standard"}
    try:
        client = boto3.client("secretsmanager", config=Config(connect_timeout=5, read_timeout=5, retries=retries))
        text = client.get_secret_value(SecretId=name).get("SecretString")
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and code_of(error) == "ResourceNotFoundException":
            return None
        problem = lakeferry_error(f"Secrets Manager, connection {connection_id!r}", error, _SECRETS_FIXES)
        problem.is_of_all_datasets = not isinstance(problem, ServiceUnavailable)
        raise problem from None
    if text is None:
        raise ConfigurationError(f"secret {name} holds bytes, not text", fix="Store the connection's URI as text")
    return text


def _word(value: object) -> str | None:
    """A text of a connection; a number is taken as it is written."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError("no text")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
