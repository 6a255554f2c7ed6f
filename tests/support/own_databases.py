"""MariaDB and TiDB of a test worker's own: a window waits for every transaction that is open on its server, and that
of another worker's test would hold it back."""

from __future__ import annotations

import os
from pathlib import Path

from tests.docker.local_services import new_place

_SERVICES = ("mariadb", "tidb")
_CONNECTIONS = ("AIRFLOW_CONN_AURORA_PAYMENTS", "AIRFLOW_CONN_TIDB_WALLET")


class OwnDatabases:
    """Started as `make up` starts the shared ones; the connections in the environment are theirs from then on.

    Args:
        folder: a new folder for their data and logs.
    """

    def __init__(self, folder: Path) -> None:
        self._place = new_place(folder)
        self._services("up")
        settings = self._place.settings()
        os.environ.update({variable: settings[variable] for variable in _CONNECTIONS})

    def stop(self) -> None:
        """End them and wait until they have ended."""
        self._services("down")

    def _services(self, verb: str) -> None:
        done = self._place.services(verb, *_SERVICES)
        assert done.returncode == 0, done.stdout + done.stderr
