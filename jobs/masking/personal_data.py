"""Does a column that is not masked look personal? Card numbers, phone numbers, e-mail addresses.

Judged by a few sampled values where the source can show some cheaply, else by the column's name. A
warning counts; it never shows a value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.base import Column, ReadRequest, Source
from connectors.capabilities import SamplingSource
from connectors.errors import LakeferryError
from jobs.masking.masks import MaskKind

SAMPLED_ROWS = 200

_INTEGERS = re.compile(r"bigint|decimal\(\d+,0\)")
_EMAIL = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+\.[^\s@<>,;.]{2,}")
_PHONES = (
    # Japan (numbering plan of the Ministry of Internal Affairs): mobile and IP phones are known without hyphens too.
    re.compile(r"0[5-9]0\d{8}"),
    re.compile(r"0[1-9]\d{0,3}[-(. ]\d{1,4}[-). ]\d{3,4}"),
    re.compile(r"\(0[1-9]\d{0,3}\) ?\d{1,4}[- ]\d{3,4}"),
    # ITU-T E.164, written with +, and North America's way.
    re.compile(r"\+[1-9][\d ().-]{6,20}"),
    re.compile(r"(\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d[-.]\d{4}"),
)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−ー", "-"))
_CARD = re.compile(r"\d{13,19}|\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|\d{4}[ -]\d{6}[ -]\d{4,5}")
# The first digits that card schemes have been given (ISO/IEC 7812: 4 Visa, 51-55 and 2221-2720 Mastercard, 34 and 37
# American Express, 35 JCB, 30, 36, 38 and 39 Diners Club, 60, 62, 64 and 65 Discover and UnionPay).
_SCHEME = re.compile(r"4|5[1-5]|2(22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[0-9]|6[0245]")


@dataclass(frozen=True)
class _Kind:
    """One kind of personal value. `share` of the values that are there must look like it, and `least` of them:
    one number in ten passes Luhn's test by chance."""

    words: str
    mask: MaskKind
    looks_like: Callable[[str], bool]
    share: float
    least: int
    name: re.Pattern[str]


def privacy_warnings(source: Source, dataset: ReadRequest, columns: Sequence[Column]) -> tuple[str, ...]:
    """One sentence a column that looks personal and is not masked.

    Args:
        columns: the source's; masked ones (`dataset.masked_columns`) are left alone.
    """
    wanted = [c for c in columns if c.name not in dataset.masked_columns and (c.spark_type == "string" or _whole(c))]
    try:
        rows = []
        if wanted and isinstance(source, SamplingSource):
            rows = source.sample(dataset, [column.name for column in wanted], SAMPLED_ROWS)
    except LakeferryError:
        # A look that fails must not stop a plan that would not.
        rows = []
    of = getattr(dataset.options, "table", None) or dataset.name
    warnings = []
    for index, column in enumerate(wanted):
        values = [value for row in rows if (value := row[index]) is not None and value.strip()]
        warning = _by_values(column, values, len(rows)) if values else _by_name(column)
        if warning:
            warnings.append(f"column {of}.{column.name} {warning}")
    return tuple(warnings)


def is_card_number(text: str) -> bool:
    """13 to 19 digits that a card scheme could have given out and whose check digit is right (Luhn, ISO/IEC 7812-1)."""
    plain = _plain(text)
    if not _CARD.fullmatch(plain):
        return False
    digits = re.sub("[ -]", "", plain)
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return bool(
        13 <= len(digits) <= 19 and _SCHEME.match(digits) and sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0
    )


def is_phone_number(text: str) -> bool:
    """As people write them in Japan (090-1234-5678, 03(1234)5678), with a country (+81 90 …), or in North America."""
    plain = _plain(text)
    digits = sum(character.isdigit() for character in plain)
    return any(pattern.fullmatch(plain) for pattern in _PHONES) and (
        8 <= digits <= 15 if plain.startswith("+") else 10 <= digits <= 11
    )


def is_email_address(text: str) -> bool:
    """One address, nothing else; by its shape."""
    return _EMAIL.fullmatch(_plain(text)) is not None


_KINDS = (
    _Kind(
        "card numbers", "truncate", is_card_number, 0.5, 3,
        re.compile(r"card_?(no|num|number|pan)|credit_?card|カード番号"),
    ),
    _Kind(
        "e-mail addresses", "hmac", is_email_address, 0.3, 1,
        re.compile(r"e_?mail(_?addr(ess)?)?|mail_?addr(ess)?|メール(アドレス)?"),
    ),
    _Kind(
        "phone numbers", "hmac", is_phone_number, 0.3, 1,
        re.compile(r"((tele)?phone|tel|fax|mobile)(_?(no|num|number))?|電話(番号)?|携帯(番号)?"),
    ),
)  # fmt: skip


def _by_values(column: Column, values: Sequence[str], rows: int) -> str | None:
    for kind in _KINDS:
        if kind.mask != "truncate" and _whole(column):
            continue  # A phone number stored as a number looks like any other number.
        hits = sum(map(kind.looks_like, values))
        if hits >= kind.least and hits >= kind.share * len(values):
            counted = f"({hits} of {rows} sampled rows)"
            return f"looks like {kind.words} {counted}; mask: {{{column.name}: {kind.mask}}}"
    return None


def _by_name(column: Column) -> str | None:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.name).lower()
    for kind in _KINDS:
        # `contact_email` and `email_1` say it; `email_sent_count` and `phone_model` do not.
        if re.search(rf"(^|_)({kind.name.pattern})(_?\d+)?$", name):
            return f"is named like {kind.words}, no value was looked at; mask: {{{column.name}: {kind.mask}}}"
    return None


def _whole(column: Column) -> bool:
    return _INTEGERS.fullmatch(column.spark_type.replace(" ", "").lower()) is not None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_DASHES).strip()
