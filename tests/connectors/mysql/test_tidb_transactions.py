"""Open transactions of a TiDB cluster are those of all its servers: where one does not answer, nothing is planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from connectors.base import ReadRequest
from connectors.connection import Connection
from connectors.errors import AccessDenied, ServiceUnavailable
from connectors.mysql import MySQLOptions, TiDBSource
from connectors.mysql.dialects.tidb_transactions import oldest_transaction
from connectors.mysql.sessions.session import Session, open_session
from tests.support.mysql.own_mariadb import HOST, Authority
from tests.support.mysql.own_tidb import OwnTiDB


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTiDB]:
    """A TiDB that no server of its cluster can ask, itself included: it does not listen on its status port."""
    folder: Path = tmp_path_factory.mktemp("unreachable")
    Authority(folder, "authority").certify(folder, HOST)
    server = OwnTiDB(folder, HOST, "mysql_native_password", "-report-status=false")
    yield server
    server.stop()


@pytest.mark.services
def test_a_server_that_does_not_answer_for_its_transactions_stops_the_plan_and_is_named(unreachable: OwnTiDB) -> None:
    with open_session(unreachable.connection()) as session:
        session.rows("CREATE DATABASE shop")
        session.rows("CREATE TABLE shop.things (id INT PRIMARY KEY, at DATETIME(6) NOT NULL, KEY (at))")
        # Half of the 40 seconds that TiDB tries by default.
        session.rows("SET GLOBAL tidb_backoff_weight = 1")
        session.rows("BEGIN")
        session.rows("INSERT INTO shop.things VALUES (1, UTC_TIMESTAMP(6))")
        source = TiDBSource(unreachable.connection())
        by_time = ReadRequest("tests", "things", ("id",), MySQLOptions(table="shop.things", cursor="at", lag_seconds=1))
        with pytest.raises(ServiceUnavailable) as caught:
            source.plan(by_time, None, None)
        session.rows("COMMIT")
    message = str(caught.value)
    assert "not every TiDB server answered for its open transactions" in message
    assert f"{HOST}:{unreachable.status_port}" in message
    assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")


@dataclass
class Cluster:
    """The answers of a cluster of several servers, which is not here, by the table they are asked of."""

    answers: dict[str, list[tuple[Any, ...]] | Exception]
    connection = Connection("tidb_wallet", "mysql", "10.0.0.9", 4000, "ferry")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        answer = next((answer for name, answer in self.answers.items() if name in sql), [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def value(self, sql: str) -> Any:
        rows = self.rows(sql)
        return rows[0][0] if rows else None


SINCE = datetime(2026, 11, 20, 10)
TWO = [("10.0.0.1", 10080), ("10.0.0.2", 10080)]


def oldest(**answers: list[tuple[Any, ...]] | Exception) -> datetime | None:
    asked = {
        name.upper().replace("_", " ") if name == "show_warnings" else name: rows for name, rows in answers.items()
    }
    return oldest_transaction(cast(Session, Cluster(asked)))


def test_a_cluster_whose_servers_all_answer_is_believed() -> None:
    both = [("10.0.0.1:10080",), ("10.0.0.2:10080",)]
    assert oldest(cluster_tidb_trx=[(SINCE,)], tidb_servers_info=TWO, cluster_memory_usage=both) == SINCE
    assert oldest(cluster_tidb_trx=[(None,)], tidb_servers_info=TWO, cluster_memory_usage=both) is None
    note = [("Note", 1105, "something to know")]
    assert (
        oldest(cluster_tidb_trx=[(SINCE,)], show_warnings=note, tidb_servers_info=[], cluster_memory_usage=[]) == SINCE
    )
    # An old TiDB, a login that may not look, and the security enhanced mode leave the warnings to say it.
    no = AccessDenied("no")
    assert oldest(cluster_tidb_trx=[(SINCE,)], tidb_servers_info=TWO, cluster_memory_usage=no) == SINCE
    assert oldest(cluster_tidb_trx=[(SINCE,)], tidb_servers_info=no, cluster_memory_usage=both) == SINCE
    hidden = [(None, 10080), (None, 10080)]
    assert oldest(cluster_tidb_trx=[(SINCE,)], tidb_servers_info=hidden, cluster_memory_usage=[("a-uuid",)]) == SINCE


def test_a_server_that_is_silent_is_named() -> None:
    with pytest.raises(ServiceUnavailable, match=r"tidb_wallet .*: TiDB server 10\.0\.0\.2:10080 did not answer"):
        oldest(cluster_tidb_trx=[(None,)], tidb_servers_info=TWO, cluster_memory_usage=[("10.0.0.1:10080",)])
    timeout = [("Warning", 9002, "TiDB server timeout, address is 10.0.0.2:10080")]
    with pytest.raises(ServiceUnavailable, match=r"answered .*\(TiDB server timeout, address is 10\.0\.0\.2:10080\)"):
        oldest(cluster_tidb_trx=[(SINCE,)], show_warnings=timeout)
