"""The AWS of this machine: moto's server on a loopback port, whose EMR Serverless runs its jobs.

`moto_with_emr.py PORT`. What a job leaves behind lies in the folder `emr` of the state directory.
"""

from __future__ import annotations

import sys

from moto import backends
from moto.server import main as serve

from emr.backend import install
from emr.execution import Executions
from places import service_dir


def main(port: int) -> None:
    """Serve until stopped; jobs that still run are stopped with it."""
    # The server asks for this list with each request, and moto reads its folder to make it: more than half of what a
    # small request costs.
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    executions = Executions(service_dir("emr"), endpoint=f"http://127.0.0.1:{port}")
    install(executions)
    try:
        serve(["-H", "127.0.0.1", "-p", str(port)])
    finally:
        executions.stop_all()


if __name__ == "__main__":
    main(int(sys.argv[1]))
