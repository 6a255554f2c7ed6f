"""The end of a window over numbers: no number below it may be committed later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors.base import Window
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import open_session
from connectors.mysql.windows.cursors import Cursor
from connectors.mysql.windows.window import settled_number
from tests.connectors.mysql.conftest import Server


@pytest.mark.parametrize(("kind", "lowest"), [("INT", "-2147483648"), ("BIGINT UNSIGNED", "0")])
def test_a_window_that_is_held_back_ends_below_every_number(server: Server, kind: str, lowest: str) -> None:
    table = server.table(f"id {kind} PRIMARY KEY, v INT")
    dataset = server.dataset(table, "id")
    writer = server.connect()
    with writer.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {table} VALUES (50, 1)")
    # Rows that may be committed while the plan waits lie below: 51 is such a row.
    server.run(f"INSERT INTO {table} VALUES (51, 1), (52, 1)")
    first = server.source().plan(dataset, None, None)
    assert (first.window, first.position) == (Window(start=None, end=lowest), {"cursor": lowest})
    assert [piece.planned_rows or 0 for piece in first.slices] in ([], [0])
    later = server.source().plan(dataset, {"cursor": "5"}, None)
    assert (later.window, later.position) == (Window(start="5", end="5"), {"cursor": "5"})
    writer.rollback()
    writer.close()


def test_an_empty_table_keeps_the_position_below_every_number(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, v INT")
    assert server.source().plan(server.dataset(table, "id"), None, None).position == {"cursor": "-2147483648"}


def test_a_transaction_that_begins_while_the_highest_number_is_waited_for_is_waited_for(aurora: Server) -> None:
    table, locked = aurora.table("id INT PRIMARY KEY, v INT"), aurora.table("one INT")
    aurora.run(f"INSERT INTO {table} VALUES (1, 1)")
    aurora.run(f"INSERT INTO {locked} VALUES (1)")
    view = f"{table}_joined"
    aurora.run(f"CREATE VIEW {view} AS SELECT t.id, t.v FROM {table} t JOIN {locked} o ON o.one = 1")
    locker, writer = aurora.connect(), aurora.connect()
    with locker.cursor() as lock, writer.cursor() as write, ThreadPoolExecutor(1) as pool:
        lock.execute(f"LOCK TABLES {locked} WRITE")
        # Not the whole plan: that would wait for the lock before it comes to the highest number.
        settled = pool.submit(_settled, aurora, view)
        waiting = "info LIKE 'SELECT MAX(%' AND state = 'Waiting for table metadata lock'"
        while not aurora.run(f"SELECT COUNT(*) FROM information_schema.processlist WHERE {waiting}")[0][0]:
            assert not settled.done(), settled.result()
        # The clock of a statement stands still while it waits; InnoDB gives the starts of transactions in seconds.
        aurora.run("DO SLEEP(1.1)")
        write.execute("BEGIN")
        write.execute(f"INSERT INTO {table} VALUES (2, 1)")
        aurora.run(f"INSERT INTO {table} VALUES (3, 1)")
        lock.execute("UNLOCK TABLES")
        assert settled.result(60) == "-2147483648"
        writer.rollback()
    locker.close()
    writer.close()


def _settled(server: Server, table: str) -> str:
    cursor = Cursor("id", "number", lowest=-(2**31))
    with open_session(server.connection) as session:
        end, _ = settled_number(session, server.source().dialect, TableName.parse(table), cursor, 2)
        return end
