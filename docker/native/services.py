"""The local services.

services.py setup | environment | browser | oldest-airflow | up [SERVICE…] | down [SERVICE…] | status | clean

Needs nothing but Python 3.11 and its standard library: it makes the environment all else runs in.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import aws
import bigquery
import compose
import kafka
import mariadb
import processes
import settings_file
import tidb
from failure import Failure
from install import make_browser, make_environment, make_oldest_airflow, setup
from places import state_dir
from ports import check_distinct, check_free, port
from steps import elapsed, fail_in_words, only_one, say, side_by_side


@dataclass(frozen=True)
class Service:
    """How to start one service, tell that it answers, and make what must be in it."""

    name: str
    title: str
    ports: tuple[str, ...]
    start: Callable[[], None]
    is_answered: Callable[[], bool]
    prepare: Callable[[], None]


def services() -> dict[str, Service]:
    password = settings_file.passwords()
    listed = (
        Service(
            mariadb.NAME,
            "MariaDB",
            mariadb.PORTS,
            mariadb.start,
            lambda: mariadb.client().works(),
            lambda: mariadb.prepare(mariadb.client(), password["mariadb"]),
        ),
        Service(
            tidb.NAME,
            "TiDB",
            tidb.PORTS,
            tidb.start,
            lambda: tidb.client(password["tidb_root"]).works(),
            lambda: tidb.prepare(password["tidb_root"], password["tidb"]),
        ),
        Service(kafka.NAME, "Kafka", kafka.PORTS, kafka.start, kafka.is_answered, lambda: None),
        Service(aws.NAME, "moto (S3, EMR)", aws.PORTS, aws.start, aws.is_answered, aws.prepare),
        Service(bigquery.NAME, "BigQuery emulator", bigquery.PORTS, bigquery.start, bigquery.is_answered, lambda: None),
    )
    return {service.name: service for service in listed}


def chosen(names: list[str]) -> list[Service]:
    known = services()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Failure(f"There is no service {unknown[0]}. Valid: {', '.join(known)}.", exit_code=2)
    return [known[name] for name in names] if names else list(known.values())


def is_up(service: Service) -> bool:
    """Whether our process runs, on the ports that are asked for, has what it must have, and answers."""
    started = processes.find(service.name)
    return (
        started is not None
        and started.ready
        and started.ports == {variable: port(variable) for variable in service.ports}
        and service.is_answered()
    )


def up(names: list[str]) -> int:
    began = time.monotonic()
    wanted = chosen(names)
    check_distinct()
    with only_one(state_dir() / "lock"):
        setup()
        missing = [service for service in wanted if not is_up(service)]
        started = {service.name: processes.find(service.name) for service in missing}
        ours = {number for process in started.values() if process for number in process.ports.values()}
        check_free({service.title: service.ports for service in missing}, ours)
        for service in missing:
            if started[service.name] is not None:
                say(f"  … {service.title} runs on other ports, does not answer or was left half made: stopping it")
                processes.stop(service.name)
        if any(service.name == aws.NAME for service in missing):
            missing = forget_lake(wanted, missing)
        if missing:
            say(f"Starting {', '.join(service.title for service in missing)}")
        side_by_side([lambda service=service: bring_up(service) for service in missing])  # type: ignore[misc]
        path = settings_file.write()
    state = "started" if missing else "already up"
    say(f"Services {state} ({elapsed(time.monotonic() - began)}). Settings: {path}")
    return 0


def bring_up(service: Service) -> None:
    began = time.monotonic()
    service.start()
    service.prepare()
    processes.mark_ready(service.name)
    addresses = ", ".join(str(port(variable)) for variable in service.ports)
    say(f"  ✓ {service.title} answers on 127.0.0.1:{addresses} after {elapsed(time.monotonic() - began)}")


def forget_lake(wanted: list[Service], missing: list[Service]) -> list[Service]:
    """A new moto has empty buckets: catalog and warehouse, which speak of the old ones, begin afresh with it."""
    warehouse = services()[bigquery.NAME]
    if not settings_file.catalog().exists() and not bigquery.data().exists():
        return missing
    say("  … the lake was in moto's memory and is gone: catalog and warehouse begin afresh, too")
    ran = processes.stop(bigquery.NAME)
    remove_lake_state()
    if ran and all(service.name != warehouse.name for service in missing):
        return [*missing, warehouse]
    return missing


def remove_lake_state() -> None:
    catalog = settings_file.catalog()
    for path in catalog.parent.glob(f"{catalog.name}*"):
        path.unlink()
    bigquery.forget()


def down(names: list[str]) -> int:
    wanted = chosen(names)
    with only_one(state_dir() / "lock"):
        stopped: list[str] = []

        def end(service: Service) -> None:
            if processes.stop(service.name):
                stopped.append(service.title)
                say(f"  ✓ {service.title} stopped")

        stops_moto = any(service.name == aws.NAME for service in wanted)
        if stops_moto and all(service.name != bigquery.NAME for service in wanted):
            wanted.append(services()[bigquery.NAME])
        side_by_side([lambda service=service: end(service) for service in wanted])  # type: ignore[misc]
        if stops_moto:
            remove_lake_state()
            say("The lake was in moto's memory and is gone; catalog and warehouse are reset with it.")
            say("What MariaDB, TiDB and Kafka hold stays, and so does what Airflow knows.")
        if not stopped:
            say("Nothing ran.")
    return 0


def status(_: list[str]) -> int:
    """0 where all services answer, else 3."""
    code = 0
    for service in services().values():
        started = processes.find(service.name)
        if started is None:
            word = "down"
        elif is_up(service):
            word = f"up, process {started.pid}"
        else:
            word = f"process {started.pid} runs and does not answer on these ports"
        addresses = ", ".join(str(port(variable)) for variable in service.ports)
        say(f"{service.title:<18} 127.0.0.1:{addresses:<14} {word}")
        code = code if word.startswith("up") else 3
    return code


def clean(_: list[str]) -> int:
    """Stop everything and remove the state directory: all data of the local services."""
    down([])
    directory = state_dir()
    shutil.rmtree(directory)
    say(f"Removed {directory}. Caches stay; `make setup` uses them.")
    return 0


def set_up(_: list[str]) -> int:
    began = time.monotonic()
    with only_one(state_dir() / "lock"):
        setup()
    say(f"Set up ({elapsed(time.monotonic() - began)}).")
    return 0


def environment(_: list[str]) -> int:
    with only_one(state_dir() / "lock"):
        make_environment()
    return 0


def browser(_: list[str]) -> int:
    with only_one(state_dir() / "lock"):
        make_browser()
    return 0


def old_airflow(_: list[str]) -> int:
    with only_one(state_dir() / "lock"):
        make_oldest_airflow()
    return 0


Commands = dict[str, Callable[[list[str]], int]]
INSTALLED: Commands = {"setup": set_up, "environment": environment, "browser": browser, "oldest-airflow": old_airflow}
NATIVE: Commands = {**INSTALLED, "up": up, "down": down, "status": status, "clean": clean}
COMPOSE: Commands = {
    **INSTALLED,
    "up": compose.up,
    "down": compose.down,
    "status": compose.status,
    "clean": compose.clean,
}


def main(arguments: list[str]) -> int:
    ways = {"native": NATIVE, "compose": COMPOSE}
    way = os.environ.get("LAKEFERRY_SERVICES") or "native"
    if way not in ways:
        raise Failure(f"LAKEFERRY_SERVICES={way} is no way to run services. Valid: {', '.join(ways)}.", exit_code=2)
    commands = ways[way]
    if not arguments or arguments[0] not in commands:
        raise Failure(f"Say what to do: services.py {'|'.join(commands)}", exit_code=2)
    return commands[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(fail_in_words(main))
