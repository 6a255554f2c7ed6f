"""A bug in a transform is the user's to mend; a service that is down, or Spark itself, is not the transform's."""

from __future__ import annotations

import socket
from http.client import IncompleteRead

import pytest
import requests
from botocore.exceptions import EndpointConnectionError
from py4j.protocol import Py4JNetworkError
from pyspark.errors import PySparkException

from connectors.errors import LakeMoved, TransformFailed
from jobs.stages.transform.transform_failure import mistakes_of

SECRET = "4111111111111111"


class _OfSpark(PySparkException):
    def __init__(self, text: str, state: str | None) -> None:
        super().__init__(text)
        self._state = state

    def getSqlState(self) -> str | None:
        return self._state


def _raised(error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as caught, mistakes_of("mart.sales:daily", "sales"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        TypeError(SECRET),
        KeyError(SECRET),
        SystemExit(SECRET),
        FileNotFoundError(2, "No such file or directory", SECRET),
        _OfSpark(f"[CAST_INVALID_INPUT] {SECRET}", "22018"),
        _OfSpark(f"[UNRESOLVED_COLUMN] {SECRET}", "42703"),
        _OfSpark(f'Traceback (most recent call last):\n  File "/app/mart.py", line 3\nKeyError: {SECRET}\n', None),
    ],
)
def test_a_bug_is_the_users_with_class_and_place(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    raised = _raised(error)
    assert isinstance(raised, TransformFailed)
    assert raised.exit_code == 2
    assert str(raised).startswith(f"transform mart.sales:daily raised {type(error).__name__}")
    assert "tests/jobs/stages/transform/test_transform_failure.py:" in str(raised)
    assert "The trace is on stderr" in str(raised)
    trace = capsys.readouterr().err
    assert "test_transform_failure.py" in trace
    assert SECRET not in str(raised) + trace


def _in_a_worker(raised: str) -> _OfSpark:
    """What Spark raises if a function raised this in a worker."""
    trace = (
        f'Traceback (most recent call last):\n  File "/app/mart.py", line 3, in rate\n    return ask(row)\n{raised}\n'
    )
    return _OfSpark(
        "An exception was thrown from the Python worker. Please see the stack trace below.\n"
        f"{trace}\n\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:581)\n",
        None,
    )


@pytest.mark.parametrize(
    "raised",
    [
        f"KeyError: '{SECRET}'",
        f"FileNotFoundError: [Errno 2] No such file or directory: '{SECRET}'",
        f"ValueError: Connect to the service\nConnectionResetError: {SECRET}",
        f"mart.errors.ConnectionError: {SECRET}",
        "AssertionError",
    ],
)
def test_a_bug_in_a_worker_is_the_users(raised: str) -> None:
    assert isinstance(_raised(_in_a_worker(raised)), TransformFailed)


@pytest.mark.parametrize(
    "raised",
    [
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        "TimeoutError: timed out",
        "TimeoutError",
        "OSError: [Errno 28] No space left on device",
        "MemoryError",
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='rates')",
        "http.client.IncompleteRead: IncompleteRead(7 bytes read)",
        "aiohttp.client_exceptions.ClientConnectorError: Cannot connect to host",
        "urllib3.exceptions.ProtocolError: ('Connection broken', )",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
    ],
)
def test_what_may_pass_in_a_worker_stays_what_it_is(raised: str) -> None:
    error = _in_a_worker(raised)
    assert _raised(error) is error


@pytest.mark.parametrize(
    "error",
    [
        LakeMoved("another run came first"),
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError("read"),
        OSError(28, "No space left on device"),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        requests.HTTPError("503 Service Unavailable"),
        EndpointConnectionError(endpoint_url="https://service"),
        MemoryError(),
        RuntimeError("HTTPSConnectionPool: Connection refused"),
        Py4JNetworkError("the JVM is gone"),
        IncompleteRead(b"half"),
        _OfSpark("Job aborted: executor lost", None),
        _OfSpark("internal", "XX000"),
    ],
)
def test_what_fails_around_a_transform_stays_what_it_is(error: BaseException) -> None:
    assert _raised(error) is error
