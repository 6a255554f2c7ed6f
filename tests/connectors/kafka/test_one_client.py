"""Datasets of a pipeline are planned side by side over one cluster: one client answers all of them."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import confluent_kafka.admin
import pytest

from connectors.connection import Connection
from connectors.errors import ServiceUnavailable
from connectors.kafka import cluster

CONNECTION = Connection.parse("kafka", "kafka://127.0.0.1:9")


class Slow:
    """A client that takes a while to be made, and never answers."""

    made = 0

    def __init__(self, _: object) -> None:
        time.sleep(0.05)
        type(self).made += 1

    def describe_topics(self, topics: Any, request_timeout: float) -> dict[str, Future[Any]]:
        return {"t": Future()}


def test_threads_that_ask_at_once_share_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confluent_kafka.admin, "AdminClient", Slow)
    monkeypatch.setattr(Slow, "made", 0)
    asked = cluster.Cluster(CONNECTION)
    with ThreadPoolExecutor(8) as pool:
        clients = {id(client) for client in pool.map(lambda _: asked._admin, range(8))}
    assert (Slow.made, len(clients)) == (1, 1)


def test_a_request_that_is_lost_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confluent_kafka.admin, "AdminClient", Slow)
    monkeypatch.setattr(cluster, "_FORGOTTEN_AFTER_SECONDS", 0.1)
    with pytest.raises(ServiceUnavailable, match="lost the request"):
        cluster.Cluster(CONNECTION).topic("t")
