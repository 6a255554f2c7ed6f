"""Messages that are there and cannot be read yet: an open transaction holds back all that follow it in its partition.

A broker aborts a transaction that is open longer than its producer asked for, which is at most
`transaction.max.timeout.ms`, 15 minutes by default ("Broker Configs" in Kafka's documentation). One that stays open
longer hangs (KIP-664), and nothing behind it is read until somebody aborts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.kafka.cluster import Cluster, End, Topic
from connectors.kafka.probes import timestamps_at

HANGING_SECONDS = 15 * 60


@dataclass(frozen=True)
class Waiting:
    """Offsets of a partition that cannot be read yet, the first of them, and since when (milliseconds since 1970): its
    own timestamp, which its producer set or the broker."""

    partition: int
    offset: int
    count: int
    since_ms: int

    def text(self, now: datetime) -> str:
        """Which offsets they are, and their age."""
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC)
        age_seconds = max(int((now - since).total_seconds()), 0)
        return (
            f"partition {self.partition}: {self.count} offsets from {self.offset} on wait for an open transaction, the "
            f"first of them since {since:%Y-%m-%dT%H:%M:%SZ} ({age_seconds:,} seconds)"
        )

    def hangs(self, now: datetime) -> bool:
        """Whether it is older than a transaction may become."""
        return now.timestamp() - self.since_ms / 1000 > HANGING_SECONDS


def waiting_messages(
    cluster: Cluster, topic: Topic, high_watermarks: Mapping[int, int], ends: Mapping[int, End]
) -> list[Waiting]:
    """What an open transaction holds back in each partition.

    Args:
        high_watermarks: asked for before `ends`, so that what arrives in between is not taken for held back.
    """
    held = {p: end.offset for p, end in ends.items() if high_watermarks[p] > end.offset}
    since = timestamps_at(cluster, topic, held) if held else {}
    return [Waiting(p, held[p], high_watermarks[p] - held[p], since[p]) for p in sorted(since)]


def hanging_warnings(topic: Topic, waiting: list[Waiting], now: datetime) -> list[str]:
    """One warning for each partition that a transaction holds back for longer than one may be open."""
    return [
        f"topic {topic.name!r} {found.text(now)}. It is older than a transaction may become and seems to hang: nothing "
        "behind it is read until it is aborted (kafka-transactions.sh find-hanging, then abort)"
        for found in waiting
        if found.hangs(now)
    ]
