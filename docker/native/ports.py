"""Ports of the local services: their defaults, the variables that change them, and who listens there now."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from failure import Failure
from places import state_dir

HOST = "127.0.0.1"
DEFAULTS = {
    "LAKEFERRY_MARIADB_PORT": 13306,
    "LAKEFERRY_TIDB_PORT": 14000,
    "LAKEFERRY_TIDB_STATUS_PORT": 14080,
    "LAKEFERRY_KAFKA_PORT": 19092,
    "LAKEFERRY_KAFKA_CONTROLLER_PORT": 19093,
    "LAKEFERRY_MOTO_PORT": 15000,
    "LAKEFERRY_BIGQUERY_PORT": 19050,
    "LAKEFERRY_BIGQUERY_GRPC_PORT": 19060,
    "LAKEFERRY_AIRFLOW_PORT": 18080,
}


def chosen() -> dict[str, str]:
    """The ports somebody chose, by variable: in this environment, else when the services were last started.

    They are kept in the settings file, so a terminal that knows nothing of them meets the services that run.
    """
    file = state_dir() / "settings.env"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    kept = dict(line.split("=", 1) for line in lines if line.partition("=")[0] in DEFAULTS)
    asked = {variable: os.environ.get(variable, "").strip() for variable in DEFAULTS}
    return kept | {variable: text for variable, text in asked.items() if text}


def port(variable: str) -> int:
    """The port a variable names, or its default.

    Raises:
        Failure: the value is no port (exit 2).
    """
    text = chosen().get(variable, "")
    if not text and variable == "LAKEFERRY_KAFKA_CONTROLLER_PORT":
        return port("LAKEFERRY_KAFKA_PORT") + 1
    if not text:
        return DEFAULTS[variable]
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise Failure(f"{variable}={text} is not a port. Set it to a number from 1024 to 65535.", exit_code=2)
    return int(text)


def check_distinct() -> None:
    """Raise a Failure (exit 2) where two variables name one port."""
    taken: dict[int, str] = {}
    for variable in DEFAULTS:
        number = port(variable)
        if number in taken:
            raise Failure(
                f"{variable} and {taken[number]} are both {number}. Give each a port of its own.", exit_code=2
            )
        taken[number] = variable


def is_listened_on(number: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex((HOST, number)) == 0


def listener(number: int) -> str:
    """`process 123 (nginx)` for who listens on a port, as far as /proc shows it to this user; else `a process`.

    Source: proc_pid_net(5): column 2 is the local address with the port in hex, 4 the state (0A listens),
    10 the inode of the socket.
    """
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == number:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(str(entry.readlink()) in inodes for entry in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text(encoding='utf-8').strip()})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return "a process"


def check_free(wanted: dict[str, tuple[str, ...]], ours: set[int]) -> None:
    """Raise a Failure (exit 2) that names every port somebody else listens on.

    Args:
        wanted: the variables of the ports each service is about to take, by its title.
        ours: ports that services of ours hold and give back before anything is started.
    """
    taken = []
    others = []
    for service, variables in wanted.items():
        for variable in variables:
            number = port(variable)
            if number not in ours and is_listened_on(number):
                taken.append(f"Port {number}, meant for {service}, is taken by {listener(number)}")
                others.append(f"{variable}={number + 1000 if number <= 64535 else number - 1000}")
    if taken:
        raise Failure(
            "; ".join(taken) + ", which Lakeferry did not start here. "
            f"Stop it, or choose other ports: {' '.join(others)} make up",
            exit_code=2,
        )
