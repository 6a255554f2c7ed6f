"""A TiDB server of a test's own, with TLS, on free ports."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pymysql

from connectors.connection import Connection
from tests.support.mysql.own_mariadb import HOST, PASSWORD, free_port


class OwnTiDB:
    """One `tidb-server` at `host`, with `server.pem` and `server.key` of its folder as certificate, and a user `ferry`
    that logs in by `plugin`. Further `options` are of its command line."""

    def __init__(self, folder: Path, host: str, plugin: str, *options: str) -> None:
        self._host, self.port, self.status_port = host, free_port(), free_port()
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakeferry"
        servers = sorted(caches.glob("tidb-*/tidb-server"))
        assert servers, "no TiDB server here: run `make setup`"
        config = folder / "tidb.toml"
        config.write_text(f'[security]\nssl-cert = "{folder}/server.pem"\nssl-key = "{folder}/server.key"\n')
        command = [str(servers[-1]), "-config", str(config), "-store", "unistore", "-path", f"{folder}/data"]
        command += ["-host", host, "-P", str(self.port), "-status-host", HOST, "-status", str(self.status_port)]
        command += ["-socket", "", "-L", "error", "-temp-dir", f"{folder}/tmp", *options]
        self._log = (folder / "tidb.log").open("w")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=folder)
        root = self._log_in(folder)
        with root.cursor() as cursor:
            cursor.execute(f"CREATE USER ferry@'%' IDENTIFIED WITH '{plugin}' BY '{PASSWORD}'")
            cursor.execute("GRANT ALL PRIVILEGES ON *.* TO ferry@'%'")
        root.close()

    def _log_in(self, folder: Path) -> pymysql.connections.Connection[Any]:
        while True:
            assert self._process.poll() is None, (folder / "tidb.log").read_text()[-2000:]
            try:
                return pymysql.connect(host=self._host, port=self.port, user="root", ssl_disabled=True)
            except pymysql.err.OperationalError:
                continue

    def connection(self, **extra: str) -> Connection:
        """How `ferry` gets there."""
        return Connection("own_tidb", "mysql", self._host, self.port, "ferry", PASSWORD, extra=extra)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()
