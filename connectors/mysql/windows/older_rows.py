"""Counts the rows of a read that are older than a moment, if the count is cheap."""

from __future__ import annotations

from datetime import datetime

from connectors.base import ReadPlan
from connectors.mysql.schema.tables import TableName, describe_table
from connectors.mysql.sessions.session import Session
from connectors.mysql.sql import quote_identifier

FEW_ROWS = 100_000
"""Up to this many rows are counted without an index."""
MOST_COUNTED = 1_000_000
"""No more are counted: the answer is for people."""


def count_older(
    session: Session, table: TableName, plan: ReadPlan, condition: str | None, column: str, before: datetime
) -> int | None:
    """Counts a plan's rows whose value in a column of days or times, in UTC, is before a moment; None if the column has
    no index and the plan has many rows. `MOST_COUNTED` + 1 stands for any larger number.

    Args:
        condition: the rows that the plan reads; None: all.
    """
    planned = sum(FEW_ROWS + 1 if slice_.planned_rows is None else slice_.planned_rows for slice_ in plan.slices)
    if planned > FEW_ROWS and column not in describe_table(session, table).indexed:
        return None
    named = quote_identifier(column)
    # A date like 0000-00-00 is before everything and reaches no partition.
    older = f"{named} >= '0001-01-01' AND {named} < '{before:%Y-%m-%d %H:%M:%S}'"
    where = f"({condition}) AND {older}" if condition else older
    counted = f"SELECT 1 FROM {table.quoted} WHERE {where} LIMIT {MOST_COUNTED + 1}"
    return int(session.value(f"SELECT COUNT(*) FROM ({counted}) AS older"))
