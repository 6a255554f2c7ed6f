"""A requested window as offsets, found by the broker's index of timestamps.

The index names the first message of a partition whose timestamp is an instant or later (ListOffsets in the guide to
Kafka's protocol). A timestamp in the future, for example from a producer that writes microseconds, is later than every
instant: the index names its message for each of them, and that hides the messages after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from connectors.base import Window
from connectors.errors import UsageError
from connectors.kafka.cluster import Cluster, Topic
from connectors.kafka.message_times import is_ahead


def window_end_ms(window: Window) -> int | None:
    """Returns the end of a window, in milliseconds since 1970; None: it has no end.

    Raises:
        UsageError: it is not an instant.
    """
    return _milliseconds(window.end)


def window_offsets(
    cluster: Cluster, topic: Topic, window: Window, first: Mapping[int, int], ends: Mapping[int, int]
) -> tuple[dict[int, int], dict[int, int], list[str]]:
    """Returns the offsets from which and up to which each partition is read, and warnings.

    A partition whose window seems to end at a timestamp in the future is read to its end, as the index cannot say where
    the window ends. No message of the window is left out then, and messages after it are read too.

    Args:
        first: where a window without a start begins.
        ends: where a window without an end ends.

    Raises:
        UsageError: an end of the window is not an instant.
    """
    start_ms, end_ms = _milliseconds(window.start), _milliseconds(window.end)
    start = dict(first) if start_ms is None else cluster.offsets_at(topic, start_ms)
    if end_ms is None:
        return start, dict(ends), []
    now_ms = time.time() * 1000
    stop, warnings = dict(ends), []
    for p, message in cluster.first_at(topic, end_ms).items():
        if not is_ahead(message.timestamp_ms, now_ms) or message.offset + 1 >= ends[p]:
            stop[p] = min(message.offset, ends[p])
            continue
        warnings.append(
            f"topic {topic.name!r} partition {p}: the timestamp of the message at offset {message.offset} is in the "
            "future, so the broker cannot find where the window ends: the partition is read from offset "
            f"{min(start[p], ends[p])} to offset {ends[p]}. Kafka expects milliseconds since 1970: correct the producer"
        )
    return start, stop, warnings


def _milliseconds(instant: str | None) -> int | None:
    if instant is None:
        return None
    try:
        moment = datetime.fromisoformat(instant)
    except ValueError:
        raise UsageError(f"{instant!r} is not an instant", fix="Write YYYY-MM-DDThh:mm:ssZ") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = (since.days * 86_400 + since.seconds) * 1000 + math.ceil(since.microseconds / 1000)
    # ListOffsets gives negative numbers other meanings: -1 is the end of the log, -2 its beginning.
    return max(milliseconds, 0)
