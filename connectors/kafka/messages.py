"""JSON messages taken apart in Spark's Python executors: each field's own text, exactly as it was written.

Spark's `from_json` takes numbers through a double before it makes text of them (12345678901234567890.12 becomes
1.2345678901234567E19) and rewrites nested objects, so it cannot be used for money or for text that must arrive whole.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from json import decoder
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import pyarrow as pa

_BLANK = re.compile(r"[ \t\n\r]*")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class NotAMessage(ValueError):
    """The value is no JSON object that can be kept whole; the text says why and holds nothing of the value."""


def _no_constant(name: str) -> NoReturn:
    raise NotAMessage("not JSON (NaN and Infinity are not)")


# Numbers are wanted as text: `len` is the cheapest callable that takes the text and cannot fail.
_decoder = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_no_constant)
_scan: Callable[[str, int], tuple[object, int]] = _decoder.scan_once  # type: ignore[attr-defined]
_scan_string: Callable[[str, int], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]


def fields(text: str) -> dict[str, str | None]:
    """The fields of one JSON object (RFC 8259): a string's value, any other value's own JSON text, None for null.

    Raises:
        NotAMessage: not JSON, not an object, more than one value, a field twice, or half of a surrogate pair.
    """
    try:
        found, end = _object(text, _BLANK.match(text).end())  # type: ignore[union-attr]
    except NotAMessage:
        raise
    except RecursionError:
        raise NotAMessage("JSON nested too deeply") from None
    except (ValueError, StopIteration, IndexError):
        raise NotAMessage("not JSON") from None
    if _BLANK.match(text, end).end() != len(text):  # type: ignore[union-attr]
        raise NotAMessage("not JSON (more text after the object)")
    return found


def _object(text: str, at: int) -> tuple[dict[str, str | None], int]:
    blank = _BLANK.match
    if text[at] != "{":
        _scan(text, at)
        raise NotAMessage("not a JSON object")
    found: dict[str, str | None] = {}
    may_have_halves = "\\u" in text
    at = blank(text, at + 1).end()  # type: ignore[union-attr]
    if text[at] == "}":
        return found, at + 1
    while True:
        if text[at] != '"':
            raise ValueError
        name, at = _scan_string(text, at + 1)
        at = blank(text, at).end()  # type: ignore[union-attr]
        if text[at] != ":":
            raise ValueError
        start = blank(text, at + 1).end()  # type: ignore[union-attr]
        value, at = _scan(text, start)
        if name in found:
            raise NotAMessage("a JSON field stands twice")
        if isinstance(value, str):
            if may_have_halves and _HALF_PAIR.search(value):
                raise NotAMessage("a JSON string holds half of a surrogate pair")
            found[name] = value
        else:
            found[name] = None if value is None else text[start:at]
        at = blank(text, at).end()  # type: ignore[union-attr]
        if text[at] == "}":
            return found, at + 1
        if text[at] != ",":
            raise ValueError
        at = blank(text, at + 1).end()  # type: ignore[union-attr]


def take_apart(value: bytes | None) -> tuple[dict[str, str | None], str | None, str | None]:
    """Fields, reason and record of one message's value: fields are empty where there is a reason."""
    if value is None:
        return {}, "empty message (a tombstone)", None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return {}, "not UTF-8 (the record is in base64)", base64.b64encode(value).decode("ascii")
    try:
        return fields(text), None, text
    except NotAMessage as problem:
        return {}, str(problem), text


def text_batches(
    batches: Iterable[pa.RecordBatch], names: Sequence[str], kept: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Batches with a BINARY column `value` → one STRING column for each of `names`, the `kept` columns as they are,
    reason and record."""
    import pyarrow as pa

    from connectors.text_columns import REASON, RECORD, text_name

    labels = [*(text_name(index) for index in range(len(names))), *kept, REASON, RECORD]
    for batch in batches:
        taken = [take_apart(value) for value in batch.column("value").to_pylist()]
        texts = [pa.array([found.get(name) for found, _, _ in taken], pa.string()) for name in names]
        reasons = pa.array([reason for _, reason, _ in taken], pa.string())
        records = pa.array([record for _, _, record in taken], pa.string())
        yield pa.RecordBatch.from_arrays([*texts, *(batch.column(name) for name in kept), reasons, records], labels)
