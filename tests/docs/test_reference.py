"""The pages of the reference that are made from code are those of this code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.reference_pages import pages

_REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
_PAGES = pages()


@pytest.mark.parametrize("name", list(_PAGES))
def test_a_page_is_that_of_this_code(name: str) -> None:
    assert (_REFERENCE / name).read_text(encoding="utf-8") == _PAGES[name], "run make reference"


@pytest.mark.services
def test_the_page_has_every_command_that_the_program_lists() -> None:
    listed = subprocess.run(
        [str(Path(sys.executable).parent / "lakeferry"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^[│ ]+([a-z]+) {2,}", listed, re.MULTILINE))
    documented = set(re.findall(r"^## `lakeferry (\w+)", _PAGES["command-line.md"], re.MULTILINE))
    assert len(commands) > 10
    assert documented == commands


def test_the_pages_name_fields_that_documents_have() -> None:
    for field in ("source_rows", "error_code", "recovery", "window_start"):
        assert f"| `{field}` |" in _PAGES["receipts.md"]
    for column in ("_batch", "_run_id", "_deleted_at", "reason", "record"):
        assert f"| `{column}` |" in _PAGES["lake-columns.md"]
