"""What a trigger asks for: a window and some of the datasets, checked before anything runs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEYS = ("start", "end", "datasets")


@dataclass(frozen=True)
class Request:
    """`start` and `end` are instants in UTC, ISO 8601; None is unbounded. `datasets` empty means all."""

    start: str | None = None
    end: str | None = None
    datasets: tuple[str, ...] = ()


def requested(
    pipeline: str,
    known: Sequence[str],
    params: Mapping[str, Any],
    conf: Mapping[str, Any] | None,
    interval: tuple[datetime, datetime] | None,
) -> Request:
    """Read a run's params and conf.

    Args:
        pipeline: name of the pipeline, for messages.
        known: names of its datasets.
        params: the run's params, the conf merged into them.
        conf: the run's conf as it was given.
        interval: the data interval where the run is a backfill, else None: a scheduled run starts at
            the published position, not at its interval.

    Raises:
        UsageError: an unknown key or dataset, an instant that cannot be read, an end not after its start.
    """
    for key in conf or {}:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            raise UsageError(
                f"unknown key {key!r} in the run's conf",
                pipeline=pipeline,
                choices=KEYS,
                fix=f"Did you mean {near[0]}?" if near else None,
            )
    start = _instant(pipeline, "start", params.get("start"))
    end = _instant(pipeline, "end", params.get("end"))
    if interval is not None and start is None and end is None:
        start, end = interval
    if start is not None and end is not None and end <= start:
        raise UsageError(
            f"the window is empty: end {end.isoformat()} is not after start {start.isoformat()}",
            pipeline=pipeline,
            fix="Give an end after the start",
        )
    return Request(_text(start), _text(end), _datasets(pipeline, known, params.get("datasets")))


def _datasets(pipeline: str, known: Sequence[str], value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise UsageError(
            f"datasets is {value!r}, not a list of names", pipeline=pipeline, choices=known, fix="Leave it out for all"
        )
    for name in value:
        if name not in known:
            raise UsageError(f"no dataset {name!r}", pipeline=pipeline, choices=known)
    wanted = tuple(name for name in known if name in value)
    return () if len(wanted) == len(known) else wanted


def _instant(pipeline: str, key: str, value: object) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        read = datetime.fromisoformat(str(value))
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{key} is {value!r}, not an instant", pipeline=pipeline, fix=f"Write {key} as 2026-01-31T00:00:00Z"
        ) from None


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat().replace("+00:00", "Z") if instant else None
