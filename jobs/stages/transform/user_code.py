"""Finds the function of a transform: a module in the pipelines' folder, or any other on Python's path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pyspark.cloudpickle import register_pickle_by_value

from connectors.errors import ObjectNotFound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_PACKAGES = ("connectors", "expectations", "jobs")
"""Lakeferry's own, which workers can import, even if a checkout is the folder of the pipelines."""


def find_function(path: str, folder: Path, suffix: str = "") -> Callable[..., DataFrame]:
    """Import the function named by `module:function`.

    Args:
        folder: the pipelines' folder. It comes last on Python's path, so that its modules hide no others. On EMR there
            is no such folder, and the package holds its modules.
        suffix: is added to the name of the function.

    Raises:
        ObjectNotFound: there is no such module, or it has no such function.
    """
    module_name, _, name = path.partition(":")
    folder = folder.absolute()
    if folder.is_dir() and not any(getattr(finder, "folder", None) == folder for finder in sys.meta_path):
        sys.meta_path.append(_FolderFinder(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise ObjectNotFound(
                f"transform {path}: no module {module_name}", fix="Check its name, and that it is packaged"
            ) from None
        raise
    _send_by_value(folder)
    function: Callable[..., DataFrame] | None = getattr(module, name + suffix, None)
    if function is None:
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ObjectNotFound(
            f"transform {path}: {module_name} has no function {name + suffix}", choices=sorted(functions)
        )
    return function


class _FolderFinder:
    """Finds modules in the pipelines' folder that are nowhere else: Python asks it last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        module_spec = PathFinder.find_spec(name, [str(self.folder)]) if path is None else None
        if module_spec is None or not isinstance(module_spec.loader, SourceFileLoader):
            return module_spec
        loader = _LoaderByValue(name, module_spec.loader.path)
        return spec_from_file_location(
            name, module_spec.origin, loader=loader, submodule_search_locations=module_spec.submodule_search_locations
        )


class _LoaderByValue(SourceFileLoader):
    """Marks a module, with those below it, before a function of it can be sent anywhere."""

    def exec_module(self, module: ModuleType) -> None:
        register_pickle_by_value(module)  # type: ignore[no-untyped-call]
        super().exec_module(module)


def _send_by_value(folder: Path) -> None:
    """Have functions of the folder's modules go to Spark's Python workers with their code ("Overriding pickle's
    serialization mechanism" in cloudpickle's README): the workers cannot import these modules."""
    for name, module in [*sys.modules.items()]:
        if _is_of_folder(name, getattr(module, "__file__", None), folder):
            register_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _is_of_folder(module: str, file: str | None, folder: Path) -> bool:
    """Whether a module was found in the folder. Other modules may lie below it, such as those of an environment."""
    if file is None or module.split(".")[0] in _PACKAGES:
        return False
    path = folder.joinpath(*module.split("."))
    return Path(file) in (path.with_suffix(".py"), path / "__init__.py")
