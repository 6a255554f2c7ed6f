"""Packages that only some installations need: which extra of the distribution brings each.

`pyproject.toml` declares the extras.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.errors import PackageMissing

EXTRAS: dict[str, str] = {
    "airflow": "airflow",
    "airflow.providers.amazon": "emr",
    "altair": "report",
    "vl_convert": "report",
    "confluent_kafka": "kafka",
    "pymysql": "mysql",
    "pytest": "testing",
}
"""Module → the extra that installs it; the longest name that fits counts."""


@contextmanager
def hinted() -> Iterator[None]:
    """Turns the failed import of an optional package into an error that names the extra to install.

    Raises:
        PackageMissing: an import inside the context did not find a package of an extra. Any other failed import is a
            defect, and is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = f"{error.name}."
        package = max((module for module in EXTRAS if name.startswith(f"{module}.")), key=len, default=None)
        if package is None:
            raise
        raise missing(package) from error


def missing(package: str) -> PackageMissing:
    """Returns the error about a package of `EXTRAS` that is not installed."""
    return PackageMissing(
        f"the Python package {package} is not installed", fix=f"Run pip install 'lakeferry[{EXTRAS[package]}]'"
    )
