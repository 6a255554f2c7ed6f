"""Keyed hashes of values: HMAC-SHA-256 (RFC 2104, FIPS 198-1) of a value's canonical text, in hexadecimal.

The canonical text is what makes one value one hash wherever it stands:

* text: Unicode NFKC (full-width letters, digits and blanks become plain ones), case folded, without
  outer blanks. What stands inside stays: `090-1234-5678` and `09012345678` are two texts.
* numbers: shortest decimal digits, without exponent, sign of zero or trailing zeros: 42, 42.00 and 4.2E1 are `42`.
* dates `2026-11-20`; wall clocks `2026-11-20T01:02:03.000000`; instants the same in UTC with `Z`.
* booleans `true` and `false`. Binary: its bytes.

NULL has no hash: it stays NULL. Columns the lake carries as text (ENUM, TIME, wide decimals) are text.
"""

from __future__ import annotations

import hmac
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def keyed_hash(value: str | int | bool | Decimal | date | bytes, key: bytes, *, exact: bool = False) -> str:
    """64 lower-case hexadecimal digits; `exact` hashes text as it stands."""
    return hmac.digest(key, canonical_bytes(value, exact=exact), "sha256").hex()


def canonical_bytes(value: str | int | bool | Decimal | date | bytes, *, exact: bool = False) -> bytes:
    """What is hashed of a value."""
    if isinstance(value, str):
        # Surrogates cannot be in a STRING column; were they, a failing encode would show the text.
        return (value if exact else normalised(value)).encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, Decimal):
        return _number(value).encode()
    if isinstance(value, datetime):
        zone = "Z" if value.tzinfo else ""
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return (moment.isoformat(timespec="microseconds") + zone).encode()
    return value.isoformat().encode()


def normalised(text: str) -> str:
    """Text as it is compared: NFKC, case folded, without outer blanks."""
    if text.isascii():
        return text.lower().strip()
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Folding may leave what NFKC would still put together (Unicode Standard, section 3.13).
    return unicodedata.normalize("NFKC", folded).strip()


def hashed_array(values: pa.Array, key: bytes, *, exact: bool) -> pa.Array:
    """One STRING a value of an Arrow array of any plain type; NULL stays NULL."""
    import pyarrow as pa

    if pa.types.is_floating(values.type):
        # Arrow writes the fewest digits that give the number back, of a FLOAT as of a DOUBLE.
        numbers = [None if text is None else Decimal(text) for text in values.cast(pa.string()).to_pylist()]
    else:
        numbers = values.to_pylist()
    return pa.array([None if value is None else keyed_hash(value, key, exact=exact) for value in numbers], pa.string())


def _number(value: Decimal) -> str:
    if not value.is_finite():
        return str(value).lower()
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
