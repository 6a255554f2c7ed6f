"""The list of open transactions is never older than the question, even if others read it, too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from connectors.connection import Connection, find_connection
from connectors.errors import ServiceUnavailable
from connectors.mysql.dialects import innodb_transactions
from connectors.mysql.dialects.innodb_transactions import oldest_transaction
from connectors.mysql.sessions.session import open_session
from jobs.runtime.settings import Settings
from tests.connectors.mysql.conftest import Server

LIST = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {}"


@pytest.fixture
def connection(settings: Settings) -> Connection:
    return find_connection("aurora_payments")


@contextmanager
def read_without_a_pause(connection: Connection) -> Iterator[Event]:
    """Somebody who keeps the list from being renewed, until the event is set."""
    reading, stop = Event(), Event()

    def read() -> None:
        with open_session(connection) as session:
            while not stop.is_set():
                session.value(LIST.format(0))
                reading.set()

    thread = Thread(target=read)
    thread.start()
    try:
        assert reading.wait(30)
        yield stop
    finally:
        stop.set()
        thread.join()


def test_a_transaction_that_the_servers_list_lacks_is_seen(connection: Connection, aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY")
    with open_session(connection) as writer, open_session(connection) as session:
        with read_without_a_pause(connection) as stop:
            began = session.value("SELECT UTC_TIMESTAMP()")
            writer.rows("BEGIN")
            writer.rows(f"INSERT INTO {table} VALUES (1)")
            me = writer.value("SELECT CONNECTION_ID()")
            # What anybody sees who just asks.
            assert session.value(LIST.format(me)) == 0
            Thread(target=lambda: stop.wait(0.5) or stop.set()).start()
            found = oldest_transaction(session)
        assert session.value(LIST.format(me)) == 1
        writer.rows("ROLLBACK")
    assert found is not None
    assert found <= began


def test_a_list_that_is_never_renewed_is_told(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(innodb_transactions, "_PATIENCE_SECONDS", 1.0)
    with (
        open_session(connection) as session,
        read_without_a_pause(connection),
        pytest.raises(ServiceUnavailable, match=r"aurora_payments: information_schema\.innodb_trx is older than 1 s"),
    ):
        oldest_transaction(session)


def test_lakeferries_that_ask_at_once_let_one_another_see_a_new_list(connection: Connection) -> None:
    look = (
        "from connectors.connection import find_connection; from connectors.mysql.sessions.session import open_session;"
        " from connectors.mysql.dialects.innodb_transactions import oldest_transaction\n"
        f"with open_session(find_connection({connection.id!r})) as session:\n"
        "    for _ in range(5): oldest_transaction(session)"
    )
    asking = [subprocess.Popen([sys.executable, "-c", look], stderr=subprocess.PIPE, text=True) for _ in range(6)]
    assert [one.communicate()[1] for one in asking] == [""] * len(asking)
