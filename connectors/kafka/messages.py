"""JSON messages taken apart in Spark's Python executors: each field's own text, exactly as it was written.

Spark's `from_json` takes numbers through a double before it makes text of them (12345678901234567890.12 becomes
1.2345678901234567E19) and rewrites nested objects, so it cannot be used for money or text that must arrive whole.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from json import decoder
from typing import TYPE_CHECKING, NoReturn

from connectors.base import TOMBSTONE
from connectors.kafka.framings import framing

if TYPE_CHECKING:
    import pyarrow as pa

    from connectors.base import Column

_BLANKS = " \t\n\r"
_BLANK = re.compile(f"[{_BLANKS}]*")
_PLAIN_NAME = re.compile(rf'"([^"\\\x00-\x1f]*)"[{_BLANKS}]*:[{_BLANKS}]*')
_TIMESTAMP = "_kafka_timestamp"
_FAR = f"BigQuery cannot hold {_TIMESTAMP}: its year is outside 1 to 9999 in UTC"
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
        members, end = _object(text, _past_blank(text, 0))
        if _past_blank(text, end) != len(text):
            raise NotAMessage("not JSON (more text after the object)")
    except NotAMessage:
        raise
    except RecursionError:
        raise NotAMessage("JSON nested too deeply") from None
    except (ValueError, StopIteration, IndexError):
        raise NotAMessage("not JSON") from None
    return members


def _object(text: str, at: int) -> tuple[dict[str, str | None], int]:
    if text[at] != "{":
        _scan(text, at)
        raise NotAMessage("not a JSON object")
    members: dict[str, str | None] = {}
    may_have_halves = "\\u" in text
    at = _past_blank(text, at + 1)
    if text[at] == "}":
        return members, at + 1
    while True:
        name, start = _name(text, at)
        value, at = _scan(text, start)
        if name in members:
            raise NotAMessage("a JSON field stands twice")
        if isinstance(value, str):
            if may_have_halves and _HALF_PAIR.search(value):
                raise NotAMessage("a JSON string holds half of a surrogate pair")
            members[name] = value
        else:
            members[name] = None if value is None else text[start:at]
        at = _past_blank(text, at)
        if text[at] == "}":
            return members, at + 1
        if text[at] != ",":
            raise ValueError
        at = _past_blank(text, at + 1)


def _name(text: str, at: int) -> tuple[str, int]:
    """A field's name, and where its value begins."""
    if plain := _PLAIN_NAME.match(text, at):
        return plain[1], plain.end()
    if text[at] != '"':
        raise ValueError
    name, at = _scan_string(text, at + 1)
    at = _past_blank(text, at)
    if text[at] != ":":
        raise ValueError
    return name, _past_blank(text, at + 1)


def _past_blank(text: str, at: int) -> int:
    if text[at : at + 1] not in _BLANKS:
        return at
    blank = _BLANK.match(text, at)
    assert blank is not None, "the pattern matches nothing too"
    return blank.end()


def take_apart(value: bytes | None) -> tuple[dict[str, str | None], str | None, str | None]:
    """Fields, reason and record of one message's value: fields are empty where there is a reason."""
    if value is None:
        return {}, TOMBSTONE, None
    framed = framing(value)
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        reason = f"not plain JSON: {framed}" if framed else "not UTF-8"
        return {}, f"{reason} (the record is in base64)", base64.b64encode(value).decode("ascii")
    if framed:
        return {}, f"not plain JSON: {framed}", text
    try:
        return fields(text), None, text
    except NotAMessage as problem:
        return {}, str(problem), text


def tombstone_record(key: bytes | None) -> str:
    """What quarantine shows of a message without a value: its key, in base64 where it is not UTF-8."""
    if key is None:
        return json.dumps({"key": None, "value": None})
    try:
        return json.dumps({"key": key.decode("utf-8"), "value": None}, ensure_ascii=False)
    except UnicodeDecodeError:
        return json.dumps({"key_in_base64": base64.b64encode(key).decode("ascii"), "value": None})


def text_batches(
    batches: Iterable[pa.RecordBatch], columns: Sequence[Column], kept: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Batches with BINARY columns `value` and `key` (that of messages without a value alone) → one STRING column of
    checked text for each of `columns`, the `kept` columns as they are, reason and record. A message without a timestamp
    has one that is beyond every type."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from connectors.declared.columns import REASON, RECORD, text_name
    from connectors.declared.text_values import checked_columns

    labels = [*(text_name(index) for index in range(len(columns))), *kept, REASON, RECORD]
    for batch in batches:
        taken = [take_apart(value) for value in batch.column("value").to_pylist()]
        texts = [pa.array([members.get(column.name) for members, _, _ in taken], pa.string()) for column in columns]
        reasons = pa.array([reason for _, reason, _ in taken], pa.string())
        # A tombstone says in its key alone which row it is about.
        keys = batch.column("key").to_pylist()
        tombstones = batch.column("value").is_null().to_pylist()
        records = pa.array(
            [
                tombstone_record(key) if is_tombstone else record
                for (_, _, record), key, is_tombstone in zip(taken, keys, tombstones, strict=True)
            ],
            pa.string(),
        )
        if _TIMESTAMP in kept:
            far = pc.is_null(batch.column(_TIMESTAMP))
            reasons = pc.if_else(far, pc.coalesce(reasons, pa.scalar(_FAR)), reasons)
        texts, reasons = checked_columns(texts, columns, reasons, None)
        yield pa.RecordBatch.from_arrays([*texts, *(batch.column(name) for name in kept), reasons, records], labels)
