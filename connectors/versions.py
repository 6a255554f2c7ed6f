"""The order of versions of one key, as SQL that Spark (in the lake) and GoogleSQL (in the warehouse) read alike.

A source names the columns that order versions (`Source.version_columns`); `_batch` follows them, or precedes them where
the source only ever brings later rows (`Source.later_batches_are_newer`). A batch of a requested window is the
exception there: it reads rows of any age, so its number orders nothing.

Within one partition of a log the offset is the order, whatever the timestamps are: producers set them, and they may go
backwards. Between two partitions only timestamps can be compared. So of the versions in one batch, the last one of each
partition stands for it, with the latest timestamp that the partition has for the key. This order is total.
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
    """The columns that hold a record's place in a partitioned log. `equal_timestamps_refused`: a batch is refused
    where different values of one key are in several partitions at the same time."""

    partition: str
    offset: str
    timestamp: str
    equal_timestamps_refused: bool = True

    def renamed(self, name_of: Quote) -> LogColumns:
        """The same columns under other names."""
        return replace(
            self, partition=name_of(self.partition), offset=name_of(self.offset), timestamp=name_of(self.timestamp)
        )


def ranked_columns(versions: Sequence[str], *, in_order: bool) -> list[str]:
    """The version columns with `_batch` among them, most significant first.

    Args:
        versions: may begin with `_batch`.
        in_order: whether the batch brings rows later than those of the batches before it.
    """
    if BATCH_COLUMN not in versions:
        return [*versions, BATCH_COLUMN]
    return list(versions) if in_order else [*(name for name in versions if name != BATCH_COLUMN), BATCH_COLUMN]


def columns_there(versions: Sequence[str], *tables: Sequence[str]) -> tuple[str, ...]:
    """The version columns that all these tables have: one that a source has added since comes with the next extract,
    and batches that were published before are to be merged and loaded all the same.

    Args:
        tables: the names of the columns of each table.
    """
    return tuple(name for name in versions if all(name in columns for columns in tables))


def newest_first(versions: Sequence[str], log: LogColumns | None, quote: Quote, *, in_order: bool) -> str:
    """The ORDER BY list that puts the newest of several rows of one key first; NULL is the oldest in both dialects.

    Of a log it is about the rows that `with_latest` gives.
    """
    names = ranked_columns(versions, in_order=in_order)
    columns = [quote(LATEST if log and name == log.timestamp else name) for name in names]
    return ", ".join(f"{column} DESC" for column in columns)


def with_latest(rows: str, keys: Sequence[str], log: LogColumns | None, quote: Quote, *, in_order: bool) -> str:
    """A FROM item of the rows, each with the latest timestamp of its key in its partition of the log (and its batch,
    where batches are `in_order`); without a log the rows as they are."""
    if log is None:
        return rows
    groups = [*keys, *([BATCH_COLUMN] if in_order else []), log.partition]
    by = ", ".join(quote(name) for name in dict.fromkeys(groups))
    return f"(SELECT *, MAX({quote(log.timestamp)}) OVER (PARTITION BY {by}) AS {quote(LATEST)} FROM {rows})"


def newer(versions: Sequence[str], log: LogColumns | None, quote: Quote, *, in_order: bool) -> str:
    """The condition that S is newer than T: column by column, NULL the oldest.

    Of a log, two rows of one partition are compared by their offsets. Where the batch is not `in_order`, rows of two
    partitions are compared by their timestamps alone, and at equal ones T stays. Written out, because STRUCTs have no
    order in GoogleSQL.
    """
    if log is None:
        return _later(ranked_columns(versions, in_order=in_order), quote)
    between = ranked_columns(versions, in_order=in_order) if in_order else [log.timestamp]
    s, t = (f"{alias}.{quote(log.partition)}" for alias in "ST")
    within = _later([log.offset, BATCH_COLUMN], quote)
    return f"CASE WHEN {s} = {t} THEN {within} ELSE {_later(between, quote)} END"


def _later(names: Sequence[str], quote: Quote) -> str:
    rest = ""
    for name in reversed(names):
        s, t = f"S.{quote(name)}", f"T.{quote(name)}"
        later = f"{s} > {t} OR ({s} IS NOT NULL AND {t} IS NULL)"
        rest = f"{later} OR (({s} = {t} OR ({s} IS NULL AND {t} IS NULL)) AND ({rest}))" if rest else later
    return rest
