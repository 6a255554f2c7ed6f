"""The time zone of a server's own clock, which NOW() writes into a DATETIME unless the application sets another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import literal, quote_identifier
from connectors.mysql.windows.cursor_zone import parse_zone
from connectors.mysql.windows.cursors import Cursor

JUST_NOW = timedelta(minutes=5)
"""A table that is written all the time has a row this young."""
_FARTHEST_AHEAD = timedelta(hours=15)


@dataclass(frozen=True)
class ServerZone:
    """A server's default for sessions: how far ahead of UTC it is now, and its name (not always an IANA name)."""

    offset: timedelta
    name: str

    @property
    def is_place(self) -> bool:
        """Whether the name is an IANA zone that knows when clocks change; names like EST do not."""
        if "/" not in self.name:
            return False
        try:
            parse_zone(self.name)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        minutes = round(self.offset / timedelta(minutes=1))
        sign = "-" if minutes < 0 else "+"
        return f"{self.name} (UTC{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02})"


def server_zone(session: Session) -> ServerZone | None:
    """Returns the default time zone of the server's sessions; None if the server cannot say (MySQL manual, MySQL Server
    Time Zone Support: a named zone needs the time zone tables)."""
    name, system, seconds = session.rows(
        "SELECT @@global.time_zone, @@system_time_zone, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(),"
        " CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone))"
    )[0]
    if seconds is None:
        return None
    return ServerZone(timedelta(seconds=int(seconds)), str(system if name == "SYSTEM" else name))


def written_in_local_time(
    session: Session, table: TableName, cursor: Cursor, zone: ServerZone, now: datetime
) -> str | None:
    """Returns a warning if the newest DATETIME is what the server's own clock shows, and that clock is not in UTC.

    Costs one look-up in the cursor's index.
    """
    if not zone.offset:
        return None
    quoted = quote_identifier(cursor.column)
    latest = literal(cursor.kind, cursor.edge(now + _FARTHEST_AHEAD))
    newest = session.value(f"SELECT MAX({quoted}) FROM {table.quoted} WHERE {quoted} < {latest}")
    if not isinstance(newest, datetime):
        return None
    behind = now + zone.offset - newest
    if not timedelta(seconds=-1) <= behind <= JUST_NOW:
        return None
    consequence = "nothing new is read" if zone.offset < timedelta() else "rows are read hours late"
    return (
        f"the newest {cursor.column} of {table} is {newest}, the server's clock shows {now + zone.offset:%F %T} in "
        f"{zone} and {now:%F %T} in UTC: the column seems to hold local time, and windows are in UTC, so {consequence}"
    )


def zone_to_write(cursor: Cursor, zone: ServerZone | None) -> str:
    """Returns the fix for a cursor in local time."""
    if zone is None or not zone.offset:
        return f"If {cursor.column} holds a local time, write cursor_time_zone with its IANA name"
    if zone.is_place:
        return f"If {cursor.column} holds that time, write cursor_time_zone: {zone.name}"
    return f"If {cursor.column} holds the server's time, {zone}, write cursor_time_zone with its IANA name"
