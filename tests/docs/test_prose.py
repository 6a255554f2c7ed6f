"""The checker of the text finds what the page on style forbids, and nothing in plain text."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from jobs.runtime.project import CODE_ROOT as CHECKOUT


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prose", CHECKOUT / ".ci" / "prose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FORBIDDEN = [
    "The user is told why.",
    "The columns are held against the lake's.",
    "The value is none of its type.",
    "The batch is loaded anew.",
    "Whoever reads it knows.",
    "It names the server whence it came.",
    "Errors as of `look`.",
    "It leaves one a dataset.",
    "It costs two seconds a run.",
    "word " * 36 + ".",
]


def test_each_rule_has_an_example(prose: ModuleType) -> None:
    assert all(any(rule.search(prose._NO_PROSE.sub("X", text)) for text in FORBIDDEN) for rule in prose._RULES)


@pytest.mark.parametrize("text", FORBIDDEN)
@pytest.mark.parametrize("form", ["docstring", "comment", "markdown"])
def test_what_is_forbidden_is_found_with_its_line(prose: ModuleType, tmp_path: Path, text: str, form: str) -> None:
    file = tmp_path / ("page.md" if form == "markdown" else "module.py")
    file.write_text({"docstring": f'"""{text}"""\n', "comment": f"# {text}\n", "markdown": f"{text}\n"}[form])
    [found] = prose.findings(file)
    assert found.startswith(f"{file}:1: ")


def test_code_and_quotations_are_free(prose: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text('The name `told` stays, "anew" is a quotation.\n\n```\nwhoever\n```\n')
    assert list(prose.findings(file)) == []
