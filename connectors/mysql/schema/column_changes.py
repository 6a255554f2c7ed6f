"""Changes between a plan and its read: whether the planned columns can still be read as planned, and whether the
planned primary key is still unique."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from connectors.base import ReadPlan
from connectors.errors import SourceMoved
from connectors.mysql.schema.tables import TableName

_GROWS = re.compile(r"(char|varchar|varbinary)\((\d+)\)(.*)")
"""Types whose values stay the same when the length grows. BINARY(n) is not among them: zero bytes fill it up."""


def check_columns_unchanged(plan: ReadPlan, now: Mapping[str, str], key: Sequence[str], table: TableName) -> None:
    """Checks that every planned column still has its planned type, and that the planned primary key is still unique.
    check and curated rely on the table's own key and do not test the rows for duplicates.

    Added or moved columns do not matter: a plan reads its columns by name.

    Args:
        now: the server's type of each column; empty if the table is gone.
        key: the columns of the table's primary key.

    Raises:
        SourceMoved: columns are gone or have another type (the message names them all), or the key is another one and
            not part of the planned one.
    """
    if not now:
        raise SourceMoved(f"{table} is gone since it was planned", fix="Plan again")
    changes = []
    for column in plan.columns:
        source_type = now.get(column.name)
        if source_type is None:
            changes.append(f"{column.name!r} ({column.source_type}) is gone")
        elif not reads_alike(column.source_type, source_type):
            changes.append(f"{column.name!r} was {column.source_type} and is {source_type}")
    if changes:
        raise SourceMoved(
            f"columns of {table} changed since it was planned: {', '.join(changes)}",
            fix="Plan again: the next generation reads the columns as they are then",
        )
    if plan.primary_key and not (key and set(key) <= set(plan.primary_key)):
        was, primary_key = ", ".join(plan.primary_key), f"({', '.join(key)})" if key else "none"
        raise SourceMoved(
            f"the primary key of {table} was ({was}) when it was planned and is {primary_key}",
            fix="Plan again: the next generation is made by the key as it is then",
        )


def reads_alike(planned: str, now: str) -> bool:
    """Whether every value of the type `now` is read the same way under the `planned` one."""
    if planned == now:
        return True
    before, after = _GROWS.fullmatch(planned), _GROWS.fullmatch(now)
    if not before or not after or (before[1], before[3]) != (after[1], after[3]):
        return False
    return int(before[2]) <= int(after[2])
