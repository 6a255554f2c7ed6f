"""docs/how-to/troubleshooting.md lists every error that a user can see, with its exit code and its own code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from connectors.errors import LakeferryError

_DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "troubleshooting.md"
_ROW = re.compile(r"^\| `(\w+)` \| (\d) \| (LF-\d{3}) \|", re.MULTILINE)


def _errors(kind: type[LakeferryError]) -> Iterator[type[LakeferryError]]:
    for error in kind.__subclasses__():
        if error.__module__ == "connectors.errors":
            yield error
        yield from _errors(error)


def test_every_error_is_documented_with_both_codes() -> None:
    documented = _ROW.findall(_DOCUMENT.read_text(encoding="utf-8"))

    assert documented == sorted((error.__name__, str(error.exit_code), error.code) for error in _errors(LakeferryError))
