"""Connections as Airflow knows them, for the environment of a child process.

Airflow does not say whether a connection is missing or a secrets backend failed: `airflow.sdk` asks one backend after
the other, passes over each that raises, and reports "isn't defined" in both cases (`_get_connection` in
airflow/sdk/execution_time/context.py). The backend that asks the API server answers None for any error but a refusal
(execution_api.py), and Amazon's answers None where Secrets Manager has an internal error (secrets_manager.py). So a
connection that was not found is looked for again, backend by backend, in a way that shows a failure. After a failure
the backends are asked a few times more. A connection of which there is still no certain answer is in doubt: its child
looks for it too, and ends with a code that Airflow retries where it finds nothing (`connectors.connection`).
"""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk import exceptions as airflow_exceptions
from airflow.sdk.exceptions import AirflowNotFoundException

from connectors.connection import IN_DOUBT_VARIABLE, variable_name
from connectors.errors import AccessDenied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAUSES_SECONDS = (1.0, 2.0, 4.0)
# A refusal by Airflow itself is final; Airflow 3.2 has no class for it.
_REFUSED: Any = getattr(airflow_exceptions, "AirflowSecretsBackendAccessDenied", ())
_ENVIRONMENT = "EnvironmentVariablesBackend"
_API = "ExecutionAPISecretsBackend"
_AMAZON = "SecretsManagerBackend"
log = logging.getLogger(__name__)


class _NoAnswer(Exception):
    """Some backend failed. The text names it and the class of its error, and holds no secret."""


def connection_variables(connections: Sequence[str], sleep: Callable[[float], None] = time.sleep) -> dict[str, str]:
    """The connections as Airflow knows them (its database included), as variables for a child's environment.

    One that Airflow does not have is left out: the stage itself then says where it looked. One of which Airflow's
    backends give no certain answer, not even when asked again, is named in `LAKEFERRY_CONNECTIONS_IN_DOUBT`.

    Args:
        sleep: waits for so many seconds between two questions.

    Raises:
        AccessDenied: Airflow refuses a connection to this task.
    """
    variables = {}
    doubtful = []
    for connection in connections:
        try:
            answer = _asked_again(connection, sleep)
        except _NoAnswer as error:
            log.warning("Connection %s: no certain answer from Airflow's secrets backends: %s", connection, error)
            doubtful.append(connection)
            continue
        if answer is not None:
            variables[variable_name(connection)] = answer
    if doubtful:
        variables[IN_DOUBT_VARIABLE] = ",".join(doubtful)
    return variables


def _asked_again(connection: str, sleep: Callable[[float], None]) -> str | None:
    for pause in _PAUSES_SECONDS:
        try:
            return _asked(connection)
        except _NoAnswer as error:
            log.info("Connection %s: %s. Asking again in %s seconds", connection, error, pause)
        sleep(pause)
    return _asked(connection)


def _asked(connection: str) -> str | None:
    """The connection as JSON or a URI, None where every backend says that it has none."""
    try:
        return str(BaseHook.get_connection(connection).as_json())
    except AirflowNotFoundException:
        pass
    except _REFUSED:
        raise AccessDenied(
            f"Airflow refuses connection {connection!r} to this task", fix="Grant it to the team or the Dag's tasks"
        ) from None
    except Exception as error:  # noqa: BLE001 - a backend raises what it likes
        raise _NoAnswer(type(error).__name__) from None
    for backend in _backends():
        _assert_missing(backend, connection)
    # What Airflow passes over because it cannot read it: the child then says what is wrong with it.
    return os.environ.get(variable_name(connection))


def _backends() -> list[Any]:
    try:
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

        return list(ensure_secrets_backend_loaded())
    except Exception as error:  # noqa: BLE001 - a backend raises what it likes
        raise _NoAnswer(f"the secrets backends do not load: {type(error).__name__}") from None


def _assert_missing(backend: Any, connection: str) -> None:
    """Ask one backend in a way that distinguishes a failure from a missing connection."""
    name = type(backend).__name__
    try:
        if name == _ENVIRONMENT:
            return
        if name == _API:
            failure = _failure_of_api(connection)
        elif name == _AMAZON:
            failure = _failure_of_amazon(backend, connection)
        else:
            failure = "it has the connection by now" if backend.get_connection(conn_id=connection) else None
    except Exception as error:  # noqa: BLE001 - a backend raises what it likes
        raise _NoAnswer(f"{name} raises {type(error).__name__}") from None
    if failure:
        raise _NoAnswer(f"{name}: {failure}")


def _failure_of_api(connection: str) -> str | None:
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer = SUPERVISOR_COMMS.send(GetConnection(conn_id=connection))
    if not isinstance(answer, ErrorResponse):
        return "it has the connection by now"
    return None if answer.error == ErrorType.CONNECTION_NOT_FOUND else answer.error.value


def _failure_of_amazon(backend: Any, connection: str) -> str | None:
    """What Secrets Manager itself answers; it is asked for the secret that the backend would ask for."""
    prefix, pattern = backend.connections_prefix, backend.connections_lookup_pattern
    if prefix is None or (pattern and not re.match(pattern, connection, re.IGNORECASE)):
        return None  # It is configured not to ask.
    path = backend.build_path(prefix, connection, backend.sep) if prefix else connection
    try:
        backend.client.get_secret_value(SecretId=path)
    except backend.client.exceptions.ResourceNotFoundException:
        return None
    return "it has the connection by now"
