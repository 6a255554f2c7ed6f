"""moto: S3, EMR Serverless and Secrets Manager in one process, in memory.

Not `moto.py`: scripts in this directory have it first on their import path, and must find the library.
"""

from __future__ import annotations

from pathlib import Path

import processes
from failure import Failure
from http_client import ask, status
from places import NATIVE, VENV_PYTHON, service_dir, state_dir
from ports import HOST, port

NAME = "moto"
PORTS = ("LAKEFERRY_MOTO_PORT",)
BUCKETS = ("lakeferry-lake", "landing")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def endpoint() -> str:
    return f"http://{HOST}:{port(PORTS[0])}"


def start() -> None:
    ports = {variable: port(variable) for variable in PORTS}
    command: list[str | Path] = [VENV_PYTHON, NATIVE / "moto_with_emr.py", str(ports[PORTS[0]])]
    environment = {**ENVIRONMENT, "LAKEFERRY_STATE_DIR": str(state_dir())}
    started = processes.start(NAME, command, ports=ports, cwd=service_dir(NAME), environment=environment)
    processes.wait_until(NAME, started, is_answered, seconds=90)


def is_answered() -> bool:
    """Whether S3 answers a ListBuckets."""
    return status(f"{endpoint()}/") == 200


def prepare() -> None:
    """The buckets: the lake's, and the one files arrive in."""
    for bucket in BUCKETS:
        # In us-east-1 making one's own bucket again is no error (S3 API reference, CreateBucket).
        answer = ask("PUT", f"{endpoint()}/{bucket}")
        if answer != 200:
            raise Failure(f"moto answered {answer} when asked to make the bucket {bucket}.")
