"""Numbers that YAML 1.1 reads otherwise than they are written (https://yaml.org/type/int.html, /float.html)."""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_MOST_DIGITS = 1000


def changed_number(text: str, kind: str) -> str | None:
    """What is wrong with an unquoted number that YAML reads in another base, or of which it drops characters.

    Args:
        text: the unquoted scalar, a number or not.
        kind: what YAML takes it for: the name of its tag, such as `int`.
    """
    if _LEADING_ZERO.fullmatch(text):
        read = f"as the octal number {int(text, 8)}" if kind == "int" else "as text"
        return f"{text} begins with 0, and YAML reads it {read}. Write {_decimal(text)}, or quote it: '{text}'"
    if kind not in ("int", "float") or text.lstrip("+-").lower() in (".inf", ".nan"):
        return None
    if len(text) > _MOST_DIGITS:
        return f"a number of {len(text):,} characters. Quote it if it is text"
    if not _PLAIN_NUMBER.fullmatch(text):
        return f"YAML reads {text} as {_as_read(text, kind)}. Write it in decimal digits, or quote it: '{text}'"
    return None


def _decimal(text: str) -> str:
    sign = "-" if text.startswith("-") else ""
    return sign + (text.lstrip("+-").lstrip("0") or "0")


def _as_read(text: str, kind: str) -> str:
    try:
        value: Any = yaml.safe_load(text)
    except ValueError:
        return "a number of another base"
    return f"{value}" if kind == "int" else f"{value:g}"
