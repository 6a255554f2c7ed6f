"""Errors after a read has begun: the server reported one, or the connection broke or stalled in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
from pymysql.constants import CR

from connectors.connection import Connection, variable_name
from connectors.errors import LakeferryError, ServiceUnavailable
from connectors.mysql.sessions.session import read_timeout_seconds, translate_error
from connectors.mysql.wire.packets import ProtocolError

_LOST = {CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR}


@contextmanager
def read_errors(connection: Connection) -> Iterator[None]:
    """Converts a failure of an open connection to a Lakeferry error.

    Raises:
        AccessDenied, ObjectNotFound, SourceMoved, ServiceError: the server reports it.
        ServiceUnavailable: the server was stopped or stalled, or the connection broke.
    """
    try:
        yield
    except pymysql.MySQLError as error:
        raise _read_error(connection, error) from error


def _read_error(connection: Connection, error: pymysql.MySQLError) -> LakeferryError:
    server = f"{connection.id} ({connection.address})"
    code = error.args[0] if error.args else 0
    if isinstance(error.__cause__ or error.__context__, TimeoutError):
        return ServiceUnavailable(
            f"{server} stopped answering in the middle of a read: {_words(error)}",
            fix=f"Look at the server; if its answers may take longer, raise read_timeout_seconds "
            f"({read_timeout_seconds(connection)}) in {variable_name(connection.id)}",
        )
    if code in _LOST or isinstance(error, ProtocolError | pymysql.err.InterfaceError):
        return ServiceUnavailable(
            f"{server} broke off in the middle of a read: {_words(error)}",
            fix="Look at the server and the network between; run it again, and what is done is not read again",
        )
    return translate_error(connection, error)


def _words(error: pymysql.MySQLError) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__
