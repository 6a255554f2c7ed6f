"""MariaDB servers of a test's own, on free ports, and certificates for them."""

from __future__ import annotations

import datetime
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.connection import Connection

HOST = "127.0.0.1"
PASSWORD = "the-password-of-a-test"


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


class OwnMariaDB:
    """One `mariadbd` with a user `ferry`; `root` talks to it by its socket, past TLS and timeouts. Its machine is
    set to the time zone `machine_zone` (as of tzset(3))."""

    def __init__(self, folder: Path, *options: str, machine_zone: str = "UTC") -> None:
        self.folder = folder
        self.port = free_port()
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
        daemon, install = (shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db"))
        assert daemon, "no MariaDB server here: run `make setup`"
        assert install
        me = getpass.getuser()
        # A server that starts removes every temporary table in its folder for them, also another's.
        (folder / "tmp").mkdir()
        subprocess.run(
            [
                install,
                "--no-defaults",
                f"--user={me}",
                f"--datadir={folder}/data",
                f"--tmpdir={folder}/tmp",
                "--auth-root-authentication-method=socket",
                f"--auth-root-socket-user={me}",
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        command = [
            daemon,
            "--no-defaults",
            f"--user={me}",
            f"--datadir={folder}/data",
            f"--tmpdir={folder}/tmp",
            # The path of a socket may hold 107 characters at most (unix(7)).
            f"--socket={self._socket}",
            f"--pid-file={folder}/mariadbd.pid",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            *options,
        ]
        self._log = (folder / "mariadbd.log").open("w")
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, env={**os.environ, "TZ": machine_zone}
        )
        self._root = self._log_in()
        # Not into the binary log: a replica has a user of its own.
        self.run("SET sql_log_bin = 0")
        self.run(f"CREATE USER ferry@'%' IDENTIFIED BY '{PASSWORD}'")
        self.run("GRANT ALL PRIVILEGES ON *.* TO ferry@'%'")
        self.run("SET sql_log_bin = 1")

    @property
    def _socket(self) -> str:
        return f"/tmp/lakeferry-{self.port}.sock"

    def _log_in(self) -> pymysql.connections.Connection[Any]:
        while True:
            assert self._process.poll() is None, (self.folder / "mariadbd.log").read_text()[-2000:]
            try:
                return pymysql.connect(
                    unix_socket=self._socket, user=getpass.getuser(), autocommit=True, init_command="SET sql_mode = ''"
                )
            except pymysql.err.OperationalError:
                continue

    def run(self, sql: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """A statement as root."""
        with self._root.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def connection(self, host: str = HOST, port: int | None = None, **extra: str) -> Connection:
        """How `ferry` gets there."""
        return Connection(
            id="own_mariadb",
            conn_type="mysql",
            host=host,
            port=port or self.port,
            login="ferry",
            password=PASSWORD,
            extra=extra,
        )

    def follow(self, writer: OwnMariaDB) -> None:
        """Become a replica of that server."""
        self.run(
            f"CHANGE MASTER TO master_host = '{HOST}', master_port = {writer.port}, master_user = 'ferry',"
            f" master_password = '{PASSWORD}', master_use_gtid = slave_pos, master_connect_retry = 1"
        )
        self.run("START SLAVE")

    def leave(self) -> None:
        """Be no replica any more."""
        self.run("STOP SLAVE")
        self.run("RESET SLAVE ALL")

    def stop(self) -> None:
        self._root.close()
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()
        Path(self._socket).unlink(missing_ok=True)


class Authority:
    """A certificate authority that signs what it is asked to."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), days=30)
        self.pem = _pem(certificate)
        self.file = folder / f"{name}.pem"
        self.file.write_text(self.pem)

    def certify(self, folder: Path, *names: str, days: int = 30) -> None:
        """Write `server.pem` and `server.key` for these host names; negative `days` makes them expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = [x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        certificate = self._sign(subject, key, x509.SubjectAlternativeName(alternatives), days=days)
        (folder / "server.pem").write_text(_pem(certificate))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, days: int
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
