"""Looks a transform up where a run is planned, without importing it: its module imports PySpark.

The import system finds a top-level module without running code; below it, a package's own folders are searched, as
importing `a.b` would run `a` ("importlib.util.find_spec" in the Python documentation). The module's names are read from
its source. What cannot be seen in this way is left to the stage, which imports the module.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import pkgutil
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import Lock

from connectors.errors import ObjectNotFound, TransformFailed
from jobs.runtime.project import CODE_ROOT
from jobs.runtime.settings import Settings

_KEY = ("transform",)
_one_at_a_time = Lock()


def check_transform(path: str, settings: Settings) -> None:
    """See that `module:function` is there, where the stage runs on this machine; elsewhere its modules are others.

    Cost: the source of one module is read; nothing is imported.

    Raises:
        ObjectNotFound: no such module, or it has no such function.
        TransformFailed: the module is not Python.
    """
    if settings.runner != "local":
        return
    module, _, function = path.partition(":")
    source = _source(path, module, settings.pipelines)
    if source is None:
        return
    try:
        # Datasets are planned side by side, and two threads that make syntax trees at once fail with SystemError (AST
        # constructor recursion depth mismatch): CPython 3.11 counts the depth per interpreter, in Python-ast.c.
        with _one_at_a_time:
            tree = ast.parse(source.read_bytes())
    except SystemError:
        # Somebody else made one. The stage sees what is missing.
        return
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise TransformFailed(
            f"transform {path}: {source.name}{line} is not Python", key=_KEY, fix="Correct the module"
        ) from None
    names = set(_names(tree.body))
    if function in names or names & {"*", "__getattr__"}:
        return
    functions = sorted(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    )
    raise ObjectNotFound(f"transform {path}: {module} has no function {function}", choices=functions, key=_KEY)


def _source(path: str, module: str, pipelines: Path) -> Path | None:
    """The file of a module; None where it has none that can be read."""
    *parents, _ = module.split(".")
    try:
        module_spec = _top(module.split(".")[0], pipelines)
        for count in range(1, len(parents) + 1):
            if module_spec is None or module_spec.submodule_search_locations is None:
                break
            folders = list(module_spec.submodule_search_locations)
            name = ".".join(module.split(".")[: count + 1])
            package, module_spec = module_spec, PathFinder.find_spec(name, folders)
            if module_spec is None and _extends_itself(package):
                return None
            if module_spec is None:
                raise _no_module(path, name, folders)
    except (ImportError, ValueError):
        return None
    if module_spec is None:
        raise _no_module(path, module, ())
    file = Path(module_spec.origin) if module_spec.origin and module_spec.origin.endswith(".py") else None
    return file if file is not None and file.is_file() and module_spec.name == module else None


def _top(name: str, pipelines: Path) -> ModuleSpec | None:
    # Stages have these folders on their path, also where this process has not.
    return importlib.util.find_spec(name) or PathFinder.find_spec(name, [str(CODE_ROOT), str(pipelines)])


def _extends_itself(package: ModuleSpec) -> bool:
    """Whether a package's own code may add folders or modules to it."""
    if not package.origin or not package.origin.endswith(".py"):
        return False
    source = Path(package.origin).read_bytes()
    return b"__path__" in source or b"sys.modules" in source


def _no_module(path: str, module: str, folders: Sequence[str]) -> ObjectNotFound:
    parent = module.rpartition(".")[0]
    there = [f"{parent}.{module_info.name}" for module_info in pkgutil.iter_modules(folders)]
    near = difflib.get_close_matches(module, there, 1)
    fix = f"Did you mean {near[0]}?" if near else "Put it beside the pipelines, or on PYTHONPATH"
    return ObjectNotFound(f"transform {path}: no module {module}", key=_KEY, fix=fix)


_BINDERS = frozenset(("exec", "eval", "globals", "locals", "setattr", "sys", "vars"))
"""Names by which a module may bind others in a way that its source does not show."""
_BOUND_AS_TEXT: dict[type[ast.AST], str] = {
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.FunctionDef: "name",
    ast.MatchAs: "name",
    ast.MatchMapping: "rest",
    ast.MatchStar: "name",
}
"""The fields of Python's grammar that bind a name as text ("Abstract grammar" of `ast` in Python's documentation)."""


def _names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that statements of a module bind or use; `*` where other code decides which names it binds."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                yield (node.asname or node.name).split(".")[0]
            elif isinstance(node, ast.Name):
                yield "*" if node.id in _BINDERS else node.id
            elif type(node) in _BOUND_AS_TEXT:
                yield getattr(node, _BOUND_AS_TEXT[type(node)]) or ""
