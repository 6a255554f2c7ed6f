"""A BigQuery emulator of a test worker's own: one answers its requests one after the other, and workers would queue."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import requests

from jobs.runtime.project import CODE_ROOT as CHECKOUT

NATIVE = CHECKOUT / "docker/native"
_SECONDS_TO_START = 90
ENDPOINT_VARIABLE = "LAKEFERRY_WAREHOUSE_ENDPOINT"


class OwnEmulator:
    """Started as `make up` starts the shared one, but all in memory, and stopped by its process. On disk each statement
    costs half as much CPU again, and the wait for the disk.

    Args:
        folder: for its log.
        services: the state folder of the shared services.
        project: the Google Cloud project it answers for.
    """

    def __init__(self, folder: Path, services: Path, project: str) -> None:
        rest, grpc = _free_ports(2)
        self.endpoint = f"http://127.0.0.1:{rest}"
        environment = _environment()
        command = [environment / "venv/bin/python", NATIVE / "bigquery_on_one_thread.py", "start", "--ephemeral"]
        command += ["--log-level", "warning", "--project", project]
        command += ["--rest-host", "127.0.0.1", "--rest-port", str(rest)]
        command += ["--grpc-host", "127.0.0.1", "--grpc-port", str(grpc)]
        # Buckets are the folders of the shared emulator: what a stand-in of Cloud Storage writes there both read.
        objects = services / "bigquery/gcs"
        self._log = (folder / "emulator.log").open("wb")
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, "HOME": str(environment / "home"), "BQEMU_GCS_LOCAL_ROOT": str(objects)},
            cwd=folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait(f"{self.endpoint}/bigquery/v2/projects/{project}/datasets")

    def stop(self) -> None:
        """End it and wait until it has ended."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def _wait(self, address: str) -> None:
        until = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < until:
            assert self._process.poll() is None, f"the emulator ended at once: see {self._log.name}"
            try:
                if requests.get(address, timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        raise AssertionError(f"the emulator does not answer at {address}: see {self._log.name}")


def _environment() -> Path:
    """Where `make setup` installed the emulator."""
    question = [sys.executable, "-c", "import bigquery; print(bigquery.environment())"]
    return Path(subprocess.run(question, cwd=NATIVE, capture_output=True, text=True, check=True).stdout.strip())


def _free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on."""
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]
