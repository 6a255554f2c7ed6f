"""What a failed JDBC read means: Java's chain of causes, told as PyMySQL's errors are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymysql.constants import ER

from connectors.connection import Connection, variable_name
from connectors.errors import LakeferryError, ServiceUnavailable
from connectors.mysql.reader import behind
from connectors.mysql.session import read_timeout_seconds, server_error
from connectors.mysql.tls import TlsFault, tls_error

_UNREACHED = ("Socket fail to connect", "Socket timeout when connecting", "Could not connect to")
# Words of Connector/J 3.5 and of Java's own TLS, most telling first: an out-of-date certificate, too, fails "PKIX".
_TLS_FAULTS: tuple[tuple[str, TlsFault], ...] = (
    ("ssl not enabled in the server", "plaintext"),
    ("hostname verification failed", "other host"),
    ("validity check failed", "out of date"),
    ("CertificateExpiredException", "out of date"),
    ("CertificateNotYetValidException", "out of date"),
    ("PKIX path", "untrusted"),
    ("SSLHandshakeException", "other"),
    ("SSLException", "other"),
)


@dataclass(frozen=True)
class _Cause:
    type: str
    message: str
    code: int
    """The server's error number where it sent one."""


@contextmanager
def jdbc_errors(connection: Connection) -> Iterator[None]:
    """Let a failure of the JDBC driver, on the driver or in a task, leave as an error of Lakeferry's.

    Raises:
        ConfigurationError: the server's TLS is not what the connection asks for.
        AccessDenied, ObjectNotFound, SourceMoved: the server says so.
        ServiceUnavailable: it does not answer, it is a reader that is behind, or it broke off and the
            task's other attempts failed as well.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        known = _told(connection, _causes(error))
        if known is None:
            raise
        raise known from error


def _causes(error: Any) -> list[_Cause]:
    """The chain of Java exceptions behind an error of PySpark's, outermost first."""
    exception = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    found: list[_Cause] = []
    while exception is not None:
        name = str(exception.getClass().getName())
        code = int(exception.getErrorCode()) if name.startswith("java.sql.") else 0
        found.append(_Cause(name, str(exception.getMessage() or ""), code))
        exception = exception.getCause()
    return found


def _told(connection: Connection, causes: list[_Cause]) -> LakeferryError | None:
    start = next((n for n, cause in enumerate(causes) if cause.type.startswith("java.sql.")), None)
    if start is None:
        return None
    first, last = causes[start], causes[-1]
    words = " ".join(f"{cause.type}: {cause.message}" for cause in causes[start:])
    fault = next((fault for mark, fault in _TLS_FAULTS if mark in words), None)
    if fault is not None:
        return tls_error(connection, fault, last.message.splitlines()[0] if last.message else last.type)
    if first.code == ER.SUBQUERY_NO_1_ROW:
        return behind(connection)
    if first.code > 0:
        return server_error(connection, first.code, first.message)
    server = f"{connection.id} ({connection.address})"
    if any(mark in words for mark in _UNREACHED):
        return server_error(connection, None, first.message)
    if last.type == "java.net.SocketTimeoutException":
        return ServiceUnavailable(
            f"{server} stopped answering in the middle of a read: {last.message}",
            fix=f"Look at the server; if its answers may take longer, raise read_timeout_seconds "
            f"({read_timeout_seconds(connection)}) in {variable_name(connection.id)}",
        )
    if "Connection" in first.type:
        return ServiceUnavailable(
            f"{server} broke off in the middle of a read: {first.message}: {last.message}",
            fix="Look at the server and the network between; run it again, and what is done is not read again",
        )
    return server_error(connection, first.code, first.message)
