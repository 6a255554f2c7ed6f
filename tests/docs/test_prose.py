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
    "The key is another than that of the run.",
    "The limit says nothing without sweeps.",
    "Of a file only the name is shown.",
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


@pytest.fixture
def module(prose: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a folder whose names and messages are checked."""
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "NAMED_FOLDERS", ("jobs",))
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs" / "module.py"


@pytest.mark.parametrize(
    "code",
    [
        "def made_at(): pass",
        "def close(left): pass",
        "class Piece: pass",
        "held = 1",
        "for found in []: pass",
        "self.told = 1",
        "rows = [each for each in []]",
    ],
)
def test_a_name_that_does_not_say_what_a_thing_is_is_refused(prose: ModuleType, module: Path, code: str) -> None:
    module.write_text(f"\n{code}\n")
    [finding] = prose.findings(module)
    assert finding.startswith("jobs/module.py:2: ")


def test_names_of_others_and_of_other_folders_are_free(prose: ModuleType, module: Path) -> None:
    module.write_text("from bisect import bisect_left\n\nfile.tell()\ndrop(not_found_ok=True)\n")
    assert list(prose.findings(module)) == []
    outside = module.parent.parent / "test_module.py"
    outside.write_text("told = 1\n")
    assert list(prose.findings(outside)) == []


def test_messages_are_checked_and_sql_is_free(prose: ModuleType, module: Path) -> None:
    module.write_text('raise E(f"batch {n} is loaded anew", "VERSION AS OF 1", f"{t} VERSION AS OF {n}")\n')
    [finding] = prose.findings(module)
    assert finding.startswith("jobs/module.py:1: 'anew'")
