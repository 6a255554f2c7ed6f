"""Half-open ranges of a key of one or more columns, as SQL conditions for which servers use an index.

`(a, b) >= (1, 'x')` is shorter, but MySQL and MariaDB walk the whole index for it (MySQL manual, Range Optimization of
Row Constructor Expressions). For `(a > 1 OR …) AND (a < 3 OR …)` TiDB uses the first column alone. All turn an OR of
disjoint ranges into exactly these ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.mysql.sql import LiteralKind, literal, quote_identifier

Key = tuple[str, ...]
"""The canonical texts of a row's key columns, or of its first ones if a bound needs no more."""


@dataclass(frozen=True)
class KeyColumn:
    """A column of which boundaries are made. `collation` is a string's `(character set, collation)`."""

    name: str
    kind: LiteralKind
    nullable: bool = False
    collation: tuple[str, str] | None = None

    @property
    def quoted(self) -> str:
        return quote_identifier(self.name)

    @property
    def as_text(self) -> str:
        """The expression that gives the value as the text that `literal` takes."""
        return f"HEX({self.quoted})" if self.kind == "binary" else f"CAST({self.quoted} AS CHAR)"

    def compare(self, operator: str, text: str) -> str:
        return f"{self.quoted} {operator} {literal(self.kind, text)}"


@dataclass(frozen=True)
class Bound:
    """One end of a range. `inclusive`: rows whose key begins with `key` lie inside."""

    key: Key
    inclusive: bool


def at_least(key: Key) -> Bound:
    return Bound(key, inclusive=True)


def below(key: Key) -> Bound:
    return Bound(key, inclusive=False)


def range_condition(
    columns: tuple[KeyColumn, ...], low: Bound | None, high: Bound | None, within: str | None = None
) -> str:
    """Returns the condition for rows between two bounds in the order of the key; None is open. `within` is a further
    condition.

    `within` is repeated in each range: outside them, it would make TiDB use the first column alone again. If `low` and
    `high` have strings that differ but that the collation takes for equal, ranges would overlap: both must have the
    same text.
    """
    branches = _branches(columns, low, high)
    if low is None and high is not None and columns[0].nullable:
        # NULL sorts first, and no comparison is true for it.
        branches.append([f"{columns[0].quoted} IS NULL"])
    if not branches:
        return within or "TRUE"
    if within is not None:
        branches = [[within, *branch] for branch in branches]
    joined = " OR ".join(f"({' AND '.join(branch)})" for branch in branches)
    return f"({joined})" if len(branches) > 1 else " AND ".join(branches[0])


def _branches(columns: tuple[KeyColumn, ...], low: Bound | None, high: Bound | None) -> list[list[str]]:
    if low is None and high is None:
        return []
    column, rest = columns[0], columns[1:]
    if low is not None and high is not None and low.key[0] == high.key[0]:
        here = [column.compare("=", low.key[0])]
        inner = _branches(rest, _tail(low), _tail(high))
        return [[*here, *branch] for branch in inner] or [here]
    branches: list[list[str]] = []
    middle: list[str] = []
    if low is not None:
        tail = _tail(low)
        if tail is not None:
            branches += [[column.compare("=", low.key[0]), *branch] for branch in _branches(rest, tail, None)]
        middle.append(column.compare(">=" if tail is None and low.inclusive else ">", low.key[0]))
    if high is not None:
        middle.append(column.compare("<=" if _tail(high) is None and high.inclusive else "<", high.key[0]))
    branches.append(middle)
    if high is not None and (tail := _tail(high)) is not None:
        branches += [[column.compare("=", high.key[0]), *branch] for branch in _branches(rest, None, tail)]
    return branches


def _tail(bound: Bound | None) -> Bound | None:
    """Returns the bound on the columns after the first, or None if it says nothing about them."""
    return Bound(bound.key[1:], bound.inclusive) if bound is not None and len(bound.key) > 1 else None
