"""The order of versions of one key, as SQL that Spark (in the lake) and GoogleSQL (in the warehouse) read alike.

A source names the columns that order versions (`Source.version_columns`). `_batch` follows them, or precedes them if
the source only ever brings later rows (`Source.later_batches_are_newer`). A batch of a requested window is the
exception there: it reads rows of any age, so its number orders nothing. A version is the name of a column, or a column
that counts only among rows without another column (`WhereNull`): rows from before that other column existed.

Within one partition of a log the offset is the order, independently of the timestamps: producers set them, and they may
go backwards. Between two partitions only timestamps can be compared. So of the versions in one batch, the last one of
each partition stands for it, with the latest timestamp that the partition has for the key. This order is total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

BATCH_COLUMN = "_batch"
LATEST = "_latest_in_partition"
"""The column that `with_latest` adds."""

Quote = Callable[[str], str]
"""Puts the quotes of an SQL dialect around a name."""


@dataclass(frozen=True)
class LogColumns:
    """The columns with a record's place in a partitioned log. `equal_timestamps_refused`: a batch is refused if several
    partitions have different values of one key at the same time."""

    partition: str
    offset: str
    timestamp: str
    equal_timestamps_refused: bool = True

    def renamed(self, name_of: Quote) -> LogColumns:
        """Returns the same columns under other names."""
        return replace(
            self, partition=name_of(self.partition), offset=name_of(self.offset), timestamp=name_of(self.timestamp)
        )


@dataclass(frozen=True)
class WhereNull:
    """`column` if `null` is NULL, otherwise NULL."""

    column: str
    null: str

    def renamed(self, name_of: Quote) -> WhereNull:
        """Returns the same columns under other names."""
        return WhereNull(name_of(self.column), name_of(self.null))


Version = str | WhereNull
"""What orders rows: a column, or `WhereNull`."""


def renamed_versions(versions: Sequence[Version], name_of: Quote) -> tuple[Version, ...]:
    """Returns the same versions with their columns under other names."""
    return tuple(name_of(v) if isinstance(v, str) else v.renamed(name_of) for v in versions)


def columns_of(versions: Sequence[Version]) -> tuple[str, ...]:
    """Returns the versions that are columns, most significant first."""
    return tuple(version for version in versions if isinstance(version, str))


def ranked_columns(versions: Sequence[Version], *, in_order: bool) -> list[Version]:
    """Returns the version columns with `_batch` among them, most significant first.

    Args:
        versions: may begin with `_batch`.
        in_order: whether the batch brings rows later than those of the batches before it.
    """
    if BATCH_COLUMN not in versions:
        return [*versions, BATCH_COLUMN]
    return list(versions) if in_order else [*(name for name in versions if name != BATCH_COLUMN), BATCH_COLUMN]


def columns_there(versions: Sequence[Version], *tables: Sequence[str]) -> tuple[Version, ...]:
    """Returns the versions whose columns exist in all these tables. A column that a source has added since comes with
    the next extract; until then batches that were published before must still be merged and loaded. A missing column
    is NULL in each row.

    Args:
        tables: the names of the columns of each table.
    """

    def there(name: str) -> bool:
        return all(name in columns for columns in tables)

    present: list[Version] = []
    for version in versions:
        if isinstance(version, str):
            present += [version] if there(version) else []
        elif there(version.column):
            present.append(version if there(version.null) else version.column)
    return tuple(present)


def newest_first(versions: Sequence[Version], log: LogColumns | None, quote: Quote, *, in_order: bool) -> str:
    """Returns the ORDER BY list that puts the newest of several rows of one key first; NULL is the oldest in both
    dialects.

    For a log it orders the rows that `with_latest` returns.
    """
    names = ranked_columns(versions, in_order=in_order)
    columns = [_value(LATEST if log and name == log.timestamp else name, quote) for name in names]
    return ", ".join(f"{column} DESC" for column in columns)


def with_latest(rows: str, keys: Sequence[str], log: LogColumns | None, quote: Quote, *, in_order: bool) -> str:
    """Returns a FROM item of the rows, each with the latest timestamp of its key in its partition of the log (and in
    its batch, if batches are `in_order`). Without a log it returns the rows as they are."""
    if log is None:
        return rows
    groups = [*keys, *([BATCH_COLUMN] if in_order else []), log.partition]
    by = ", ".join(quote(name) for name in dict.fromkeys(groups))
    return f"(SELECT *, MAX({quote(log.timestamp)}) OVER (PARTITION BY {by}) AS {quote(LATEST)} FROM {rows})"


def newer(versions: Sequence[Version], log: LogColumns | None, quote: Quote, *, in_order: bool) -> str:
    """Returns the condition that S is newer than T: column by column, with NULL as the oldest.

    In a log, two rows of one partition are compared by their offsets. If the batch is not `in_order`, rows of two
    partitions are compared by their timestamps alone, and T stays if these are equal. The condition is written out,
    because STRUCTs have no order in GoogleSQL.
    """
    if log is None:
        return _later(ranked_columns(versions, in_order=in_order), quote)
    between: list[Version] = ranked_columns(versions, in_order=in_order) if in_order else [log.timestamp]
    s, t = (f"{alias}.{quote(log.partition)}" for alias in "ST")
    within = _later([log.offset, BATCH_COLUMN], quote)
    return f"CASE WHEN {s} = {t} THEN {within} ELSE {_later(between, quote)} END"


def _value(version: Version, quote: Quote, alias: str = "") -> str:
    if isinstance(version, str):
        return f"{alias}{quote(version)}"
    return f"CASE WHEN {alias}{quote(version.null)} IS NULL THEN {alias}{quote(version.column)} END"


def _later(versions: Sequence[Version], quote: Quote) -> str:
    rest = ""
    for version in reversed(versions):
        s, t = _value(version, quote, "S."), _value(version, quote, "T.")
        later = f"{s} > {t} OR ({s} IS NOT NULL AND {t} IS NULL)"
        rest = f"{later} OR (({s} = {t} OR ({s} IS NULL AND {t} IS NULL)) AND ({rest}))" if rest else later
    return rest
