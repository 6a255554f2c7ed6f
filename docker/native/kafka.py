"""Kafka: a real broker that is its own controller (KRaft), run from the jars of Maven Central."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import uuid
from pathlib import Path

import processes
from places import NATIVE, cache_dir, service_dir
from ports import HOST, port
from steps import run

NAME = "kafka"
PORTS = ("LAKEFERRY_KAFKA_PORT", "LAKEFERRY_KAFKA_CONTROLLER_PORT")
POM = NATIVE / "broker" / "pom.xml"
PROPERTIES = NATIVE / "broker" / "server.properties"


def cache_name() -> str:
    return f"kafka-4.1.0-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def is_installed() -> bool:
    return (cache_dir() / cache_name()).is_dir()


def settings() -> dict[str, str]:
    """The broker's settings that depend on ports and directories."""
    broker, controller = (f"{HOST}:{port(variable)}" for variable in PORTS)
    return {
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(service_dir(NAME) / "data"),
    }


def start() -> None:
    directory = service_dir(NAME)
    properties = directory / "server.properties"
    lines = [f"{key}={value}" for key, value in settings().items()]
    properties.write_text(PROPERTIES.read_text(encoding="utf-8") + "\n".join(lines) + "\n", encoding="utf-8")
    java: list[str | Path] = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{cache_dir() / cache_name()}/*"]
    if not (directory / "data" / "meta.properties").exists():
        format_logs = [*java, "kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", properties]
        run(format_logs, log="kafka", cwd=directory)
    ports = {variable: port(variable) for variable in PORTS}
    started = processes.start(NAME, [*java, "kafka.Kafka", properties], ports=ports, cwd=directory)
    processes.wait_until(NAME, started, is_answered, seconds=90)


def new_cluster_id() -> str:
    """16 random bytes in base64 for URLs, as Kafka names clusters; none that its tools would take for an option."""
    while True:
        identifier = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not identifier.startswith("-"):
            return identifier


def is_answered() -> bool:
    """Whether the broker names itself in its answer to a Metadata request.

    Source: Kafka protocol guide: request header v1 (api key 3, version 0, correlation id, client id),
    Metadata v0 (array of topics), answered by correlation id and array of brokers.
    """
    # One name that no topic may have: no topics are listed however many there are.
    body = struct.pack(">hhih", 3, 0, 1, -1) + struct.pack(">ih", 1, 1) + b"?"
    try:
        with socket.create_connection((HOST, port(PORTS[0])), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = _exactly(connection, struct.unpack(">i", _exactly(connection, 4))[0])
    except OSError:
        return False
    correlation, brokers = struct.unpack(">ii", answer[:8])
    return bool(correlation == 1 and brokers > 0)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        received = connection.recv(count - len(data))
        if not received:
            raise ConnectionError("closed")
        data += received
    return data
