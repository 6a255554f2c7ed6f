"""Logins: only a server that proved to be the intended one learns the password, for any question it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from connectors.base import Column
from connectors.connection import Connection
from connectors.errors import ConfigurationError
from connectors.mysql import AuroraSource, TiDBSource
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import open_session
from connectors.mysql.sessions.tls import with_authority_as_text
from connectors.mysql.slice_reader import MySQLSliceReader
from connectors.mysql.spark_read import read_slices
from connectors.spark_errors import errors_of_workers
from tests.support.mysql.asking_server import AskingServer, Demand
from tests.support.mysql.own_mariadb import HOST, PASSWORD, Authority
from tests.support.mysql.own_tidb import OwnTiDB

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


ELSEWHERE = "127.0.0.2"
"""An address of this machine that a connection does not take for the loopback interface."""

REVEALING = {
    "clear": Demand(switch="mysql_clear_password"),
    "dialog": Demand(switch="dialog"),
    "old": Demand(switch="mysql_old_password"),
    "unknown": Demand(switch="authentication_ldap_simple_client"),
    "in no ASCII": Demand(switch="プラグイン"),
}
SHA2 = {
    "sha256 greeting": Demand(greeting="sha256_password"),
    "sha256 switch": Demand(switch="sha256_password"),
    "caching greeting": Demand(greeting="caching_sha2_password"),
    "caching switch": Demand(switch="caching_sha2_password"),
}
ANSWERED_BY_PYMYSQL = {name: REVEALING[name] for name in ("clear", "dialog")} | SHA2
"""PyMySQL knows no answer to the others, and breaks off."""

MakeServer = Callable[..., AskingServer]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for both addresses, and the authority's `rogue.pem`."""
    folder = tmp_path_factory.mktemp("certificate")
    Authority(folder, "rogue").certify(folder, HOST, ELSEWHERE)
    return folder


@pytest.fixture
def asking() -> Iterator[MakeServer]:
    servers: list[AskingServer] = []

    def make(*arguments: Any, **more: Any) -> AskingServer:
        servers.append(AskingServer(*arguments, **more))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def connection_to(server: AskingServer, host: str, **extra: str) -> Connection:
    return Connection("asked", "mysql", host, server.port, "ferry", PASSWORD, extra=extra)


def tasks_reader(connection: Connection) -> MySQLSliceReader:
    """What tasks read with, made without a look at the server."""
    return MySQLSliceReader(
        pipeline="tests",
        dataset="things",
        connection=with_authority_as_text(connection),
        table=TableName("information_schema", "schemata"),
        columns=(Column(name="schema_name", source_type="varchar(64)", spark_type="string"),),
        conditions={0: "TRUE"},
    )


def read_as_a_task(connection: Connection) -> int:
    """Read a slice in this process, as a task does; how many rows it has."""
    with tasks_reader(connection).open(0) as piece:
        return sum(batch.num_rows for batch in piece.batches)


def read_in_tasks(spark: SparkSession, connection: Connection) -> int:
    """Read a slice in Spark's tasks, which are processes of their own; how many rows it has."""
    reader = tasks_reader(connection)
    with errors_of_workers():
        return read_slices(spark, reader, reader.columns, [0], 1, "nothing").count()


def refused(server: AskingServer, connection: Connection, act: Callable[[], object], plugin: str) -> None:
    """The act ends with an error that names connection, plugin and fix, and the server learns nothing by it."""
    with pytest.raises(ConfigurationError) as caught:
        act()
    assert server.greeted, "nothing was asked"
    assert server.answers() == []
    assert not server.knows(PASSWORD)
    text = str(caught.value)
    assert f"asked ({connection.address}) asks for " in text
    assert plugin in text
    assert "AIRFLOW_CONN_ASKED" in str(caught.value.fix)
    for shown in (text, repr(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)):
        assert PASSWORD not in shown


@pytest.mark.services
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("name", ANSWERED_BY_PYMYSQL)
def test_pymysql_by_itself_gives_the_password(
    asking: MakeServer, certificate: Path, name: str, encrypted: bool
) -> None:
    """The control: this is what the other tests are about."""
    server = asking(HOST, ANSWERED_BY_PYMYSQL[name], certificate=certificate if encrypted else None)
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host=HOST, port=server.port, user="ferry", password=PASSWORD)
    assert server.knows(PASSWORD)


@pytest.mark.services
@pytest.mark.parametrize("mode", ["disabled", "required"])
@pytest.mark.parametrize("name", REVEALING | SHA2)
def test_a_server_that_is_not_verified_is_not_given_the_password(
    asking: MakeServer, certificate: Path, name: str, mode: str
) -> None:
    demand = (REVEALING | SHA2)[name]
    server = asking(ELSEWHERE, demand, certificate=certificate)
    connection = connection_to(server, ELSEWHERE, ssl_mode=mode)
    refused(server, connection, AuroraSource(connection).ping, demand.plugin)
    refused(server, connection, lambda: read_as_a_task(connection), demand.plugin)


@pytest.mark.services
@pytest.mark.parametrize("name", REVEALING)
@pytest.mark.parametrize("host", [HOST, ELSEWHERE])
def test_no_server_is_answered_what_shows_the_password(
    asking: MakeServer, certificate: Path, name: str, host: str
) -> None:
    """Neither on the loopback interface nor where the certificate is the right one."""
    extra = {} if host == HOST else {"ssl_ca": str(certificate / "rogue.pem")}
    server = asking(host, REVEALING[name], certificate=certificate)
    connection = connection_to(server, host, **extra)
    refused(server, connection, TiDBSource(connection).ping, REVEALING[name].plugin)
    refused(server, connection, lambda: read_as_a_task(connection), REVEALING[name].plugin)


@pytest.mark.parametrize("name", ["clear", "sha256 greeting", "caching switch"])
def test_tasks_of_spark_do_not_give_it_either(
    asking: MakeServer, certificate: Path, spark: SparkSession, name: str
) -> None:
    demand = (REVEALING | SHA2)[name]
    server = asking(ELSEWHERE, demand, certificate=certificate)
    connection = connection_to(server, ELSEWHERE, ssl_mode="required")
    refused(server, connection, lambda: read_in_tasks(spark, connection), demand.plugin)


@pytest.mark.services
@pytest.mark.parametrize("name", REVEALING | SHA2)
def test_nobody_logs_in_to_a_server_elsewhere_that_no_known_authority_has_signed(
    asking: MakeServer, certificate: Path, name: str
) -> None:
    server = asking(ELSEWHERE, (REVEALING | SHA2)[name], certificate=certificate)
    connection = connection_to(server, ELSEWHERE)
    for act in (AuroraSource(connection).ping, lambda: read_as_a_task(connection)):
        with pytest.raises(ConfigurationError, match="TLS failed: no authority in the trust store of the machine"):
            act()
    assert server.greeted == 2
    assert b"ferry" not in server.heard()
    assert not server.knows(PASSWORD)


@pytest.mark.services
@pytest.mark.parametrize("name", SHA2)
@pytest.mark.parametrize("host", [HOST, ELSEWHERE])
def test_a_server_that_is_known_is_given_what_it_needs(
    asking: MakeServer, certificate: Path, name: str, host: str
) -> None:
    """On the loopback interface without TLS, encrypted with its key; elsewhere where the certificate is right."""
    extra = {} if host == HOST else {"ssl_ca": str(certificate / "rogue.pem")}
    server = asking(host, SHA2[name], certificate=certificate, admits=True)
    with open_session(connection_to(server, host, **extra)):
        pass
    assert server.knows(PASSWORD)
    assert (PASSWORD.encode() in server.heard()) == (host == ELSEWHERE)


@pytest.mark.services
def test_the_same_account_is_refused_whether_or_not_it_is_in_the_servers_cache(
    asking: MakeServer, certificate: Path
) -> None:
    server = asking(ELSEWHERE, Demand("caching_sha2_password", cached=True), certificate=certificate, admits=True)
    connection = connection_to(server, ELSEWHERE, ssl_mode="required")
    refused(server, connection, AuroraSource(connection).ping, "caching_sha2_password")
    with open_session(connection_to(server, ELSEWHERE, ssl_ca=str(certificate / "rogue.pem"))):
        pass
    assert not server.knows(PASSWORD)


@pytest.mark.services
def test_a_native_login_is_answered_with_a_proof(asking: MakeServer) -> None:
    """To a server whose own plugin is another as well, as MySQL 8's is."""
    demand = Demand(greeting="caching_sha2_password", switch="mysql_native_password")
    server = asking(ELSEWHERE, demand, admits=True)
    with open_session(connection_to(server, ELSEWHERE, ssl_mode="disabled")):
        pass
    assert [len(answer) for answer in server.answers()] == [20]
    assert not server.knows(PASSWORD)


def test_tidb_lets_an_account_with_caching_sha2_password_in(tmp_path: Path, spark: SparkSession) -> None:
    """A real server, which asks for the password itself each time and over TLS alone."""
    ours = Authority(tmp_path, "ours")
    ours.certify(tmp_path, ELSEWHERE)
    server = OwnTiDB(tmp_path, ELSEWHERE, "caching_sha2_password")
    try:
        verified = server.connection(ssl_ca=ours.pem)
        assert TiDBSource(verified).ping().startswith("TiDB v")
        assert read_in_tasks(spark, verified) > 0
        with pytest.raises(
            ConfigurationError, match=r"\(caching_sha2_password\), and ssl_mode required does not prove"
        ):
            TiDBSource(server.connection(ssl_mode="required")).ping()
    finally:
        server.stop()
