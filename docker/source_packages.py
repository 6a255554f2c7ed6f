"""Distributions of others that offer a source: what of them goes into EMR's package.

Their modules and metadata go into lakeferry.zip: `importlib.metadata` reads entry points from a zip on Python's path,
too. What they require goes to the libraries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import Distribution, entry_points
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connectors.errors import UsageError
from connectors.registry import GROUP

_COMPILED = (".so", ".pyd", ".dylib")


def source_distributions() -> list[Distribution]:
    """Returns the installed distributions, other than Lakeferry's own, that offer a source."""
    by_name = {entry.dist.name: entry.dist for entry in entry_points(group=GROUP) if entry.dist}
    return [by_name[name] for name in sorted(by_name) if name != "lakeferry"]


def distribution_files(distribution: Distribution, taken: Sequence[str]) -> dict[str, Path]:
    """Returns the files of a distribution by their names in the zip.

    Args:
        taken: the names of Lakeferry's own packages.

    Raises:
        UsageError: a zip cannot hold the distribution: it is editable, has compiled modules, or has a package of a name
            that Lakeferry uses.
    """
    if _is_editable(distribution):
        raise _refusal(
            distribution, "is installed in editable mode, so its files are elsewhere", "Install it without -e"
        )
    paths: dict[str, Path] = {}
    for file in distribution.files or ():
        name = file.as_posix()
        if name.startswith("../") or name.endswith((".pyc", "/RECORD", "/direct_url.json", "/INSTALLER", "/REQUESTED")):
            continue
        if name.endswith(_COMPILED):
            raise _refusal(distribution, f"has a compiled module, {name}, which Python cannot import from a zip")
        if name.split("/")[0].removesuffix(".py") in taken:
            raise _refusal(distribution, f"has a file {name}, which is a name of Lakeferry's own")
        paths[name] = Path(str(distribution.locate_file(file)))
    return paths


def distribution_requirements(distribution: Distribution, absent: Sequence[str]) -> list[str]:
    """Returns what a distribution requires of others.

    Args:
        absent: canonical names of what workers do not get. Airflow's providers are absent with Airflow.
    """
    requirements = [Requirement(text) for text in distribution.requires or ()]
    return [
        str(requirement)
        for requirement in requirements
        if not _is_absent(canonicalize_name(requirement.name), absent) and "extra ==" not in str(requirement.marker)
    ]


def _is_absent(name: str, absent: Sequence[str]) -> bool:
    return name in ("lakeferry", *absent) or name.startswith("apache-airflow-")


def _is_editable(distribution: Distribution) -> bool:
    """Whether only a pointer to the files is installed (PyPA, "Recording the Direct URL Origin")."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _refusal(distribution: Distribution, problem: str, fix: str | None = None) -> UsageError:
    return UsageError(
        f"{distribution.name} {distribution.version} offers a source and cannot be packed for EMR: it {problem}",
        fix=fix or "Uninstall it here if no pipeline on EMR reads it",
    )
