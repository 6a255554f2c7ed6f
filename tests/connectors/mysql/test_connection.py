"""How the servers are reached: TLS, secrets, what a failure says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from connectors.errors import AccessDenied, ConfigurationError, ObjectNotFound, UsageError
from connectors.mysql import AuroraSource, MySQLOptions, TiDBSource
from connectors.mysql.sessions.tls import ssl_mode
from connectors.mysql.sql import literal, quote_identifier
from tests.connectors.mysql.conftest import Server
from tests.support.mysql.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_ping_says_product_and_version(aurora: Server, tidb: Server) -> None:
    assert aurora.source().ping() == f"MariaDB {aurora.run('SELECT VERSION()')[0][0].split('-')[0]}"
    assert tidb.source().ping().startswith("TiDB v")


def test_the_wrong_kind_of_server_is_said(aurora: Server, tidb: Server) -> None:
    with pytest.raises(UsageError, match="type: tidb"):
        AuroraSource(tidb.connection).describe(tidb.dataset("wallet.balance_entries"))
    with pytest.raises(UsageError, match="type: aurora"):
        TiDBSource(aurora.connection).describe(aurora.dataset("shop.payments"))


def test_near_tables_and_databases_are_listed(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY")
    with pytest.raises(ObjectNotFound, match=f"Valid: .*{table}"):
        server.source().describe(server.dataset(table + "s"))
    with pytest.raises(ObjectNotFound, match=f"Valid: .*{server.database}"):
        server.source().describe(server.dataset(f"{server.database}x.t"))


def test_describe_tells_key_indexes_comments_and_size(server: Server) -> None:
    table = server.table(
        "a INT NOT NULL COMMENT 'the ''first''', b VARCHAR(9), c DATETIME, PRIMARY KEY (a, b), KEY (c, b)"
    )
    described = server.source().describe(server.dataset(table))
    assert described.primary_key == ("a", "b")
    assert described.indexed == ("a", "c")
    assert described.estimated_rows is not None
    assert [(column.name, column.nullable, column.comment) for column in described.columns] == [
        ("a", False, "the 'first'"),
        ("b", False, None),
        ("c", True, None),
    ]


def test_a_table_one_may_not_read_is_refused(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY")
    login = server.database[-8:]
    server.run(f"CREATE USER '{login}'@'%%' IDENTIFIED BY 'a-password'", [])
    try:
        server.run(f"GRANT INSERT ON {table} TO '{login}'@'%%'", [])
        low = server.source(connection=replace(server.connection, login=login, password="a-password"))
        with pytest.raises(AccessDenied) as caught:
            low.plan(server.dataset(table), None, None)
    finally:
        server.run(f"DROP USER '{login}'@'%%'", [])
    assert "a-password" not in str(caught.value)


def test_a_password_changed_since_the_plan_is_told_before_spark_runs(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY")
    server.run(f"INSERT INTO {table} VALUES (1)")
    dataset = server.dataset(table)
    plan = server.source().plan(dataset, None, None)
    with pytest.raises(AccessDenied):
        server.source(connection=replace(server.connection, password="old-one")).read(spark, dataset, plan)


def test_no_secret_shows_in_a_query_plan_or_in_what_tasks_are_given(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY")
    server.run(f"INSERT INTO {table} VALUES (1)")
    dataset = server.dataset(table)
    plan = server.source().plan(dataset, None, None)
    assert server.connection.password
    shown = server.source().read(spark, dataset, plan)._jdf.queryExecution().toString()
    assert "read_in_task" in shown
    assert server.connection.password not in shown
    reader = server.source().slice_reader(dataset, plan)
    assert table.split(".")[1] in repr(reader)
    assert server.connection.password not in repr(reader)


def test_a_statement_names_its_slice_whatever_the_dataset_is_called(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY")
    aurora.run(f"INSERT INTO {table} VALUES (1)")
    dataset = replace(aurora.dataset(table), name="a */ + 1, '%s` /*!日")
    proxy = CuttingProxy(aurora.connection.host or "", aurora.connection.port or 0)
    try:
        source = aurora.source(connection=replace(aurora.connection, port=proxy.port))
        with source.slice_reader(dataset, source.plan(dataset, None, None)).open(0) as piece:
            assert [batch.num_rows for batch in piece.batches] == [1]
        count, rows = proxy.statements[-2:]
        assert count.startswith("SELECT /* lakeferry a______1____s______ slice 0: count */ COUNT(*) FROM ")
        assert rows.startswith("SELECT /* lakeferry a______1____s______ slice 0 */ `id` FROM ")
        assert proxy.reads_of_slices() == {0: 1}
    finally:
        proxy.close()


def test_a_server_elsewhere_is_verified_and_one_here_needs_no_tls(server: Server) -> None:
    assert ssl_mode(replace(server.connection, host="db.example.com")) == "verify_identity"
    for mode in ("disabled", "required", "verify_ca"):
        assert ssl_mode(replace(server.connection, host="db.example.com", extra={"ssl_mode": mode})) == mode
    assert ssl_mode(server.connection) == "disabled"
    with pytest.raises(ConfigurationError, match="TLS failed"):
        server.source(connection=replace(server.connection, extra={"ssl_mode": "required"})).ping()
    with pytest.raises(ConfigurationError, match="verify_identity"):
        server.source(connection=replace(server.connection, extra={"ssl_mode": "on"})).ping()
    with pytest.raises(ConfigurationError, match="needs ssl_ca"):
        server.source(connection=replace(server.connection, extra={"ssl_mode": "verify_ca"})).ping()


@pytest.mark.parametrize("table", ["payments", "a.b.c", "", "shop.", "shop.pay`ments"])
def test_a_table_is_named_in_full(table: str) -> None:
    with pytest.raises(ValidationError, match=r"database\.table"):
        MySQLOptions(table=table)


def test_no_value_leaves_its_literal(aurora: Server) -> None:
    hostile = "x'\\\"`; DROP TABLE t -- \0日本🚢"
    assert aurora.run(f"SELECT {literal('string', hostile)}") == [(hostile,)]
    assert aurora.run(f"SELECT 1 AS {quote_identifier('a`b')}") == [(1,)]
    for kind, text in (("number", "1 OR 1=1"), ("number", "1e5"), ("datetime", "2026-01-01' OR '1"), ("binary", "0g")):
        with pytest.raises(UsageError):
            literal(kind, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [None, "", "127.0.0.1/?allowMultiQueries=true&a=", "a b", "a,b"])
def test_a_host_is_a_host_and_nothing_more(aurora: Server, host: str | None) -> None:
    connection = replace(aurora.connection, host=host, extra={"ssl_mode": "disabled"})
    with pytest.raises(ConfigurationError, match="is not a host name"):
        aurora.source(connection=connection).ping()
