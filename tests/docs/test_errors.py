"""docs/troubleshooting.md lists every error that a user can see, with its exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from connectors.errors import LakeferryError

_DOCUMENT = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
_ROW = re.compile(r"^\| `(\w+)` \| (\d) \|", re.MULTILINE)


def _errors(kind: type[LakeferryError]) -> Iterator[type[LakeferryError]]:
    for error in kind.__subclasses__():
        if error.__module__ == "connectors.errors":
            yield error
        yield from _errors(error)


def test_every_error_is_documented_with_its_exit_code() -> None:
    documented = _ROW.findall(_DOCUMENT.read_text(encoding="utf-8"))

    assert documented == sorted((error.__name__, str(error.exit_code)) for error in _errors(LakeferryError))
