"""GoogleSQL that changes a dataset's table, or asks what a change would touch. `transactions` makes scripts of it.

Texts only, no client. Statements take literals, not parameters: not every engine that runs them supports a script's
parameters. Every name and value is quoted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import date, datetime

from connectors.bigquery import fingerprints
from connectors.bigquery.columns import BATCH_COLUMN, DELETED_COLUMN, WarehouseColumn
from connectors.bigquery.partitions import Partitioning, PartitionName, every_row
from connectors.errors import LoadRefused
from connectors.versions import LogColumns, Version, newer, newest_first, with_latest

STAGED = "S"
"""The alias of staging."""


@dataclass(frozen=True)
class Target:
    """A table, and how rows get into it. `table` is quoted already (`quoted`). `key` is the primary key or the identity
    of an append. `versions` order the rows of one key, most significant first, with `log` and `in_order` as in
    `connectors.versions`. `removes`: rows that are deleted at the source leave the table, instead of being marked."""

    table: str
    columns: tuple[WarehouseColumn, ...]
    key: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    partitioning: Partitioning | None = None
    removes: bool = False
    log: LogColumns | None = None
    in_order: bool = True


def quoted(*parts: str) -> str:
    """Returns a path of identifiers, each in backquotes."""
    return ".".join("`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`" for part in parts)


def text(value: str) -> str:
    """Returns a string literal. Escapes are those of "Lexical structure" in the GoogleSQL reference."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def merge(target: Target, staging: str, within: str | None = None, only: str | None = None) -> str:
    """Brings the newest row of each key; an existing row changes only for a newer version.

    `within` is a condition on T that every row of these keys meets, including the partitions that it names (`touched`):
    BigQuery scans no others. `only` is a condition on staging (`staged_in`); a row is brought only if it is the newest
    of its key and meets it. If the target `removes` rows, a newer tombstone deletes its row, and one without a row adds
    none.
    """
    changed = [column.name for column in target.columns if column.name not in target.key]
    assignments = ", ".join(f"{quoted(name)} = S.{quoted(name)}" for name in changed)
    later = newer(target.versions, target.log, quoted, in_order=target.in_order)
    gone, live = "", None
    if DELETED_COLUMN in changed:
        if target.removes:
            # The first WHEN clause that holds is taken ("MERGE statement" in the GoogleSQL reference).
            gone = f"WHEN MATCHED AND ({later}) AND S.{quoted(DELETED_COLUMN)} IS NOT NULL THEN DELETE\n"
            live = f"S.{quoted(DELETED_COLUMN)} IS NULL"
        later = f"{later} OR ({_back(DELETED_COLUMN)})"
    return (
        f"{_merge_head(target, staging, within, only)}\n"
        f"{gone}WHEN MATCHED AND ({later}) THEN UPDATE SET {assignments}\n"
        f"{_merge_insert(target, live)}"
    )


def remove_marked(target: Target) -> str:
    """Removes the rows that were marked as deleted while the table still kept them."""
    by = target.partitioning
    every = f" AND {every_row(f'T.{quoted(by.column)}')}" if by and by.filter_required else ""
    return f"DELETE FROM {target.table} AS T WHERE T.{quoted(DELETED_COLUMN)} IS NOT NULL{every}"


def append(target: Target, staging: str, within: str | None = None, only: str | None = None) -> str:
    """Inserts the rows whose identity is not there yet. See `merge` for `within` and `only`."""
    return f"{_merge_head(target, staging, within, only)}\n{_merge_insert(target)}"


def arriving(target: Target, staging: str) -> str:
    """Selects one column: the names of the partitions of staging's rows."""
    partitioning = target.partitioning
    assert partitioning is not None, "only a partitioned table has partitions"
    staged = quoted(staged_name(target, partitioning.column))
    return f"SELECT DISTINCT {partitioning.name_of(f'{STAGED}.{staged}')} AS name FROM {staging} AS {STAGED}"


def staged_in(target: Target, names: Iterable[PartitionName]) -> str:
    """Returns the condition that a row of staging lies in one of the partitions of these names, and in no other."""
    partitioning = target.partitioning
    assert partitioning is not None, "only a partitioned table has partitions"
    return partitioning.among(names, quoted(staged_name(target, partitioning.column)))


def touched(target: Target, staging: str, only: str | None = None) -> str:
    """Selects one column: the names of the partitions of staging's rows, and of those where rows of the same keys are
    now.

    Only keys and partition column of the table are read. If the partition column is part of the key, rows of one key
    cannot be in two partitions, and the table is not read. See `merge` for `only`.
    """
    partitioning = target.partitioning
    assert partitioning is not None, "only a partitioned table has partitions"
    if only is not None:
        staging = f"(SELECT * FROM {staging} WHERE {only})"
    new = arriving(target, staging)
    if partitioning.column in target.key:
        return new
    column = f"T.{quoted(partitioning.column)}"
    same = " AND ".join(f"T.{quoted(n)} = {STAGED}.{quoted(staged_name(target, n))}" for n in target.key)
    keys = ", ".join(quoted(staged_name(target, name)) for name in target.key)
    return (
        f"{new}\nUNION DISTINCT\nSELECT DISTINCT {partitioning.name_of(column)} FROM {target.table} AS T\n"
        f"JOIN (SELECT DISTINCT {keys} FROM {staging}) AS {STAGED} ON {same}\nWHERE {every_row(column)}"
    )


def count(target: Target) -> str:
    """Counts the table's rows; free if the table requires no filter."""
    by = target.partitioning
    where = f" WHERE {every_row(f'T.{quoted(by.column)}')}" if by and by.filter_required else ""
    return f"SELECT COUNT(*) FROM {target.table} AS T{where}"


def replace(target: Target, staging: str | None, names: Iterable[PartitionName] = ()) -> list[str]:
    """Replaces the table's rows by those of staging; `None` empties it. `names` are those of the partitions of
    staging's rows, if the table has partitions."""
    return [f"TRUNCATE TABLE {target.table}", *(_inserts(target, staging, names) if staging else [])]


def overwrite_partitions(target: Target, staging: str | None, days: Sequence[str]) -> list[str]:
    """Replaces the rows of the named days by those that staging holds; days of which it holds none become empty.

    Raises the errors of `in_days`.
    """
    by_day, dates = _days(target, days)
    column = f"T.{quoted(by_day.column)}"
    deletes = [f"DELETE FROM {target.table} AS T WHERE {where}" for where in by_day.conditions(dates, column)]
    return [*deletes, *(_inserts(replaced(target, partitioning=by_day), staging, dates) if staging and dates else [])]


def _inserts(target: Target, staging: str, names: Iterable[PartitionName]) -> list[str]:
    """Inserts all rows of staging, by statements that each modify no more partitions than one may."""
    groups = target.partitioning.grouped(names) if target.partitioning is not None else []
    if len(groups) <= 1:
        return [insert(target, staging)]
    return [insert(target, staging, staged_in(target, group)) for group in groups]


def insert(target: Target, staging: str, only: str | None = None) -> str:
    names = ", ".join(quoted(column.name) for column in target.columns)
    where = f" WHERE {only}" if only else ""
    return f"INSERT INTO {target.table} ({names})\nSELECT {_staged(target)} FROM {staging}{where}"


def in_days(target: Target, days: Sequence[str]) -> str:
    """Returns the condition that a row of staging lies in one of these days, and in no other.

    Raises:
        LoadRefused: a day is not an ISO date.
    """
    by_day, dates = _days(target, days)
    return by_day.among(dates, f"{STAGED}.{quoted(staged_name(target, by_day.column))}")


def _days(target: Target, days: Sequence[str]) -> tuple[Partitioning, list[PartitionName]]:
    """Returns the days as dates, and a partitioning by days of the table's partition column."""
    assert target.partitioning is not None, "the spec guarantees a partition column"
    try:
        dates: list[PartitionName] = [date.fromisoformat(day) for day in days]
    except ValueError as error:
        raise LoadRefused(f"a partition of the batch is not a day: {error}", fix="Run the transform again") from None
    return Partitioning(target.partitioning.column, target.partitioning.kind), dates


def widen(table: str, column: str, kind: str) -> str:
    """Gives a column a wider type in place; the API cannot ("Change a column's data type" in BigQuery's
    documentation)."""
    return f"ALTER TABLE {table} ALTER COLUMN {quoted(column)} SET DATA TYPE {kind}"


def copy_rows(target: Target, source: str, columns: Sequence[str], where: str = "TRUE") -> str:
    """Inserts all rows of another table, with these of its columns; `where` is a condition that they all meet."""
    names = ", ".join(quoted(name) for name in columns)
    return f"INSERT INTO {target.table} ({names})\nSELECT {names} FROM {source} WHERE {where}"


def census(
    target: Target,
    staging: str,
    days: Sequence[str] | None,
    *,
    never_null: Sequence[str] = (),
    hashed: bool = False,
    kept_from: datetime | None = None,
) -> str:
    """Selects one row about staging, in one scan: rows, rows without a whole key, rows outside the days, rows of
    partitions before `kept_from` (None: 0), and rows with NULL in each of the `never_null` columns of the table. If
    `hashed`, it also selects the sums from which `fingerprints.total` makes the fingerprint.
    """
    unkeyed = " OR ".join(f"{STAGED}.{quoted(staged_name(target, name))} IS NULL" for name in target.key) or "FALSE"
    outside = "FALSE"
    if days is not None:
        outside = f"NOT COALESCE({in_days(target, days)}, FALSE)"
    expired, by = "FALSE", target.partitioning
    if kept_from is not None and by is not None:
        expired = by.before(kept_from, f"{STAGED}.{quoted(staged_name(target, by.column))}")
    asked = [f"{unkeyed} AS unkeyed", f"{outside} AS outside", f"{expired} AS expired"]
    answers = ["COUNTIF(unkeyed)", "COUNTIF(outside)", "COUNTIF(expired)"]
    for number, name in enumerate(never_null):
        asked.append(f"{STAGED}.{quoted(staged_name(target, name))} IS NULL AS null_{number}")
        answers.append(f"COUNTIF(null_{number})")
    if hashed:
        columns = ((f"{STAGED}.{quoted(column.staged_name)}", column.staged_type) for column in target.columns)
        asked.append(f"{fingerprints.row_hash(columns)} AS row_hash")
        answers += fingerprints.sums("row_hash")
    return f"SELECT COUNT(*), {', '.join(answers)} FROM (SELECT {', '.join(asked)} FROM {staging} AS {STAGED})"


def staged_name(target: Target, name: str) -> str:
    """Returns the name in staging of a column of the table."""
    return next((column.staged_name for column in target.columns if column.name == name), name)


def _staged(target: Target) -> str:
    """Returns the columns of staging under the names of the table."""
    named = [(_value(column), quoted(column.name)) for column in target.columns]
    return ", ".join(name if staged == name else f"{staged} AS {name}" for staged, name in named)


def _value(column: WarehouseColumn) -> str:
    """Returns a column of staging as the table holds it. A number that JSON cannot hold exactly is an error, never
    another number ("PARSE_JSON" in the GoogleSQL reference). An invalid shape is an error, too; its text follows its
    SRID."""
    staged = quoted(column.staged_name)
    match column.type:
        case "JSON":
            return f"PARSE_JSON({staged}, wide_number_mode => 'exact')"
        case "GEOGRAPHY":
            return f"ST_GEOGFROMTEXT(SUBSTR({staged}, STRPOS({staged}, ';') + 1))"
        case _:
            return staged


def _back(deleted: str) -> str:
    """Returns the condition that S was marked as deleted and exists again, even if its version is an older one."""
    s, t = (f"{alias}.{quoted(deleted)}" for alias in "ST")
    return f"{t} IS NOT NULL AND {s} IS NULL AND S.{quoted(BATCH_COLUMN)} > T.{quoted(BATCH_COLUMN)}"


def _merge_head(target: Target, staging: str, within: str | None, only: str | None) -> str:
    def staged(name: str) -> str:
        return quoted(staged_name(target, name))

    key = ", ".join(staged(name) for name in target.key)
    order = newest_first(target.versions, target.log, staged, in_order=target.in_order)
    match = " AND ".join(f"T.{quoted(name)} = S.{quoted(name)}" for name in target.key)
    if within is not None:
        match = f"{match} AND ({within})"
    source = with_latest(staging, target.key, target.log, staged, in_order=target.in_order)
    ranked = f"WHERE TRUE\n  QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {order}) = 1"
    # Choose the newest row of a key first: an older one of another partition must not take its place.
    rows = f"{source} {ranked}" if only is None else f"(SELECT * FROM {source} {ranked}) WHERE {only}"
    return f"MERGE INTO {target.table} AS T\nUSING (SELECT {_staged(target)} FROM {rows}) AS S\nON {match}"


def _merge_insert(target: Target, where: str | None = None) -> str:
    names = ", ".join(quoted(column.name) for column in target.columns)
    values = ", ".join(f"S.{quoted(column.name)}" for column in target.columns)
    condition = f" AND {where}" if where else ""
    return f"WHEN NOT MATCHED{condition} THEN INSERT ({names}) VALUES ({values})"
