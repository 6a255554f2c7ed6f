"""The names that sources of others may import: docs/how-to/sources.md lists them, and the example imports no others."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_OWN = ("connectors", "expectations", "jobs")


def _listed() -> dict[str, set[str]]:
    text = (_ROOT / "docs" / "how-to" / "sources.md").read_text(encoding="utf-8")
    table = text[text.index("Import these names") :].split("\n| --- | --- |\n", 1)[1].split("\n\n", 1)[0]
    listed: dict[str, set[str]] = {}
    for row in table.splitlines():
        module, names = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", row)[0]
        for name in re.findall(r"`([\w.]+)`", names):
            home, _, last = name.rpartition(".")
            listed.setdefault(home or module, set()).add(last)
    return listed


_LISTED = _listed()


def _imported(path: Path) -> set[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in _OWN
        for alias in node.names
    }


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in _LISTED.items() for name in sorted(names)],
)
def test_a_listed_name_is_there_and_documented(module: str, name: str) -> None:
    named = getattr(importlib.import_module(module), name)
    # Constants and aliases of types have no docstring of their own.
    assert not (isinstance(named, type) or inspect.isfunction(named)) or named.__doc__


@pytest.mark.parametrize(
    "path", sorted((_ROOT / "docs" / "examples").rglob("*.py")), ids=lambda path: str(path.relative_to(_ROOT))
)
def test_the_example_imports_listed_names_alone(path: Path) -> None:
    assert {(module, name) for module, name in _imported(path) if name not in _LISTED.get(module, ())} == set()


def test_the_transform_of_the_sample_imports_nothing_of_lakeferry() -> None:
    assert _imported(_ROOT / "dags" / "pipelines" / "merchant_sales.py") == set()
