"""Suites of files, parsed and compared with columns as a stage does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from expectations import Suite, parse_suite, read_suite


def load_suite(folder: Path, name: str, columns: Mapping[str, str] | None) -> Suite:
    """The suite of that name; `columns` are names and Spark DDL types, None leaves them unchecked."""
    suite = parse_suite(read_suite(folder, name), f"{name}.yaml")
    if columns is not None:
        suite.check_columns(columns)
    return suite
