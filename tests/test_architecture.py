"""The direction of imports, read from the source: no cycle, no arrow upwards, nothing heavy where Airflow parses.

An import inside a function or under TYPE_CHECKING counts for cycles and arrows: it is a dependency all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
LAYERS = ("connectors", "expectations", "jobs", "lakeferry_airflow")
"""Lowest first: a module imports from its own layer and from those before it."""
FOLDERS = (
    "masking",
    "spec",
    "runtime",
    "lake",
    "contracts",
    "runs",
    "warehouse",
    "stages",
    "corrections",
    "reporting",
    "launch",
    "cli",
)
"""The folders of `jobs/`, lowest first. Above them are the entries of spark-submit."""
CONNECTORS = ("mysql", "kafka", "s3", "bigquery")
"""The folders of `connectors/` that each talk to a service; what they share stands beside them."""
MOST_LINES = 450


@cache
def modules() -> dict[str, Path]:
    """Every module of the product, by its dotted name."""
    roots = {layer: CHECKOUT / layer for layer in LAYERS} | {"lakeferry_airflow": CHECKOUT / "dags/lakeferry_airflow"}
    files = {root: sorted(root.rglob("*.py")) for root in roots.values()}
    return {
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for root, paths in files.items()
        for path in paths
    }


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST], known: dict[str, Path]) -> Iterator[str]:
    """The names that import statements name; `from package import module` names the module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


def dependencies(module: str) -> set[str]:
    """The product's modules that a module imports anywhere."""
    return {name for name in imported(ast.walk(tree(module)), modules()) if name in modules()} - {module}


def at_import(module: str) -> set[str]:
    """The names that are imported when a module is: not those of functions, nor those of TYPE_CHECKING."""

    def executed(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                yield from executed(node.orelse)
                continue
            yield node
            for field in ("body", "orelse", "finalbody"):
                yield from executed(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from executed(handler.body)

    return set(imported(executed(tree(module).body), modules()))


def cycles() -> list[list[str]]:
    """Each group of modules that reach each other (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorted(dependencies(module)):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[-len(group) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in modules():
        if module not in number:
            visit(module)
    return groups


def test_all_layers_are_read() -> None:
    assert {name.partition(".")[0] for name in modules()} == set(LAYERS)
    assert len(modules()) > 300
    assert "jobs.runtime.settings" in dependencies("jobs.stages.loop")
    assert "jobs.stages.extract.extract" in dependencies("jobs.stages.loop")
    assert "jobs.stages.extract.extract" not in at_import("jobs.stages.loop")


def test_no_modules_import_each_other() -> None:
    assert cycles() == []


def test_imports_point_down() -> None:
    upwards = [
        f"{module} imports {other}"
        for module in modules()
        for other in dependencies(module)
        if LAYERS.index(other.partition(".")[0]) > LAYERS.index(module.partition(".")[0])
    ]
    assert upwards == []


def test_folders_of_jobs_import_from_those_below() -> None:
    folders = {module: module.split(".")[1] for module in modules() if module.startswith("jobs.")}
    order = {folder: rank for rank, folder in enumerate(FOLDERS)}
    assert set(folders.values()) == {*FOLDERS, "plan", "extract", "transform", "check", "load"}
    upwards = [
        f"{module} imports {other}"
        for module, folder in folders.items()
        for other in dependencies(module)
        if folder in order and other in folders and order.get(folders[other], len(order)) > order[folder]
    ]
    assert upwards == []


def test_no_connector_imports_another() -> None:
    folders = {
        module: module.split(".")[1]
        for module, path in modules().items()
        if module.startswith("connectors.") and path.parent != CHECKOUT / "connectors"
    }
    across = [
        f"{module} imports {other}"
        for module, folder in folders.items()
        for other in dependencies(module)
        if folder in CONNECTORS and folders.get(other, folder) in CONNECTORS and folders.get(other, folder) != folder
    ]
    assert set(folders.values()) == {*CONNECTORS, "declared", "testing", "yaml"}
    assert across == []


def test_only_dags_imports_airflow() -> None:
    using = {
        module.partition(".")[0]
        for module in modules()
        if any(name.split(".")[0] == "airflow" for name in imported(ast.walk(tree(module)), modules()))
    }
    assert using == {"lakeferry_airflow"}


@pytest.mark.parametrize(
    "entry", ["lakeferry_airflow.registration", "lakeferry_airflow.factory", "jobs.stages.plan.planner"]
)
def test_parsing_and_planning_import_neither_spark_nor_great_expectations(entry: str) -> None:
    reached, waiting = set[str](), [entry]
    while waiting:
        module = waiting.pop()
        if module in reached or module not in modules():
            continue
        reached.add(module)
        # A package is imported before its modules.
        parents = [".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 1)]
        for name in (*parents, *at_import(module)):
            heavy = name.split(".")[0] in ("pyspark", "great_expectations")
            assert not heavy, f"{module}, which {entry} reaches, imports {name}"
            waiting.append(name)
    assert len(reached) > 10


def test_a_module_is_one_screenful_of_ideas() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in modules().items()}
    assert {module: lines for module, lines in lengths.items() if lines > MOST_LINES} == {}
