"""Computes the current state after a correction has set rows of a published batch aside, in one MERGE.

The state of a key is what the merges of its batches left, one after the other. So each key that a correction may
concern gets the state that the same merges would give without the rows that are gone. To compute it, the versions of
the key that raw still has are folded in the order of their batches. A key without any version in raw leaves the table.

The cost is one scan of raw, and a sort of the rows of these keys.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from connectors.versions import LogColumns, Version, newest_first, with_latest
from jobs.lake.schema import BATCH_COLUMN, literal, quoted

_RANK = "_rank"
_VERSIONS = "_versions"
_STATE = "_state"


@dataclass(frozen=True)
class Versions:
    """What determines a MERGE into a curated table: columns of the rows, key, version columns, place in a log.

    `replaces` is the condition that a later batch's row S takes the place of T; None where none ever does (`append`).
    `by_order`: whether merges in another order may leave another state. Then the state of a key may depend on a row
    that is no longer in it.
    """

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    log: LogColumns | None
    replaces: str | None
    by_order: bool


def corrected_merge(
    into: str, before: str, log: str, rows: Versions, corrected: Collection[int], last_batch: int
) -> str:
    """Return the MERGE that removes rows from a curated table that raw no longer has.

    Args:
        into: the branch of the curated table.
        before: FROM item of the table as it stands.
        log: FROM item of raw, with the correction.
        corrected: numbers of the batches that lost rows; at least one.
        last_batch: the last batch that is merged into the table.
    """
    keys = list(rows.keys)
    places = [f"_key_{number}" for number in range(len(keys))]
    concerned = _concerned(before, log, rows, places, corrected)
    states = states_query(log, rows, places, concerned, last_batch)
    values = ", ".join(f"f.{_STATE}.{quoted(column)} AS {quoted(column)}" for column in rows.columns)
    there = _same("a", "f", places, places)
    source = (
        f"SELECT {', '.join(f'a.{place}' for place in places)}, f.{_STATE} IS NOT NULL AS _remains, {values}"
        f" FROM ({concerned}) a LEFT JOIN ({states}) f ON {there}"
    )
    on = _same("t", "s", [quoted(key) for key in keys], places)
    assignments = ", ".join(f"t.{quoted(column)} = s.{quoted(column)}" for column in rows.columns)
    return (
        f"MERGE INTO {into} t USING ({source}) s ON {on}"
        f" WHEN MATCHED AND s._remains THEN UPDATE SET {assignments} WHEN MATCHED THEN DELETE"
    )


def _concerned(before: str, log: str, rows: Versions, places: Sequence[str], corrected: Collection[int]) -> str:
    """Return a query of the keys whose state may change: those whose row raw no longer has. If the order of merges
    matters, also all keys that were merged since: a row that is gone may have stood between two others."""
    columns = [quoted(column) for column in rows.columns]
    named, among = ", ".join(columns), f"{BATCH_COLUMN} IN ({', '.join(str(int(batch)) for batch in corrected)})"
    keys = ", ".join(f"c.{quoted(key)} AS {place}" for key, place in zip(rows.keys, places, strict=True))
    gone = (
        f"SELECT {keys} FROM (SELECT {named} FROM {before} WHERE {among}) c"
        f" LEFT ANTI JOIN (SELECT {named} FROM {log} WHERE {among}) r ON {_same('c', 'r', columns, columns)}"
    )
    if not rows.by_order:
        return gone
    return f"{gone} UNION SELECT {keys} FROM {before} c WHERE c.{BATCH_COLUMN} > {min(corrected):d}"


def states_query(log: str, rows: Versions, places: Sequence[str], concerned: str, last_batch: int) -> str:
    """Return a query of the state of keys that the batches up to the last one leave: the key and a STRUCT `_state`.

    Args:
        log: FROM item of raw.
        places: names of the key's columns in `concerned`, in the order of `rows.keys`, and in the result.
        concerned: a query of the keys, each once.
    """
    keys = [quoted(key) for key in rows.keys]
    of_keys = (
        f"(SELECT l.* FROM {log} l LEFT SEMI JOIN ({concerned}) a ON {_same('l', 'a', keys, places)}"
        f" WHERE l.{BATCH_COLUMN} <= {last_batch:d})"
    )
    # Within one batch the order of versions is the same for every kind of batch.
    versions = with_latest(of_keys, rows.keys, rows.log, quoted, in_order=True)
    order = newest_first(rows.versions, rows.log, quoted, in_order=True)
    by = ", ".join([*keys, BATCH_COLUMN])
    ranked = f"SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY {order}) AS {_RANK} FROM {versions}"
    row = ", ".join(f"{literal(column)}, {quoted(column)}" for column in rows.columns)
    named = ", ".join(f"{key} AS {place}" for key, place in zip(keys, places, strict=True))
    collected = (
        f"SELECT {named}, array_sort(collect_list(named_struct({row})),"
        f" (x, y) -> CASE WHEN x.{BATCH_COLUMN} < y.{BATCH_COLUMN} THEN -1 ELSE 1 END) AS {_VERSIONS}"
        f" FROM ({ranked}) WHERE {_RANK} = 1 GROUP BY {', '.join(keys)}"
    )
    later = f"CASE WHEN {rows.replaces} THEN S ELSE T END" if rows.replaces else "T"
    folded = f"aggregate(slice({_VERSIONS}, 2, size({_VERSIONS})), {_VERSIONS}[0], (T, S) -> {later})"
    return f"SELECT {', '.join(places)}, {folded} AS {_STATE} FROM ({collected})"


def _same(one: str, other: str, names: Sequence[str], others: Sequence[str]) -> str:
    return " AND ".join(f"{one}.{a} <=> {other}.{b}" for a, b in zip(names, others, strict=True))
