"""TiDB: the real server, built from Go modules, with its embedded single-node store."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import processes
from failure import Failure
from places import cache_dir, service_dir
from ports import HOST, port
from sql_client import Client
from steps import run

NAME = "tidb"
PORTS = ("LAKEFERRY_TIDB_PORT", "LAKEFERRY_TIDB_STATUS_PORT")
STAMP = "20251126154744"
REVISION = f"{STAMP}-e4e814fdc0af"
MODULE = "github.com/pingcap/tidb"


def cache_name() -> str:
    return f"tidb-{STAMP}"


def server() -> Path:
    return cache_dir() / cache_name() / "tidb-server"


def is_installed() -> bool:
    return server().exists()


def build(draft: Path, fix: str) -> None:
    """Build `tidb-server` into a directory.

    The module's go.mod replaces its parser by a sibling directory, which the module's own archive does not
    hold: the source is copied out of the module cache and pointed at the parser's own module.
    """
    with tempfile.TemporaryDirectory(prefix="tidb-source-", dir=cache_dir()) as work:
        run(["go", "mod", "init", "build"], log="tidb-build", cwd=Path(work), fix=fix)
        wanted = f"{MODULE}@v1.1.0-beta.0.{REVISION}"
        download = run(["go", "mod", "download", "-json", wanted], log="tidb-build", cwd=Path(work), fix=fix)
        source = Path(work) / "source"
        shutil.copytree(json.loads(download)["Dir"], source)
        for directory, _, files in os.walk(source):  # the module cache is read-only, and so is a copy of it
            Path(directory).chmod(0o755)
            for name in files:
                (Path(directory) / name).chmod(0o644)
        go_mod = source / "go.mod"
        text = go_mod.read_text(encoding="utf-8")
        go_mod.write_text(
            text.replace("=> ./pkg/parser", f"=> {MODULE}/pkg/parser v0.0.0-{REVISION}"), encoding="utf-8"
        )
        binary = draft / "tidb-server"
        flags = ["-mod=mod", "-buildvcs=false", "-ldflags=-checklinkname=0"]
        run(["go", "build", *flags, "-o", binary, "./cmd/tidb-server"], log="tidb-build", cwd=source, fix=fix)


def client(root_password: str) -> Client:
    address = [f"--host={HOST}", f"--port={port(PORTS[0])}", "--protocol=tcp"]
    return Client([*address, "--user=root"], service_dir(NAME), root_password)


def start() -> None:
    directory = service_dir(NAME)
    ports = {variable: port(variable) for variable in PORTS}
    command: list[str | Path] = [server(), "-store", "unistore", "-path", directory / "data", "-host", HOST]
    command += ["-P", str(ports[PORTS[0]]), "-status", str(ports[PORTS[1]]), "-status-host", HOST]
    command += ["-socket", "", "-L", "warn", "-temp-dir", directory / "tmp"]
    started = processes.start(NAME, command, ports=ports, cwd=directory)
    # A wrong or not yet set password is an answer, too.
    processes.wait_until(NAME, started, client("").is_answered, seconds=120)


def prepare(root_password: str, password: str) -> None:
    """Passwords, the user and database of the sample, UTC, and what historical reads need.

    The embedded store has no PD to set a garbage collection safe point; without that row `tidb_snapshot`
    is refused. Source: TiDB, "Read Historical Data Using the System Variable tidb_snapshot".
    """
    root = client(root_password)
    if not root.works():
        fresh = client("")
        if not fresh.works():
            raise Failure(
                f"TiDB refuses root's password in .lakeferry/passwords.json: the password file and TiDB's data "
                f"do not belong together. Begin afresh with: make down && rm -r {service_dir(NAME)} && make up",
                exit_code=2,
            )
        fresh.run(f"ALTER USER 'root'@'%' IDENTIFIED BY '{root_password}'")
    root.run(
        f"""
        SET GLOBAL time_zone = '+00:00';
        REPLACE INTO mysql.tidb VALUES ('tikv_gc_safe_point', '20250101-00:00:00 +0000', '');
        CREATE DATABASE IF NOT EXISTS wallet;
        CREATE USER IF NOT EXISTS 'lakeferry'@'%' IDENTIFIED BY '{password}';
        ALTER USER 'lakeferry'@'%' IDENTIFIED BY '{password}';
        GRANT ALL PRIVILEGES ON *.* TO 'lakeferry'@'%' WITH GRANT OPTION;
        """
    )
