"""Character sets other than Unicode: text that a server does not convert to utf8mb4 and back to the same bytes.

Such text arrives altered (`?` for a character that Unicode does not have), or two texts arrive as one, and a checksum
of the converted text proves nothing. So the server compares, row by row, the column's own bytes with those of the text
converted back. The converted-back text depends only on the text that arrives, so no two rows that pass share a text.
(MySQL manual, "The cp932 Character Set": two code points may have one Unicode character, and only one of them is
converted back.)

TiDB keeps text of every character set in UTF-8 and converts on writing (TiDB manual, GBK), so it needs no check.
"""

from __future__ import annotations

import re

_UNCHECKED = {"utf8mb4", "utf8mb3", "utf8", "ucs2", "utf16", "utf16le", "utf32", "latin1", "binary"}
"""Unicode, and latin1, which MySQL and MariaDB extend to cp1252 with a character for each of its 256 bytes (MySQL
manual, "West European Character Sets")."""
_WHOLE = {
    "ascii",
    "cp850",
    "cp852",
    "cp866",
    "keybcs2",
    "koi8r",
    "koi8u",
    "latin2",
    "latin5",
    "latin7",
    "macce",
    "macroman",
}
"""Character sets whose own characters are all converted, as MariaDB's tables show; only invalid bytes are not."""
_CLAUSE = " character set "
_SUFFIX = re.compile(f"{_CLAUSE}([a-z0-9_]+)$")


def with_character_set(column_type: str, character_set: str | None) -> str:
    """Returns a type as `information_schema` writes it. If text of the character set is checked, the set follows as in
    CREATE TABLE."""
    if character_set is None or character_set.lower() in _UNCHECKED:
        return column_type
    return f"{column_type}{_CLAUSE}{character_set.lower()}"


def split_character_set(source_type: str) -> tuple[str, str | None]:
    """Reverses `with_character_set`: returns the type and its character set, None if text is not checked."""
    suffix = _SUFFIX.search(source_type)
    return (source_type, None) if suffix is None else (source_type[: suffix.start()], suffix[1])


def is_whole(character_set: str) -> bool:
    """Whether every character of the set is converted exactly."""
    return character_set in _WHOLE


def altered_on_server(quoted: str, character_set: str) -> str:
    """Returns the SQL expression that is true if a quoted column's text is not converted back exactly; false for
    NULL."""
    own = f"CAST({quoted} AS BINARY)"
    back = f"CAST(CONVERT(CONVERT({quoted} USING utf8mb4) USING {character_set}) AS BINARY)"
    if character_set != "sjis":
        return f"NOT ({back} <=> {own})"
    # Both the backslash and its full-width form become U+005C, and U+005C becomes the full-width form again. The
    # backslash is right, so only the full-width form counts as altered. REPLACE compares characters if the collation is
    # not binary; otherwise it compares bytes, and the second byte of a character may be 5C.
    text = f"CONVERT({quoted} USING sjis)"
    own = f"CAST(REPLACE({text} COLLATE sjis_japanese_ci, _sjis X'5C', _sjis X'815F') AS BINARY)"
    return f"(NOT ({back} <=> {own}) OR IFNULL(LOCATE(_sjis X'815F', {text} COLLATE sjis_bin), 0) > 0)"
