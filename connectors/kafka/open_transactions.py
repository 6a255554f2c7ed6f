"""Messages that exist and cannot be read yet: an open transaction holds back all messages after it in its partition.

A broker aborts a transaction that is open longer than its producer asked for, which is at most
`transaction.max.timeout.ms` ("Broker Configs" in Kafka's documentation). One that stays open longer hangs (KIP-664),
and nothing behind it is read until somebody aborts it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.kafka.cluster import Cluster, End, Topic
from connectors.kafka.message_times import written_ms
from connectors.kafka.probes import timestamps_at

LONGEST_MS = 15 * 60 * 1000
"""Kafka's default of `transaction.max.timeout.ms`, used if the broker does not say."""


@dataclass(frozen=True)
class Waiting:
    """Offsets of a partition that cannot be read yet: the first of them, and since when it waits (milliseconds since
    1970). The time is the message's own timestamp, which its producer or the broker set. None: the message cannot have
    been written at that time."""

    partition: int
    offset: int
    count: int
    since_ms: int | None

    def text(self, now: datetime) -> str:
        """Returns, for people, which offsets they are, and their age."""
        since = "an unknown time (no timestamp says it)"
        if self.since_ms is not None:
            at = datetime.fromtimestamp(self.since_ms / 1000, UTC)
            since = f"{at:%Y-%m-%dT%H:%M:%SZ} ({max(int((now - at).total_seconds()), 0):,} seconds)"
        return (
            f"partition {self.partition}: {self.count} offsets from {self.offset} on wait for an open transaction, the "
            f"first of them since {since}"
        )

    def is_older_than(self, age_ms: int, now: datetime) -> bool:
        """Whether the first of them is known to be that old."""
        return self.since_ms is not None and now.timestamp() * 1000 - self.since_ms > age_ms

    def may_be_before(self, instant_ms: int | None) -> bool:
        """Whether the first of them may be from before an instant; true if there is no instant."""
        return instant_ms is None or self.since_ms is None or self.since_ms < instant_ms


def waiting_messages(
    cluster: Cluster, topic: Topic, high_watermarks: Mapping[int, int], ends: Mapping[int, End]
) -> list[Waiting]:
    """Returns what an open transaction holds back in each partition.

    Args:
        high_watermarks: requested before `ends`, so that messages that arrive in between do not count as held back.
    """
    offsets = {p: end.offset for p, end in ends.items() if high_watermarks[p] > end.offset}
    timestamps = timestamps_at(cluster, topic, offsets) if offsets else {}
    now_ms = time.time() * 1000
    return [
        Waiting(p, offsets[p], high_watermarks[p] - offsets[p], None if ms is None else written_ms(ms, now_ms))
        for p, ms in sorted(timestamps.items())
    ]


def hanging_warnings(cluster: Cluster, topic: Topic, waiting: Sequence[Waiting], now: datetime) -> dict[int, str]:
    """Returns a warning for each partition that a transaction holds back for longer than it may be open. The broker is
    asked for that limit only if a transaction is older than the default."""
    old = [transaction for transaction in waiting if transaction.is_older_than(LONGEST_MS, now)]
    longest_ms = int(cluster.broker_setting("transaction.max.timeout.ms") or LONGEST_MS) if old else LONGEST_MS
    return {
        transaction.partition: f"topic {topic.name!r} {transaction.text(now)}. It is older than a transaction may "
        f"become (transaction.max.timeout.ms: {longest_ms:,}) and seems to hang: nothing behind it is read until it is "
        "aborted (kafka-transactions.sh find-hanging, then abort)"
        for transaction in old
        if transaction.is_older_than(longest_ms, now)
    }
