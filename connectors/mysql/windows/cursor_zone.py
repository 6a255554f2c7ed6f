"""Local times of a cursor: what the clock of a time zone has shown before an instant, and what it may still show.

A DATETIME or DATE that holds local time goes back when clocks do: in one hour of the year two instants show the same
time. So a window ends at the lowest time that the clock may still show (`first_wall_from`). During the first pass of
that hour the end stays at the start of the hour; it moves on once the second pass has reached it. So nothing is lost,
and the end never goes back. A row is read only once no later change of it can carry a lower time, so versions of a row
stay in order.

Instants are naive UTC, walls are naive local times. Offsets come from the IANA database through `zoneinfo`, which
offers no list of changes, so changes are searched for between two instants.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_LONGEST_CHANGE = timedelta(hours=25)
"""A zone that changes sides of the date line moves its clocks by a day (IANA tzdata, Pacific/Apia 2011,
Pacific/Kwajalein 1993)."""
_STEP = timedelta(minutes=15)
"""No zone changes its offset twice within this time."""
_TICK = timedelta(microseconds=1)
_NO_ZONES = ("localtime", "posixrules", "Factory")


def parse_zone(name: str) -> str:
    """Checks a time zone's name.

    Raises:
        ValueError: the IANA database has no zone of that name; near names are in the message.
    """
    names = _names()
    if name in names:
        return name
    folded = {known.casefold(): known for known in names}
    cities = {known.rpartition("/")[2].casefold(): known for known in sorted(names, reverse=True)}
    wanted = name.strip().casefold().replace(" ", "_")
    near = [known[word] for known in (folded, cities) for word in difflib.get_close_matches(wanted, known, 3, 0.75)]
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])0?(\d{1,2})(?::?00)?", name.strip(), re.IGNORECASE)
    if offset and f"Etc/GMT{'-' if offset[1] == '+' else '+'}{int(offset[2])}" in names:
        # The signs of these zones are those of POSIX, positive west of Greenwich (IANA tzdata, file etcetera).
        near = [f"Etc/GMT{'-' if offset[1] == '+' else '+'}{int(offset[2])}"]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "write it like Asia/Tokyo"
    raise ValueError(f"not a time zone of the IANA database: {hint}")


def first_wall_from(zone: str, instant: datetime) -> datetime:
    """Returns the lowest time that a clock shows at `instant` or will show after it."""
    shown = wall_at(zone, instant)
    back = (_plus(at, after) for at, _, after in _changes(zone, instant, _plus(instant, _LONGEST_CHANGE)))
    return min((shown, *back))


def last_wall_until(zone: str, instant: datetime) -> datetime:
    """Returns the highest time that a clock shows at `instant` or has shown before it."""
    shown = wall_at(zone, instant)
    ahead = (_plus(at, before) for at, before, _ in _changes(zone, _plus(instant, -_LONGEST_CHANGE), instant))
    return max((shown, *ahead))


def earliest_instant(zone: str, wall: datetime) -> datetime:
    """Returns the first of the instants at which a clock shows `wall`. For a time that is skipped when clocks go
    forward, it is an instant before the change."""
    instants = []
    for fold in (0, 1):
        offset = wall.replace(tzinfo=_zone(zone), fold=fold).utcoffset()
        instants.append(_plus(wall, -(offset or timedelta())))
    return min(instants)


def wall_at(zone: str, instant: datetime) -> datetime:
    """Returns what a clock shows at `instant`."""
    return _plus(instant, _offset(zone, instant))


def _changes(zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta, timedelta]]:
    """Yields changes of the offset after `start`, up to `end`: the instant, the offset before it and from it on."""
    low, before = start, _offset(zone, start)
    while low < end:
        high = min(_plus(low, _STEP), end)
        after = _offset(zone, high)
        if after != before:
            first, last = low, high
            while last - first > _TICK:
                middle = first + (last - first) // 2
                first, last = (middle, last) if _offset(zone, middle) == before else (first, middle)
            yield last, before, after
        low, before = high, after


def _offset(zone: str, instant: datetime) -> timedelta:
    # At the ends of the calendar the local time may lie outside it.
    inside = min(max(instant, datetime.min + timedelta(days=2)), datetime.max - timedelta(days=2))
    return inside.replace(tzinfo=UTC).astimezone(_zone(zone)).utcoffset() or timedelta()


def _plus(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment + span
    except OverflowError:
        return datetime.max if span > timedelta() else datetime.min


@lru_cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - set(_NO_ZONES))
