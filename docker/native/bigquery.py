"""The BigQuery emulator, in a Python environment of its own: its pins are not the project's."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import processes
from http_client import status
from places import NATIVE, cache_dir, service_dir
from ports import HOST, port
from steps import run

NAME = "bigquery"
PORTS = ("LAKEFERRY_BIGQUERY_PORT", "LAKEFERRY_BIGQUERY_GRPC_PORT")
PROJECT = "lakeferry-local"
REQUIREMENTS = NATIVE / "bigquery-requirements.txt"


def cache_name() -> str:
    inputs = b"compiled " + REQUIREMENTS.read_bytes()
    return f"bigquery-{hashlib.sha256(inputs).hexdigest()[:12]}"


def environment() -> Path:
    return cache_dir() / cache_name()


def is_installed() -> bool:
    return environment().is_dir()


def build(draft: Path, uv: str) -> None:
    """The emulator's environment, and DuckDB's spatial extension in a home of its own.

    DuckDB looks for extensions below HOME; giving it one here keeps the user's own out of it.
    """
    venv = draft / "venv"
    run([uv, "venv", "--relocatable", "--python", sys.executable, venv], log="bigquery")
    python = venv / "bin" / "python"
    options: list[str | Path] = ["--python", python, "--require-hashes", "--compile-bytecode"]
    run([uv, "pip", "sync", *options, REQUIREMENTS], log="bigquery")
    home = draft / "home"
    home.mkdir()
    load = 'from duckdb_extensions import import_extension; import_extension("spatial")'
    run([python, "-c", load], log="bigquery", environment={"HOME": str(home)})


def endpoint() -> str:
    return f"http://{HOST}:{port(PORTS[0])}"


def start() -> None:
    directory = service_dir(NAME)
    objects().mkdir(exist_ok=True)
    ports = {variable: port(variable) for variable in PORTS}
    command: list[str | Path] = [environment() / "venv" / "bin" / "python", NATIVE / "bigquery_on_one_thread.py"]
    command += ["start", "--persistent", "--data-dir", data(), "--log-level", "warning", "--project", PROJECT]
    command += ["--rest-host", HOST, "--rest-port", str(ports[PORTS[0]])]
    command += ["--grpc-host", HOST, "--grpc-port", str(ports[PORTS[1]])]
    variables = {"HOME": str(environment() / "home"), "BQEMU_GCS_LOCAL_ROOT": str(objects())}
    started = processes.start(NAME, command, ports=ports, cwd=directory, environment=variables)
    processes.wait_until(NAME, started, is_answered, seconds=90)


def is_answered() -> bool:
    """Whether the API lists the project's datasets."""
    return status(f"{endpoint()}/bigquery/v2/projects/{PROJECT}/datasets") == 200


def objects() -> Path:
    """Buckets as folders: what load jobs read as Cloud Storage."""
    return service_dir(NAME) / "gcs"


def data() -> Path:
    return service_dir(NAME) / "data"


def forget() -> None:
    """Remove the warehouse's data; the emulator must not run."""
    shutil.rmtree(data(), ignore_errors=True)
