"""MariaDB, standing in for Aurora MySQL: a server of its own, apart from any the system runs."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import processes
from places import service_dir
from ports import HOST, port
from sql_client import Client
from steps import run

NAME = "mariadb"
PORTS = ("LAKEFERRY_MARIADB_PORT",)
SOCKET = "mariadb.sock"


def owner() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def data() -> Path:
    return service_dir(NAME) / "data"


def temporary() -> Path:
    """A folder for this server alone: one that starts removes every temporary table it finds in its own."""
    folder = service_dir(NAME) / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def program(name: str) -> str:
    """The path of a MariaDB program; the server lies in sbin, which is not on everybody's PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))) or name


def client() -> Client:
    """Root, by the socket: the server trusts the operating system's word for who asks (unix_socket)."""
    # The path is relative because a socket's path may hold 107 characters at most (unix(7)).
    return Client([f"--socket={SOCKET}", f"--user={owner()}"], data())


def start() -> None:
    if not (data() / "mysql").is_dir():
        make_data()
    ports = {variable: port(variable) for variable in PORTS}
    command = [
        program("mariadbd"),
        "--no-defaults",
        f"--user={owner()}",
        f"--datadir={data()}",
        f"--tmpdir={temporary()}",
        f"--socket={SOCKET}",
        "--pid-file=mariadbd.pid",
        f"--bind-address={HOST}",
        f"--port={ports[PORTS[0]]}",
        "--skip-name-resolve",
        "--default-time-zone=+00:00",
        "--character-set-server=utf8mb4",
        "--collation-server=utf8mb4_unicode_ci",
        "--innodb-buffer-pool-size=256M",
        "--innodb-flush-log-at-trx-commit=2",
        "--max-connections=200",
    ]
    started = processes.start(NAME, command, ports=ports, cwd=service_dir(NAME))
    processes.wait_until(NAME, started, client().works, seconds=60)


def make_data() -> None:
    """A new data directory, made beside its place and moved there when it is whole."""
    draft = service_dir(NAME) / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)
    run(
        [
            program("mariadb-install-db"),
            "--no-defaults",
            f"--user={owner()}",
            f"--datadir={draft}",
            f"--tmpdir={temporary()}",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={owner()}",
            "--skip-test-db",
        ],
        log="mariadb",
    )
    shutil.rmtree(data(), ignore_errors=True)
    draft.rename(data())


def prepare(root: Client, password: str, comes_from: str = HOST) -> None:
    """The user and database of the sample; the user may log in from one host only (`%`: from any)."""
    user = f"'lakeferry'@'{comes_from}'"
    root.run(
        f"""
        CREATE DATABASE IF NOT EXISTS shop;
        CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';
        ALTER USER {user} IDENTIFIED BY '{password}';
        GRANT ALL PRIVILEGES ON *.* TO {user} WITH GRANT OPTION;
        """
    )
