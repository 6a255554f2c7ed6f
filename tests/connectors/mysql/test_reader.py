"""A reader endpoint: tables are read there, and a replica that lags behind its writer loses no row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from connectors.base import ReadRequest
from connectors.errors import ConfigurationError, ServiceUnavailable
from connectors.mysql import AuroraSource, MySQLOptions
from connectors.mysql.dialects.dialects import InnoDB
from connectors.mysql.sessions.replica import MYSQL, has_reached_sql
from connectors.mysql.sessions.session import open_session
from connectors.mysql.slice_reader import MySQLSliceReader
from connectors.mysql.spark_read import read_slices
from tests.connectors.mysql.conftest import Server
from tests.support.mysql.own_mariadb import HOST, OwnMariaDB, free_port

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WITH_CURSOR = ReadRequest("tests", "things", ("id",), MySQLOptions(table="shop.things", cursor="at", lag_seconds=1))
WHOLE = ReadRequest("tests", "things", ("id",), MySQLOptions(table="shop.things"))


@dataclass
class Cluster:
    """A writer and its replica, with one table of ours on both."""

    writer: OwnMariaDB
    replica: OwnMariaDB

    def source(self, **extra: str) -> AuroraSource:
        reader = {"reader_host": HOST, "reader_port": str(self.replica.port), "reader_wait_seconds": "20"}
        return AuroraSource(self.writer.connection(**{**reader, **extra}))

    def insert(self, *ids: int) -> None:
        for number in ids:
            self.writer.run("INSERT INTO shop.things VALUES (%s, '2026-01-01')", [number])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    writer = OwnMariaDB(tmp_path_factory.mktemp("writer"), "--server-id=1", "--log-bin=binary")
    replica = OwnMariaDB(tmp_path_factory.mktemp("replica"), "--server-id=2", "--read-only")
    writer.run("CREATE DATABASE shop")
    writer.run("CREATE TABLE shop.things (id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at))")
    replica.follow(writer)
    yield Cluster(writer, replica)
    replica.stop()
    writer.stop()


@pytest.fixture
def cluster(servers: Cluster) -> Iterator[Cluster]:
    yield servers
    servers.replica.run("START SLAVE SQL_THREAD")
    servers.writer.run("DELETE FROM shop.things")


def test_tables_are_read_at_the_reader_and_the_writer_says_where_a_window_ends(
    cluster: Cluster, spark: SparkSession
) -> None:
    cluster.insert(1, 2)
    source = cluster.source()
    plan = source.plan(WITH_CURSOR, None, None)
    # A row that the writer lacks, so a read that sees it looks at the reader.
    cluster.replica.run("INSERT INTO shop.things VALUES (99, '2026-01-01')")
    try:
        assert sorted(row.id for row in source.read(spark, WITH_CURSOR, plan).collect()) == [1, 2, 99]
        assert source.count(WITH_CURSOR, plan) == {0: 3}
    finally:
        cluster.replica.run("DELETE FROM shop.things WHERE id = 99")
    writer = cluster.writer.connection()
    assert [row.id for row in AuroraSource(writer).read(spark, WITH_CURSOR, plan).sort("id").collect()] == [1, 2]
    held = source.connection
    with open_session(writer) as session:
        session.rows("BEGIN")
        session.rows("INSERT INTO shop.things VALUES (3, UTC_TIMESTAMP())")
        session.rows("DO SLEEP(2.1)")
        warnings = AuroraSource(held).plan(WITH_CURSOR, None, None).warnings
        session.rows("ROLLBACK")
    assert any("oldest open transaction: it is open since" in warning for warning in warnings)


def test_a_replica_that_lags_loses_no_row(cluster: Cluster, spark: SparkSession) -> None:
    cluster.insert(1)
    first = cluster.source().plan(WITH_CURSOR, None, None)
    assert [row.id for row in cluster.source().read(spark, WITH_CURSOR, first).collect()] == [1]
    cluster.replica.run("STOP SLAVE SQL_THREAD")
    # Committed in time for the next window, and not at the replica: a window planned there would pass it by.
    day = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    cluster.writer.run("INSERT INTO shop.things VALUES (2, %s)", [day])
    cluster.writer.run("DO SLEEP(2.1)")
    with pytest.raises(ServiceUnavailable, match="is behind: it has not got what the writer had") as caught:
        cluster.source(reader_wait_seconds="0").plan(WITH_CURSOR, first.position, None)
    assert f"reader own_mariadb ({HOST}:{cluster.replica.port})" in str(caught.value)
    assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")
    cluster.replica.run("START SLAVE SQL_THREAD")
    second = cluster.source().plan(WITH_CURSOR, first.position, None)
    assert [row.id for row in cluster.source().read(spark, WITH_CURSOR, second).collect()] == [2]


@pytest.mark.services
def test_a_plan_waits_for_a_replica_that_catches_up_and_says_so(cluster: Cluster) -> None:
    cluster.replica.run("STOP SLAVE")
    cluster.replica.run("CHANGE MASTER TO master_delay = 3")
    cluster.replica.run("START SLAVE")
    try:
        cluster.insert(1)
        plan = cluster.source().plan(WHOLE, None, None)
    finally:
        cluster.replica.run("STOP SLAVE")
        cluster.replica.run("CHANGE MASTER TO master_delay = 0")
        cluster.replica.run("START SLAVE")
    assert len(plan.slices) == 1
    assert any(f"reader {HOST}:{cluster.replica.port} was behind the writer" in text for text in plan.warnings)


def test_each_connection_of_a_task_proves_that_it_is_not_behind(cluster: Cluster, spark: SparkSession) -> None:
    """A reader endpoint may lead a task to another replica than planning."""
    cluster.insert(1)
    source = cluster.source()
    plan = source.plan(WHOLE, None, None)
    reader = source.slice_reader(WHOLE, plan)
    rows = source.read(spark, WHOLE, plan)
    assert [row.id for row in rows.collect()] == [1]
    cluster.replica.run("STOP SLAVE SQL_THREAD")
    cluster.insert(2)
    with open_session(cluster.writer.connection()) as session:
        ahead = InnoDB().freeze(session, has_reader=True)
    assert isinstance(reader, MySQLSliceReader)
    later = replace(reader, variables=InnoDB().session_variables(ahead), snapshot=ahead)
    with pytest.raises(ServiceUnavailable, match="is behind") as caught, later.open(0):
        pass
    assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")
    with pytest.raises(ServiceUnavailable, match="is behind"), source.connections(plan):
        read_slices(spark, later, plan.columns, [0], 1, "nothing").collect()
    with pytest.raises(ServiceUnavailable, match="is behind"):
        cluster.source(reader_wait_seconds="0").count(WHOLE, plan.model_copy(update={"snapshot": ahead}))


def test_a_writer_without_gtids_has_no_reader(aurora: Server) -> None:
    extra = {"reader_host": HOST, "reader_port": str(aurora.connection.port)}
    source = aurora.source(connection=replace(aurora.connection, extra=extra))
    table = aurora.table("id INT PRIMARY KEY")
    # One and the same server is no reader: another name for it makes it one.
    elsewhere = replace(aurora.connection, extra={**extra, "reader_host": "localhost"})
    with pytest.raises(ConfigurationError, match=r"writes no GTIDs, so its reader .* cannot prove"):
        aurora.source(connection=elsewhere).plan(aurora.dataset(table), None, None)
    [(number,)] = aurora.run("SELECT @@server_id")
    assert source.plan(aurora.dataset(table), None, None).snapshot == {"server_id": str(number)}


def test_tidb_reads_at_one_timestamp_wherever_it_is_read(tidb: Server, spark: SparkSession) -> None:
    table = tidb.table("id INT PRIMARY KEY")
    tidb.run(f"INSERT INTO {table} VALUES (1)")
    extra = {"reader_host": "localhost", "reader_port": str(tidb.connection.port), "ssl_mode": "disabled"}
    source = tidb.source(connection=replace(tidb.connection, extra=extra))
    dataset = tidb.dataset(table)
    plan = source.plan(dataset, None, None)
    tidb.run(f"INSERT INTO {table} VALUES (2)")
    assert [row.id for row in source.read(spark, dataset, plan).collect()] == [1]
    assert source.ping().endswith(f"reader localhost:{tidb.connection.port}: {tidb.source().ping()}")


@pytest.mark.services
def test_a_reader_that_is_down_is_told_by_its_address(cluster: Cluster) -> None:
    port = free_port()
    with pytest.raises(ServiceUnavailable, match=rf"own_mariadb \({HOST}:{port}\) does not answer"):
        cluster.source(reader_port=str(port)).plan(WHOLE, None, None)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"reader_port": "3306"}, "reader_port is '3306', reader_host None"),
        ({"reader_host": "a", "reader_port": "x"}, "reader_port is 'x'"),
        ({"reader_host": "a b"}, "'a b' is not a host name"),
    ],
)
def test_a_reader_that_is_none_is_refused(aurora: Server, extra: dict[str, str], message: str) -> None:
    connection = replace(aurora.connection, extra=extra)
    with pytest.raises(ConfigurationError, match=message):
        aurora.source(connection=connection).ping()


def test_mysql_is_asked_in_its_own_words() -> None:
    """The server is not here: these are the words of its manual."""
    assert has_reached_sql({MYSQL: "3e11fa47:1-5"}, 1) == (
        "(WAIT_FOR_EXECUTED_GTID_SET(_utf8mb4 X'33653131666134373a312d35', 1) = 0)"
    )
