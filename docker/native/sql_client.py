"""The `mariadb` command, as a client of MariaDB and TiDB before any Python package is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from failure import Failure


@dataclass(frozen=True)
class Client:
    """Runs SQL as one user. The password travels in the environment, never on a command line.

    Args:
        options: how to reach and name the user (`--socket=…`, `--user=…`).
        cwd: where the command runs; a relative socket path starts there.
        password: empty for none.
    """

    options: Sequence[str]
    cwd: Path
    password: str = field(default="", repr=False)

    def run(self, statements: str) -> str:
        """Run statements; the rows of the last queries, tab-separated.

        Raises:
            Failure: the server refused one or did not answer; its own message is given.
        """
        done = self._run(statements)
        if done.returncode != 0:
            raise Failure(f"{' '.join(self.options)}: {done.stderr.strip()}")
        return done.stdout

    def works(self) -> bool:
        """Whether the user can log in and ask."""
        return self._run("SELECT 1").returncode == 0

    def is_answered(self) -> bool:
        """Whether the server speaks at all: a refused password (error 1045) is an answer."""
        done = self._run("SELECT 1")
        return done.returncode == 0 or "ERROR 1045" in done.stderr

    def _run(self, statements: str) -> subprocess.CompletedProcess[str]:
        command = ["mariadb", "--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=5", *self.options]
        return subprocess.run(
            command,
            input=statements,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.cwd,
            env={**os.environ, "MYSQL_PWD": self.password},
        )
