"""The time at which a message was written, as far as its timestamp shows it.

Producers set the timestamp of a message, and a topic may accept any (`message.timestamp.after.max.ms` in "Topic
Configs" of Kafka's documentation). A timestamp in micro- or nanoseconds is thousands of years ahead, and a message
without a timestamp has -1.
"""

from __future__ import annotations

AHEAD_MS = 60 * 60 * 1000
"""How far a clock may be ahead: Kafka's default of `message.timestamp.after.max.ms`."""


def is_ahead(timestamp_ms: int, now_ms: float) -> bool:
    """Whether a timestamp is further in the future than clocks differ."""
    return timestamp_ms > now_ms + AHEAD_MS


def written_ms(timestamp_ms: int, now_ms: float) -> int | None:
    """Returns the timestamp in milliseconds since 1970; None if it cannot be that of an existing message."""
    return None if timestamp_ms < 0 or is_ahead(timestamp_ms, now_ms) else timestamp_ms
