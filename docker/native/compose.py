"""The same services from docker/compose.yaml, where LAKEFERRY_SERVICES=compose asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess

import aws
import bigquery
import mariadb
import settings_file
import tidb
from failure import Failure
from install import setup
from places import CHECKOUT, state_dir
from ports import DEFAULTS, HOST, check_distinct, port
from sql_client import Client
from steps import say

FILE = CHECKOUT / "docker" / "compose.yaml"


def compose(*arguments: str) -> int:
    """Run `docker compose` with the ports and passwords in its environment; its exit code."""
    if shutil.which("docker") is None:
        raise Failure("LAKEFERRY_SERVICES=compose needs docker with its compose plugin. Install it.", exit_code=2)
    environment = {
        **os.environ,
        **{variable: str(port(variable)) for variable in DEFAULTS},
        **{f"LAKEFERRY_{user.upper()}_PASSWORD": word for user, word in settings_file.passwords().items()},
    }
    return subprocess.run(["docker", "compose", "-f", FILE, *arguments], env=environment, check=False).returncode


def up(_: list[str]) -> int:
    check_distinct()
    setup()
    # A mounted folder that is not there is made by the engine, for root alone.
    bigquery.objects().mkdir(parents=True, exist_ok=True)
    code = compose("up", "--detach", "--build", "--wait")
    if code != 0:
        raise Failure(f"docker compose failed with code {code}.")
    password = settings_file.passwords()
    address = [f"--host={HOST}", f"--port={port(mariadb.PORTS[0])}", "--protocol=tcp", "--user=root"]
    mariadb.prepare(Client(address, state_dir(), password["mariadb_root"]), password["mariadb"], comes_from="%")
    tidb.prepare(password["tidb_root"], password["tidb"])
    aws.prepare()
    say(f"Services up. Settings: {settings_file.write()}")
    return 0


def down(_: list[str]) -> int:
    code = compose("rm", "--stop", "--force", "--volumes", "moto", "bigquery") or compose("stop")
    if code == 0:
        settings_file.catalog().unlink(missing_ok=True)
        say("The lake was in moto's memory and is gone; catalog and warehouse are reset with it.")
    return 3 if code else 0


def status(_: list[str]) -> int:
    return 3 if compose("ps") else 0


def clean(_: list[str]) -> int:
    return 3 if compose("down", "--volumes", "--remove-orphans") else 0
