"""A Kafka broker of a test's own, on free ports, that can lose what it wrote."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.connection import Connection

HOST = "127.0.0.1"
PROPERTIES = Path(__file__).parents[3] / "docker" / "native" / "broker" / "server.properties"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


class OwnKafka:
    """One broker, its own controller, with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder, (folder / "kafka.log").open("w")
        self.port, controller = _free_port(), _free_port()
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakeferry"
        jars = sorted(caches.glob("kafka-*"))
        assert jars, "no Kafka here: run `make setup`"
        self._java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars[-1]}/*"]
        lines = [
            f"listeners=PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller}",
            f"advertised.listeners=PLAINTEXT://{HOST}:{self.port}",
            f"controller.quorum.voters=1@{HOST}:{controller}",
            f"log.dirs={folder}/data",
        ]
        (folder / "server.properties").write_text("\n".join([PROPERTIES.read_text(), *lines, ""]))
        # A leading letter: Kafka's tools take a leading dash for an option.
        cluster = urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        self._run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties")
        self.start()

    @property
    def connection(self) -> Connection:
        return Connection("own_kafka", "kafka", HOST, self.port)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*self._java, "kafka.Kafka", "server.properties"], cwd=self._folder, stdout=self._log, stderr=self._log
        )
        while True:
            assert self._process.poll() is None, (self._folder / "kafka.log").read_text()[-2000:]
            admin = AdminClient({"bootstrap.servers": f"{HOST}:{self.port}", "log_level": 0})
            try:
                admin.list_topics(timeout=1)
                return
            except KafkaException:
                continue

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)

    def lose(self, topic: str, partition: int) -> None:
        """Lose a stopped broker's files of a partition, as with a disk that is replaced."""
        shutil.rmtree(self._folder / "data" / f"{topic}-{partition}")

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=60)
        self._log.close()

    def _run(self, *arguments: str) -> None:
        subprocess.run([*self._java, *arguments], cwd=self._folder, stdout=self._log, stderr=self._log, check=True)
