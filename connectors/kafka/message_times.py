"""When a message was written, as far as its timestamp says so.

Producers set the timestamp of a message, and a topic may accept any (`message.timestamp.after.max.ms` in "Topic
Configs" of Kafka's documentation). One of a producer that writes micro- or nanoseconds is thousands of years ahead, and
-1 is that of a message without one.
"""

from __future__ import annotations

AHEAD_MS = 60 * 60 * 1000
"""How far a clock may be ahead: Kafka's default of `message.timestamp.after.max.ms`."""


def is_ahead(timestamp_ms: int, now_ms: float) -> bool:
    """Whether a timestamp is further in the future than clocks differ."""
    return timestamp_ms > now_ms + AHEAD_MS


def written_ms(timestamp_ms: int, now_ms: float) -> int | None:
    """The timestamp, in milliseconds since 1970; None where it is not the time of a message that is there now."""
    return None if timestamp_ms < 0 or is_ahead(timestamp_ms, now_ms) else timestamp_ms
