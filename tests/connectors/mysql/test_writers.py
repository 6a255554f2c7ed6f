"""A window may end only where the writer says so: a replica, a reader or a read-only server is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from connectors.base import ReadRequest, Window
from connectors.connection import Connection
from connectors.errors import AccessDenied, ConfigurationError, ServiceError, ServiceUnavailable, SourceMoved
from connectors.mysql import AuroraSource, MySQLOptions
from connectors.mysql.sessions.session import Session
from connectors.mysql.sessions.writers import doubt_about
from connectors.mysql.slice_reader import MySQLSliceReader
from tests.support.mysql.own_mariadb import HOST, PASSWORD, OwnMariaDB

BY_TIME = ReadRequest("tests", "things", ("id",), MySQLOptions(table="shop.things", cursor="at", lag_seconds=1))
BY_NUMBER = ReadRequest("tests", "things", ("id",), MySQLOptions(table="shop.things", cursor="id", lag_seconds=1))
JANUARY = Window(start="2026-01-01", end="2026-02-01")
WHOLE = ReadRequest("tests", "things", ("id",), MySQLOptions(table="shop.things"))


@dataclass
class Pair:
    """A writer and its replica; `ferry` has every right there, `low` has what a read by windows needs."""

    writer: OwnMariaDB
    replica: OwnMariaDB

    def source(self, login: str = "ferry", **extra: str) -> AuroraSource:
        return AuroraSource(replace(self.replica.connection(**extra), login=login))

    @contextmanager
    def following(self, *, read_only: bool = True) -> Iterator[None]:
        self.replica.run(f"SET GLOBAL read_only = {int(read_only)}")
        self.replica.follow(self.writer)
        try:
            yield
        finally:
            self.replica.leave()
            self.replica.run("SET GLOBAL read_only = 0")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    writer = OwnMariaDB(tmp_path_factory.mktemp("writer"), "--server-id=1", "--log-bin=binary")
    replica = OwnMariaDB(tmp_path_factory.mktemp("replica"), "--server-id=2")
    for server in (writer, replica):
        server.run("SET sql_log_bin = 0")
        server.run("CREATE DATABASE shop")
        server.run("CREATE TABLE shop.things (id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at))")
        server.run(f"CREATE USER low@'%%' IDENTIFIED BY '{PASSWORD}'", [])
        server.run("GRANT SELECT, PROCESS ON *.* TO low@'%%'", [])
        server.run("SET sql_log_bin = 1")
    writer.run("INSERT INTO shop.things VALUES (1, '2026-01-01')")
    yield Pair(writer, replica)
    replica.stop()
    writer.stop()


@pytest.mark.services
def test_a_read_only_replica_is_refused_for_windows_and_the_fix_names_both_servers(pair: Pair) -> None:
    with pair.following():
        for dataset, window in ((BY_TIME, None), (BY_NUMBER, None), (BY_TIME, JANUARY)):
            with pytest.raises(ConfigurationError) as caught:
                pair.source().plan(dataset, None, window)
            assert str(caught.value) == (
                "AIRFLOW_CONN_OWN_MARIADB pipeline tests dataset things: own_mariadb "
                f"({HOST}:{pair.replica.port}) is a read-only replica of {HOST}:{pair.writer.port}: rows that reach it "
                "late would fall behind a window and never be read. Write the writer as host in "
                f"AIRFLOW_CONN_OWN_MARIADB, and reader_host={HOST}&reader_port={pair.replica.port} to read from this "
                "server."
            )
        for role in ("writer", "archive"):
            with pytest.raises(ConfigurationError, match="read-only replica"):
                pair.source(server_role=role).plan(BY_TIME, None, None)
        # Nothing passes a row by where the whole table is read; a delete would be invented.
        plan = pair.source().plan(WHOLE, None, None)
        assert [warning for warning in plan.warnings if "the next run reads what it lacks" in warning]
        with pytest.raises(ConfigurationError, match="read-only replica"):
            pair.source().plan_key_scan(WHOLE, plan)
        extra = {"reader_host": HOST, "reader_port": str(pair.replica.port)}
        assert AuroraSource(pair.writer.connection(**extra)).plan(BY_TIME, None, None).warnings == ()


@pytest.mark.services
def test_a_server_that_takes_writes_and_replicates_needs_a_word(pair: Pair) -> None:
    with pair.following(read_only=False):
        # A login without the right sees that rows are applied, and not from where.
        _until_applied(pair.replica)
        for login in ("ferry", "low"):
            with pytest.raises(ConfigurationError, match=r"takes writes and also replicates from .*server_role=writer"):
                pair.source(login).plan(BY_TIME, None, None)
        assert pair.source(server_role="writer").plan(BY_TIME, None, None).warnings == ()
        pair.replica.run("STOP SLAVE")
        with pytest.raises(ConfigurationError, match="If this server was promoted, remove the rest of its replication"):
            pair.source().plan(BY_TIME, None, None)


@pytest.mark.services
def test_a_read_only_server_that_replicates_from_nobody_is_refused_until_it_is_called_an_archive(pair: Pair) -> None:
    pair.replica.run("SET GLOBAL read_only = 1")
    try:
        for role in ({}, {"server_role": "writer"}):
            with pytest.raises(ConfigurationError, match=r"is read-only, .*Run again when it takes writes"):
                pair.source(**role).plan(BY_TIME, None, None)
        assert pair.source(server_role="archive").plan(BY_TIME, None, None).warnings == ()
    finally:
        pair.replica.run("SET GLOBAL read_only = 0")


@pytest.mark.services
def test_a_writer_is_read_without_a_word_and_a_login_that_cannot_see_it_is_warned(pair: Pair) -> None:
    for dataset in (BY_TIME, BY_NUMBER, WHOLE):
        assert AuroraSource(pair.writer.connection()).plan(dataset, None, None).warnings == ()
    [warning] = pair.source("low").plan(BY_TIME, None, None).warnings
    assert warning.startswith(
        f"own_mariadb ({HOST}:{pair.replica.port}) takes writes, and whether it replicates cannot"
    )
    assert "GRANT REPLICA MONITOR ON *.* TO 'low'" in warning
    assert pair.source("low", server_role="writer").plan(BY_TIME, None, None).warnings == ()
    assert pair.source("low").plan(WHOLE, None, None).warnings == ()
    with pytest.raises(ConfigurationError, match=r"server_role is 'primary'\. Valid: writer, archive"):
        pair.source(server_role="primary").plan(BY_TIME, None, None)


@pytest.mark.services
def test_an_address_that_leads_to_another_server_after_the_plan_is_found_out(pair: Pair) -> None:
    source = AuroraSource(pair.writer.connection())
    for dataset in (BY_TIME, WHOLE):
        plan = source.plan(dataset, None, None)
        assert source.count(dataset, plan) == {0: 1}
        # As after a failover, or behind an address of several servers.
        with pytest.raises(SourceMoved, match=r"own_mariadb \(.*\) leads to another server than when this was planned"):
            pair.source().count(dataset, plan)
        reader = source.slice_reader(dataset, plan)
        assert isinstance(reader, MySQLSliceReader)
        with reader.open(0) as opened:
            assert opened.source_rows == 1
        elsewhere = replace(reader, connection=pair.replica.connection())
        with pytest.raises(SourceMoved, match="leads to another server") as caught, elsewhere.open(0):
            pass
        assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")
    # Who says that several servers are as good as one is believed.
    assert AuroraSource(pair.writer.connection(server_role="writer")).plan(BY_TIME, None, None).snapshot is None


def _until_applied(replica: OwnMariaDB) -> None:
    while replica.run("SHOW GLOBAL STATUS LIKE 'Slaves_running'")[0][1] == "0":
        continue


@dataclass
class Answers:
    """The answers of a server that is not here, in the shape of its manual: rows by the beginning of the statement."""

    host: str
    version: str
    rows_by_statement: dict[str, list[tuple[Any, ...]] | Exception]
    role: str | None = None

    @property
    def connection(self) -> Connection:
        extra = {"server_role": self.role} if self.role else {}
        return Connection("shop_db", "mysql", self.host, 3306, "ferry", "a-password", extra=extra)

    @property
    def server_version(self) -> str:
        return self.version

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        answer = next((answer for start, answer in self.rows_by_statement.items() if sql.startswith(start)), [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def records(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.rows(sql)]


VARIABLES = "SHOW GLOBAL VARIABLES"
AURORA = [("aurora_version", "3.05.2"), ("innodb_read_only", "OFF"), ("read_only", "OFF"), ("super_read_only", "OFF")]
AURORA_READER = [("aurora_version", "3.05.2"), ("innodb_read_only", "ON"), ("read_only", "ON")]
MYSQL = [("innodb_read_only", "OFF"), ("read_only", "OFF"), ("super_read_only", "OFF")]
CHANNEL = (("Source_Host", "db-1"), ("Source_Port", 3306), ("Channel_Name", ""), ("Replica_SQL_Running", "Yes"))
WRITER_ENDPOINT = "shop.cluster-c7tj4example.ap-northeast-1.rds.amazonaws.com"
INSTANCE = "shop-instance-2.c7tj4example.ap-northeast-1.rds.amazonaws.com"


def doubt(host: str, version: str, answers: dict[str, Any]) -> str | None:
    found = doubt_about(cast(Session, Answers(host, version, answers)))
    return f"{found.problem}: {found.fix}" if found else None


def test_a_reader_of_an_aurora_cluster_is_told_from_its_writer() -> None:
    topology = {"SELECT server_id": [("shop-instance-1",)]}
    assert doubt(WRITER_ENDPOINT, "8.0.32", {VARIABLES: AURORA}) is None
    assert doubt(INSTANCE, "8.0.32", {VARIABLES: AURORA_READER, **topology}) == (
        "is a reader of its Aurora cluster (innodb_read_only is ON): Write the cluster's writer endpoint (now instance "
        f"shop-instance-1) as host in AIRFLOW_CONN_SHOP_DB, and reader_host={INSTANCE}&reader_port=3306 to read from "
        "this server"
    )
    after_a_failover = Answers(WRITER_ENDPOINT, "8.0.32", {VARIABLES: AURORA_READER, **topology})
    found = doubt_about(cast(Session, after_a_failover))
    assert found is not None
    with pytest.raises(ServiceUnavailable, match="A failover is under way, or the address is cached: run again"):
        found.for_window(after_a_failover.connection)
    # A cluster of another region follows by the binary log, and its own writer takes writes.
    crossed = doubt(WRITER_ENDPOINT, "8.0.32", {VARIABLES: AURORA, "SHOW REPLICA": [CHANNEL]})
    assert crossed is not None
    assert crossed.startswith("takes writes and also replicates from db-1:3306: ")


def test_mysql_is_asked_in_the_words_of_its_version() -> None:
    syntax = ServiceError("failed with error 1064")
    syntax.__cause__ = Exception(1064, "You have an error in your SQL syntax")
    old = tuple((name.replace("Source", "Master").replace("Replica", "Slave"), value) for name, value in CHANNEL)
    answers = {VARIABLES: MYSQL, "SHOW REPLICA": syntax, "SHOW SLAVE": [old]}
    assert "also replicates from db-1:3306" in (doubt("db-2", "5.7.44", answers) or "")
    assert doubt("db-2", "8.4.0", {VARIABLES: MYSQL, "SHOW REPLICA": []}) is None
    denied = doubt("db-2", "8.4.0", {VARIABLES: MYSQL, "SHOW REPLICA": AccessDenied("no")})
    assert "GRANT REPLICATION CLIENT ON *.* TO 'ferry'" in (denied or "")
    read_only = [("innodb_read_only", "OFF"), ("read_only", "ON"), ("super_read_only", "ON")]
    refused = doubt("db-2", "8.4.0", {VARIABLES: read_only, "SHOW REPLICA": AccessDenied("no")})
    assert (refused or "").startswith("is read-only")


def test_a_server_whose_neighbours_write_too_needs_a_word() -> None:
    galera = {VARIABLES: [*MYSQL, ("wsrep_on", "ON")], "SHOW GLOBAL STATUS": [("wsrep_cluster_size", "3")]}
    assert "one of 3 Galera nodes" in (doubt("db-2", "10.11.6-MariaDB", galera) or "")
    alone = {**galera, "SHOW GLOBAL STATUS": [("wsrep_cluster_size", "1")]}
    assert doubt("db-2", "10.11.6-MariaDB", alone) is None
    name = ("group_replication_group_name", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
    own = (("Source_Host", ""), ("Source_Port", 0), ("Channel_Name", "group_replication_recovery"))
    for mode, refused in (("OFF", True), ("ON", False)):
        group = [*MYSQL, name, ("group_replication_single_primary_mode", mode)]
        found = doubt("db-2", "8.4.0", {VARIABLES: group, "SHOW REPLICA": [own]})
        assert ("replication group" in (found or "")) is refused


def test_a_tidb_cluster_that_another_one_writes_to_is_read_only() -> None:
    version = "8.0.11-TiDB-v8.5.0"
    variables = [("innodb_read_only", "0"), ("read_only", "OFF"), ("super_read_only", "OFF")]
    assert doubt("tidb", version, {VARIABLES: [*variables, ("tidb_restricted_read_only", "OFF")]}) is None
    secondary = doubt("tidb", version, {VARIABLES: [*variables, ("tidb_restricted_read_only", "ON")]})
    assert (secondary or "").startswith("is read-only, so its rows come from elsewhere")


def proxy(code: int) -> ServiceError:
    error = ServiceError(f"failed with error {code}")
    error.__cause__ = Exception(code, "no")
    return error


@pytest.mark.parametrize("code", [1064, 1105, 1235])
@pytest.mark.parametrize("version", ["8.4.0", "10.11.6-MariaDB"])
def test_a_proxy_that_refuses_to_show_replication_is_a_warning_that_a_role_ends(code: int, version: str) -> None:
    answers: dict[str, Any] = {VARIABLES: MYSQL, "SHOW": proxy(code)}
    server = Answers("proxy", version, answers)
    found = doubt_about(cast(Session, server))
    assert found is not None
    assert not found.certain
    assert "STATUS with an error" in found.problem
    assert "server_role=writer" in found.fix
    assert doubt_about(cast(Session, Answers("proxy", version, answers, role="writer"))) is None
    blind = doubt_about(cast(Session, Answers("proxy", version, {"SHOW": proxy(code)})))
    assert blind is not None
    assert not blind.certain
    gone = Answers("proxy", version, {VARIABLES: MYSQL, "SHOW": ServiceUnavailable("gone")})
    with pytest.raises(ServiceUnavailable):
        doubt_about(cast(Session, gone))


def test_a_proxy_that_splits_reads_from_writes_is_refused() -> None:
    names = ("innodb_read_only", "read_only", "server_id", "super_read_only")
    shown: dict[str, Any] = {VARIABLES: [*MYSQL, ("server_id", "1")], "SHOW REPLICA": []}
    asked = "SELECT " + ", ".join(f"@@global.{name}" for name in names)
    for row, problem in (
        ((0, 0, 1, 0), None),
        ((0, 1, 2, 1), "is read-only"),
        ((0, 0, 2, 0), "answers SHOW and SELECT from two servers"),
    ):
        found = doubt("proxy", "8.4.0", {**shown, asked: [row]})
        assert (found or "None").startswith(str(problem))
    for row, refused in (((0, 0, 2, 0), False), ((0, 1, 2, 1), True)):
        told = doubt_about(cast(Session, Answers("proxy", "8.4.0", {**shown, asked: [row]}, role="writer")))
        assert (told is not None) is refused
    aurora = {VARIABLES: AURORA, "SELECT @@global.innodb_read_only": [(1, 1, 1)]}
    assert (doubt(INSTANCE, "8.0.32", aurora) or "").startswith("is a reader of its Aurora cluster")


def test_a_secondary_of_a_global_database_is_no_failover() -> None:
    secondary = Answers(WRITER_ENDPOINT, "8.0.32", {VARIABLES: AURORA_READER})
    found = doubt_about(cast(Session, secondary))
    assert found is not None
    with pytest.raises(ConfigurationError, match=r"Write the writer endpoint of the primary region's cluster as host"):
        found.for_window(secondary.connection)


@pytest.mark.parametrize("value", ["NO_LOCK", "NO_LOCK_NO_ADMIN", "1"])
def test_every_value_but_off_makes_a_server_read_only(value: str) -> None:
    found = doubt("db-2", "12.0.2-MariaDB", {VARIABLES: [("innodb_read_only", "OFF"), ("read_only", value)]})
    assert (found or "").startswith("is read-only")
