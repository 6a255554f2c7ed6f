"""A second set of local services, in a state directory and on ports of its own, beside the developer's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PORTS = {
    "mariadb": ("LAKEFERRY_MARIADB_PORT",),
    "tidb": ("LAKEFERRY_TIDB_PORT", "LAKEFERRY_TIDB_STATUS_PORT"),
    "kafka": ("LAKEFERRY_KAFKA_PORT", "LAKEFERRY_KAFKA_CONTROLLER_PORT"),
    "moto": ("LAKEFERRY_MOTO_PORT",),
    "bigquery": ("LAKEFERRY_BIGQUERY_PORT", "LAKEFERRY_BIGQUERY_GRPC_PORT"),
}


@dataclass(frozen=True)
class Place:
    """A state directory and the ports that go with it."""

    state: Path
    ports: dict[str, int]

    def environment(self) -> dict[str, str]:
        """This process's environment without what speaks of other services."""
        ours = ("LAKEFERRY_", "AIRFLOW_CONN_", "AWS_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return {
            **kept,
            **{variable: str(number) for variable, number in self.ports.items()},
            "LAKEFERRY_STATE_DIR": str(self.state),
            "LAKEFERRY_SETTINGS_FILE": str(self.state / "settings.env"),
        }

    def services(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("docker/native/services.py", *arguments)

    def sample(self, script: str, *arguments: str) -> dict[str, dict[str, int]]:
        """Run a script of docker/sample; the counts it prints."""
        done = self._run(f"docker/sample/{script}", *arguments)
        assert done.returncode == 0, done.stderr
        counts: dict[str, dict[str, int]] = json.loads(done.stdout)
        return counts

    def settings(self) -> dict[str, str]:
        lines = (self.state / "settings.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if not line.startswith("#"))

    def pid(self, service: str) -> int:
        return int(json.loads((self.state / service / "pid.json").read_text(encoding="utf-8"))["pid"])

    def _run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, CHECKOUT / script, *arguments],
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd=CHECKOUT,
            check=False,
        )


def new_place(state: Path) -> Place:
    variables = [variable for group in PORTS.values() for variable in group] + ["LAKEFERRY_AIRFLOW_PORT"]
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in variables]
    ports = {variable: each.getsockname()[1] for variable, each in zip(variables, sockets, strict=True)}
    for each in sockets:
        each.close()
    return Place(state, ports)
