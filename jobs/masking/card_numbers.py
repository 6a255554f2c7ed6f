"""`mask: truncate`: the last four digits of a card number; NULL for anything else, of which four digits could be much.

A card number is 12 to 19 digits (ISO/IEC 7812 allows up to 19; the shortest in use have 12), full-width ones
too, with nothing but blanks and hyphens between them: of a longer text with other things in it the last
digits might be the security code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_FULL_WIDTH = str.maketrans("０１２３４５６７８９", "0123456789")
_BETWEEN_DIGITS = re.compile("[ \t\n\v\f\r\u00a0\u3000\\-\u2010-\u2015\u2212\u30fc\uff0d]")
_CARD_NUMBER = re.compile("[0-9]{12,19}")


def last_four(text: str) -> str | None:
    """`4111-1111-1111-1234` → `1234`; None for what is no card number."""
    digits = _BETWEEN_DIGITS.sub("", text.translate(_FULL_WIDTH))
    return digits[-4:] if _CARD_NUMBER.fullmatch(digits) else None


def last_four_array(values: pa.Array) -> pa.Array:
    """The same for each value of an Arrow array of text or whole numbers; NULL stays NULL."""
    import pyarrow as pa

    texts = values.cast(pa.string()).to_pylist()
    return pa.array([None if text is None else last_four(text) for text in texts], pa.string())
