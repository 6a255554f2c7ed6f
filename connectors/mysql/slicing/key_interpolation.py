"""Interpolates between primary-key values, so that slices can be balanced.

Only the evenness of slices depends on it. The server always decides which rows lie on which side of a value, in the
column's own order. So a guess that sorts elsewhere costs balance, not rows.
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

from connectors.mysql.slicing.key_ranges import KeyColumn

_DIGITS = 14
"""How many characters or bytes are looked at after the common beginning of two values."""
_CLASSES = (string.digits, "abcdef", "ABCDEF", string.ascii_lowercase, string.ascii_uppercase)
_MICROSECOND = timedelta(microseconds=1)
_IDEOGRAPHS = "\u2e80"
"""From this character on, collations mostly order characters by their code."""
_MAX_IDEOGRAPHS = 1000


class KeySpace:
    """The values of one key column. For strings it learns which characters occur at which place.

    `sort` sorts single characters by the column's collation, and returns groups of equal ones.
    """

    def __init__(self, column: KeyColumn, sort: Callable[[list[str]], list[list[str]]]) -> None:
        self._kind = column.kind
        self._sort = sort
        self._ranks: dict[str, int] = {}
        self._seen: defaultdict[int, set[str]] = defaultdict(set)
        self._alphabets: dict[int, list[tuple[int, str]]] = {}

    def learn(self, text: str) -> None:
        """Takes note of a value that is in the table."""
        if self._kind == "string":
            for place, character in enumerate(text):
                if character not in self._seen[place]:
                    self._seen[place].add(character)
                    self._alphabets.pop(place, None)

    def cuts(self, low: str, high: str) -> list[str]:
        """Returns values above `low` and not above `high`, to be tried in this order: about halfway, the beginning of
        `high` up to the first character in which it differs, and `high`. For strings all but the last are guesses."""
        if self._kind != "string":
            return list(dict.fromkeys((self._middle(low, high), high)))
        return list(dict.fromkeys((self._middle_text(low, high), high[: _common(low, high) + 1], high)))

    def _middle(self, low: str, high: str) -> str:
        match self._kind:
            case "number":
                step = Decimal((0, (1,), int(min(Decimal(high).as_tuple().exponent, 0))))
                with localcontext() as context:
                    context.prec = 100
                    half = (Decimal(high) - Decimal(low)) / 2
                    return f"{Decimal(low) + max(half // step * step, step):f}"
            case "date":
                days = _days(low) + max((_days(high) - _days(low)) // 2, 1)
                return date.fromordinal(days).isoformat() if days < _days(high) else high
            case "datetime":
                at = _microseconds(low) + max((_microseconds(high) - _microseconds(low)) // 2, 1)
                return _moment(at) if at < _microseconds(high) else high
            case _:
                return _middle_bytes(bytes.fromhex(low), bytes.fromhex(high)).hex()

    def share(self, start: str, value: str, end: str) -> Fraction:
        """Returns how much of the way from `start` to `end`, in either direction, lies before `value`: 0 to 1."""
        begin, place, finish = (self._place(text, start, end) for text in (start, value, end))
        if begin == finish:
            return Fraction(1)
        return min(max((place - begin) / (finish - begin), Fraction(0)), Fraction(1))

    def _place(self, text: str, low: str, high: str) -> Fraction:
        match self._kind:
            case "number":
                return Fraction(text)
            case "date":
                return Fraction(_days(text))
            case "datetime":
                return Fraction(_microseconds(text))
            case "binary":
                skip = _common(bytes.fromhex(low), bytes.fromhex(high))
                digits = bytes.fromhex(text)[skip : skip + _DIGITS].ljust(_DIGITS, b"\0")
                return Fraction(int.from_bytes(digits))
            case "string":
                return self._fraction(text, _common(low, high))

    def _alphabet(self, place: int) -> list[tuple[int, str]]:
        """Returns rank and character of what may occur at a place: the whole class of each letter or digit seen."""
        if place not in self._alphabets:
            seen = self._seen[place]
            characters = {character for character in seen if character < _IDEOGRAPHS}
            for group in _CLASSES:
                if characters & set(group):
                    characters |= set(group)
            codes = [ord(character) for character in seen if character >= _IDEOGRAPHS]
            if codes:
                step = 1 + (max(codes) - min(codes)) // _MAX_IDEOGRAPHS
                characters |= {chr(n) for n in range(min(codes), max(codes) + 1, step) if not 0xD800 <= n < 0xE000}
            # Keep one of several characters that the collation takes for equal.
            self._alphabets[place] = sorted({rank: character for character, rank in self._ranked(characters)}.items())
        return self._alphabets[place]

    def _ranked(self, characters: set[str]) -> Iterator[tuple[str, int]]:
        unknown = {character for character in characters if character < _IDEOGRAPHS} - self._ranks.keys()
        if unknown:
            groups = self._sort(sorted({*self._ranks, *unknown, *string.printable}))
            self._ranks = {character: rank for rank, group in enumerate(groups) for character in group}
        for character in sorted(characters):
            yield character, self._ranks.get(character, ord(character) + len(self._ranks))

    def _fraction(self, text: str, skip: int) -> Fraction:
        total, weight = Fraction(0), Fraction(1)
        for place in range(skip, min(skip + _DIGITS, len(text))):
            alphabet = self._alphabet(place)
            weight /= max(len(alphabet), 1)
            [(_, rank)] = self._ranked({text[place]})
            total += weight * sum(1 for known, _ in alphabet if known < rank)
        return total

    def _middle_text(self, low: str, high: str) -> str:
        skip = _common(low, high)
        start, end = self._fraction(low, skip), self._fraction(high, skip)
        rest, weight = (start + end) / 2, Fraction(1)
        middle = high[:skip]
        for place in range(skip, skip + _DIGITS):
            alphabet = self._alphabet(place)
            if not alphabet:
                break
            weight /= len(alphabet)
            digit = min(int(rest / weight), len(alphabet) - 1)
            middle += alphabet[digit][1]
            rest -= digit * weight
            # This is fine enough to lie well between the two.
            if weight * 1000 < end - start:
                break
        return middle


def learn_all(spaces: Iterable[KeySpace], key: tuple[str, ...]) -> None:
    """Takes note of a row's key."""
    for space, text in zip(spaces, key, strict=True):
        space.learn(text)


def _common(one: str | bytes, other: str | bytes) -> int:
    """Returns the length of the common beginning of both."""
    for place, (first, second) in enumerate(zip(one, other, strict=False)):
        if first != second:
            return place
    return min(len(one), len(other))


def _middle_bytes(low: bytes, high: bytes) -> bytes:
    skip = _common(low, high)
    width = min(max(len(low), len(high)) - skip, _DIGITS)
    least = int.from_bytes(low[skip : skip + width].ljust(width, b"\0"))
    most = int.from_bytes(high[skip : skip + width].ljust(width, b"\0"))
    middle = high[:skip] + (least + (most - least) // 2).to_bytes(width)
    return middle if low < middle <= high else high


def _days(text: str) -> int:
    """Returns days since the year 1; a date that no calendar has (`0000-00-00`) counts as one close by."""
    year, month, day = (int(part) for part in text.split("-"))
    return date(year, max(month, 1), min(max(day, 1), 28)).toordinal() + max(day - 28, 0) if year else 0


def _microseconds(text: str) -> int:
    day, _, clock = text.partition(" ")
    hours, minutes, seconds = clock.split(":")
    whole, _, fraction = seconds.partition(".")
    in_day = (int(hours) * 60 + int(minutes)) * 60 + int(whole)
    return (_days(day) * 86_400 + in_day) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


def _moment(microseconds: int) -> str:
    since = microseconds - 86_400_000_000
    moment = datetime.min + max(since, 0) * _MICROSECOND
    return moment.isoformat(sep=" ", timespec="microseconds")
