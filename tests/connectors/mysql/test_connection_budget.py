"""`max_connections` is read from the connection and shared out in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest

from connectors.connection import Connection
from connectors.errors import ConfigurationError
from connectors.mysql import AuroraSource
from connectors.mysql.sessions.connection_budget import ConnectionBudget, budget_of
from tests.connectors.mysql.conftest import Server

NARROW = Connection(id="narrow", conn_type="mysql", host="db", port=3306)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "٣"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AuroraSource(replace(NARROW, extra={"max_connections": text})).ping()
    assert "AIRFLOW_CONN_NARROW" in str(caught.value)
    assert "max_connections=4" in str(caught.value)


def test_four_where_nothing_is_said() -> None:
    assert budget_of(NARROW).most == 4
    assert budget_of(replace(NARROW, extra={"max_connections": "9"})).most == 9
    assert budget_of(NARROW) is budget_of(replace(NARROW, login="somebody"))


def test_one_takes_what_is_free_and_the_next_waits_for_one() -> None:
    budget = ConnectionBudget(3)
    waits = Event()
    with ThreadPoolExecutor(1) as pool:

        def second() -> int:
            waits.set()
            with budget.taken(2) as permits:
                return permits

        with budget.taken(8) as permits:
            assert permits == 3
            with budget.taken(5) as inside:
                assert inside == 3
            later = pool.submit(second)
            waits.wait()
            assert not later.done()
        assert later.result() == 2
    with budget.taken(8) as permits:
        assert permits == 3


def test_one_connection_is_enough_to_plan_and_count(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY")
    server.run(f"INSERT INTO {table} VALUES (1), (2), (3), (4), (5)")
    connection = replace(server.connection, extra={**server.connection.extra, "max_connections": "1"})
    source = server.source(rows_per_slice=2, connection=connection)
    plan = source.plan(server.dataset(table), None, None)
    with source.connections(plan):
        assert sum(source.count(server.dataset(table), plan).values()) == 5
