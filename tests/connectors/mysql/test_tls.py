"""TLS: what the connection asks for holds for planning and for tasks alike, and what is wrong is said the same."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connectors.base import Column, ReadRequest
from connectors.connection import Connection
from connectors.errors import ConfigurationError
from connectors.mysql import AuroraSource, MySQLOptions
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import open_session
from connectors.mysql.sessions.tls import ssl_mode, with_authority_as_text
from connectors.mysql.slice_reader import MySQLSliceReader
from connectors.mysql.spark_read import read_slices
from connectors.spark_errors import errors_of_workers
from tests.connectors.mysql.conftest import Server
from tests.support.mysql.own_mariadb import HOST, PASSWORD, Authority, OwnMariaDB

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CIPHER = "SELECT variable_value AS cipher FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
ELSEWHERE = "127.0.0.2"
"""An address of this machine that a connection does not take for the loopback interface."""
READ_A_SLICE = """\
import pickle, sys
with pickle.load(sys.stdin.buffer).open(0) as piece:
    print(*[cipher for batch in piece.batches for cipher in batch.column(0).to_pylist()])
"""
DATASET = ReadRequest("tests", "things", (), MySQLOptions(table="shop.things"))


@dataclass
class Encrypted:
    """A server whose certificate the tests change, and the authority that signs it."""

    server: OwnMariaDB
    folder: Path
    ours: Authority
    strange: Authority

    def present(self, *names: str, days: int = 30) -> None:
        """Give the server a new certificate, without a restart."""
        self.ours.certify(self.folder, *names, days=days)
        self.server.run("FLUSH SSL")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    ours, strange = Authority(folder, "ours"), Authority(folder, "strange")
    ours.certify(folder, HOST)
    files = (f"--ssl-cert={folder}/server.pem", f"--ssl-key={folder}/server.key")
    server = OwnMariaDB(folder, *files, f"--bind-address={HOST},{ELSEWHERE}")
    server.run("CREATE DATABASE shop")
    server.run("CREATE TABLE shop.things (id INT PRIMARY KEY)")
    server.run("INSERT INTO shop.things VALUES (1), (2)")
    yield Encrypted(server, folder, ours, strange)
    server.stop()


def tasks_reader(connection: Connection) -> MySQLSliceReader:
    """What tasks read with, made without a look at the server: what it says its session is encrypted with."""
    return MySQLSliceReader(
        pipeline="tests",
        dataset="ciphers",
        connection=with_authority_as_text(connection),
        table=TableName("information_schema", "session_status"),
        columns=(Column(name="variable_value", source_type="varchar(2048)", spark_type="string"),),
        conditions={0: "variable_name = 'Ssl_cipher'"},
    )


def ciphers(spark: SparkSession, connection: Connection) -> tuple[str, str]:
    """What the server says planning's session and a task's are encrypted with."""
    with open_session(connection) as session:
        planning = session.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1]
    reader = tasks_reader(connection)
    with errors_of_workers():
        [row] = read_slices(spark, reader, reader.columns, [0], 1, "nothing").collect()
    return planning, row.variable_value


def refused(spark: SparkSession, connection: Connection, message: str) -> None:
    """Planning and a task each refuse alone, say `message`, the connection and what to set, and no password."""
    with pytest.raises(ConfigurationError, match=message) as planning:
        AuroraSource(connection).plan(DATASET, None, None)
    reader = tasks_reader(connection)
    with pytest.raises(ConfigurationError, match=message) as reading, errors_of_workers():
        read_slices(spark, reader, reader.columns, [0], 1, "nothing").collect()
    for caught in (planning, reading):
        text = str(caught.value)
        assert f"{connection.id} ({connection.address}): TLS failed" in text
        assert f"AIRFLOW_CONN_{connection.id.upper()}" in str(caught.value.fix) or "FLUSH SSL" in str(caught.value.fix)
        assert PASSWORD not in text
        assert "Traceback" not in text


@pytest.mark.parametrize("mode", ["required", "verify_ca", "verify_identity"])
def test_every_mode_encrypts_both_ways(encrypted: Encrypted, spark: SparkSession, mode: str) -> None:
    encrypted.present(HOST)
    connection = encrypted.server.connection(ssl_mode=mode, ssl_ca=str(encrypted.ours.file))
    planning, reading = ciphers(spark, connection)
    assert planning.startswith("TLS_")
    assert reading.startswith("TLS_")


def test_executors_need_no_file_of_the_authority(encrypted: Encrypted, spark: SparkSession, tmp_path: Path) -> None:
    encrypted.present(HOST)
    file = tmp_path / "an authority.pem"
    file.write_text(f"An authority's own words before its certificate.\n{encrypted.ours.pem}")
    source = AuroraSource(encrypted.server.connection(ssl_mode="verify_identity", ssl_ca=str(file)))
    rows = source.read(spark, DATASET, source.plan(DATASET, None, None))
    file.unlink()
    assert sorted(row.id for row in rows.collect()) == [1, 2]


def test_the_authority_may_stand_in_the_connection_itself(encrypted: Encrypted, spark: SparkSession) -> None:
    encrypted.present(HOST)
    trusted = encrypted.server.connection(ssl_ca=encrypted.ours.pem)
    assert ssl_mode(trusted) == "verify_identity"
    assert all(ciphers(spark, trusted))
    refused(spark, encrypted.server.connection(ssl_ca=encrypted.strange.pem), "no authority in ssl_ca has signed")


def test_a_server_elsewhere_is_verified_where_nothing_is_said(encrypted: Encrypted, spark: SparkSession) -> None:
    encrypted.present(ELSEWHERE)
    assert all(ciphers(spark, encrypted.server.connection(ELSEWHERE, ssl_ca=encrypted.ours.pem)))
    assert all(ciphers(spark, encrypted.server.connection(ELSEWHERE, ssl_mode="required")))
    assert ciphers(spark, encrypted.server.connection(ELSEWHERE, ssl_mode="disabled")) == ("", "")
    unsaid = encrypted.server.connection(ELSEWHERE)
    refused(
        spark, unsaid, "no authority in the trust store of the machine that connects has signed .* Set ssl_ca in .*"
    )
    with pytest.raises(ConfigurationError, match="for Aurora and RDS, the bundle of the region from AWS"):
        AuroraSource(unsaid).ping()


def test_without_ssl_ca_each_machine_verifies_by_its_own_trust_store(
    encrypted: Encrypted, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL's default store is the file in SSL_CERT_FILE, which the workers of Spark began without."""
    encrypted.present(ELSEWHERE)
    connection = encrypted.server.connection(ELSEWHERE)
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.ours.file))
    with open_session(connection) as session:
        assert session.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1].startswith("TLS_")
    reader = tasks_reader(connection)
    with pytest.raises(ConfigurationError, match="no authority in the trust store"), errors_of_workers():
        read_slices(spark, reader, reader.columns, [0], 1, "nothing").collect()

    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.strange.file))
    with pytest.raises(ConfigurationError, match="no authority in the trust store"):
        AuroraSource(connection).ping()
    worker = subprocess.run(
        [sys.executable, "-c", READ_A_SLICE],
        input=pickle.dumps(reader),
        env={**os.environ, "SSL_CERT_FILE": str(encrypted.ours.file)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert worker.stdout.startswith(b"TLS_")

    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.ours.file))
    encrypted.present("elsewhere.example")
    with pytest.raises(ConfigurationError, match=f"not for the host '{ELSEWHERE}'") as caught:
        AuroraSource(connection).ping()
    # Without an ssl_ca it would take anybody's certificate.
    assert "verify_ca" not in str(caught.value)


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_another_authority_is_refused(encrypted: Encrypted, spark: SparkSession, mode: str) -> None:
    encrypted.present(HOST)
    connection = encrypted.server.connection(ssl_mode=mode, ssl_ca=str(encrypted.strange.file))
    refused(spark, connection, "no authority in ssl_ca has signed the server's certificate")


@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_another_host_is_refused_where_the_identity_is_asked_for(
    encrypted: Encrypted, spark: SparkSession, host: str
) -> None:
    encrypted.present("elsewhere.example")
    connection = encrypted.server.connection(host, ssl_mode="verify_identity", ssl_ca=str(encrypted.ours.file))
    refused(spark, connection, f"the server's certificate is not for the host '{host}'")
    assert all(ciphers(spark, replace(connection, extra={**connection.extra, "ssl_mode": "verify_ca"})))


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_an_expired_certificate_is_refused(encrypted: Encrypted, spark: SparkSession, mode: str) -> None:
    encrypted.present(HOST, days=-1)
    connection = encrypted.server.connection(ssl_mode=mode, ssl_ca=str(encrypted.ours.file))
    refused(spark, connection, "the server's certificate is out of date")


def test_required_takes_whoever_answers(encrypted: Encrypted, spark: SparkSession) -> None:
    encrypted.present("elsewhere.example", days=-1)
    connection = encrypted.server.connection(ssl_mode="required", ssl_ca=str(encrypted.strange.file))
    assert all(cipher.startswith("TLS_") for cipher in ciphers(spark, connection))


@pytest.mark.parametrize("mode", ["required", "verify_ca", "verify_identity"])
def test_a_plaintext_server_is_refused(encrypted: Encrypted, server: Server, spark: SparkSession, mode: str) -> None:
    extra = {"ssl_mode": mode, "ssl_ca": str(encrypted.ours.file)}
    connection = replace(server.connection, extra=extra)
    with pytest.raises(ConfigurationError, match="TLS failed: the server offers none, and ssl_mode is") as planning:
        server.source(connection=connection).ping()
    reader = tasks_reader(connection)
    with pytest.raises(ConfigurationError) as reading, errors_of_workers():
        read_slices(spark, reader, reader.columns, [0], 1, "nothing").collect()
    assert reading.value.problem == planning.value.problem
    assert (reading.value.fix, reading.value.dataset) == (planning.value.fix, "ciphers")


def test_a_certificate_that_runs_out_after_the_look_is_refused_in_the_task(
    encrypted: Encrypted, spark: SparkSession
) -> None:
    encrypted.present(HOST)
    source = AuroraSource(encrypted.server.connection(ssl_ca=str(encrypted.ours.file)))
    plan = source.plan(DATASET, None, None)
    rows = source.read(spark, DATASET, plan)
    encrypted.present(HOST, days=-1)
    with pytest.raises(ConfigurationError, match="the server's certificate is out of date"), source.connections(plan):
        rows.collect()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"ssl_mode": "verify_ca", "ssl_ca": "/no/such.pem"}, "/no/such.pem is not a file on this machine"),
        ({"ssl_ca": "/no/such.pem"}, "/no/such.pem is not a file on this machine"),
        ({"ssl_mode": "verify_ca"}, "ssl_mode verify_ca needs ssl_ca"),
        ({"ssl_mode": "verify_ca", "ssl_ca": __file__}, "holds no PEM certificates"),
        ({"ssl_ca": "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----"}, "the text of ssl_ca holds no"),
        ({"sslmode": "verify-full"}, "unknown extra 'sslmode'. Valid: ssl_mode, ssl_ca"),
        ({"ssl_mode": "preferred"}, "ssl_mode is 'preferred'. Valid: disabled, required"),
    ],
)
def test_settings_that_cannot_hold_are_refused_before_anything_is_sent(extra: dict[str, str], message: str) -> None:
    connection = Connection("nowhere", "mysql", "203.0.113.1", 3306, "ferry", PASSWORD, extra=extra)
    with pytest.raises(ConfigurationError, match=message):
        AuroraSource(connection).ping()
