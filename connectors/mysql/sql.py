"""Safe SQL composition: only quoted identifiers and validated literals are interpolated.

Queries of the control plane pass values as parameters. Conditions that are made in one place and used in another are
written here. Strings and bytes are written as hexadecimal, which every `sql_mode` reads the same way.
"""

from __future__ import annotations

import re
from typing import Literal

from connectors.errors import UsageError

LiteralKind = Literal["number", "date", "datetime", "string", "binary"]

_SHAPES: dict[LiteralKind, re.Pattern[str]] = {
    "number": re.compile(r"-?[0-9]{1,65}(\.[0-9]{1,30})?"),
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "datetime": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"),
    "binary": re.compile(r"([0-9A-Fa-f]{2})*"),
}


_DIGITS = 65
"""The most digits of a number: the server would drop the last digit of a longer one (manual, Precision Math)."""


def quote_identifier(name: str) -> str:
    """Returns a column, table or database name in backquotes, valid in every `sql_mode`.

    TiDB accepts characters beyond U+FFFF, and MySQL does not: the server reports whether such a name exists.

    Raises:
        UsageError: the name is empty, has over 64 characters, or holds a NUL or half a character, which no server
            allows (manual, Schema Object Names).
    """
    if not 0 < len(name) <= 64 or "\0" in name or not _encodable(name):
        raise UsageError(f"{name!r} is not an identifier")
    return "`" + name.replace("`", "``") + "`"


def quote_table(database: str, table: str) -> str:
    """Returns `` `database`.`table` ``."""
    return f"{quote_identifier(database)}.{quote_identifier(table)}"


def literal(kind: LiteralKind, text: str) -> str:
    """Returns a value as SQL text, checked against the shape of its kind.

    `text` is the value's canonical text; for a binary it is hexadecimal.

    Raises:
        UsageError: the text is not a value of that kind.
    """
    if kind == "string":
        if not _encodable(text):
            raise UsageError(f"{text!r} is not text: it holds half a character")
        # An introducer keeps the literal coercible: the column's own collation decides the comparison.
        return f"_utf8mb4 X'{text.encode().hex()}'"
    if not _SHAPES[kind].fullmatch(text) or (kind == "number" and len(text.strip("-")) > _DIGITS + ("." in text)):
        raise UsageError(f"{text!r} is not a {kind} literal")
    match kind:
        case "number":
            return text
        case "date":
            return f"DATE'{text}'"
        case "datetime":
            return f"TIMESTAMP'{text}'"
        case "binary":
            return f"X'{text}'"


def _encodable(text: str) -> bool:
    """Whether a server can encode the text. Python's strings can hold surrogates, which no server's encoding has."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
