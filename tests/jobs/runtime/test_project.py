"""Where Lakeferry looks for pipelines and suites: LAKEFERRY_HOME, the checkout, or the working directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.runtime.project import CODE_ROOT

pytestmark = pytest.mark.services

SCRIPT = """\
from jobs.runtime.settings import Settings
settings = Settings()
print(settings.pipelines, settings.expectations, settings.state_dir, settings.catalog)
"""


def folders(cwd: Path, code: Path, **environment: str) -> list[str]:
    """The folders that a process sees whose code lies in `code`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LAKEFERRY_")}
    environment = kept | {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def expected(root: Path) -> list[str]:
    return [
        f"{root}/dags/pipelines",
        f"{root}/expectations/suites",
        f"{root}/.lakeferry",
        f"sqlite:///{root}/.lakeferry/catalog.db",
    ]


def test_a_checkout_is_its_own_project(tmp_path: Path) -> None:
    assert folders(tmp_path, CODE_ROOT) == expected(CODE_ROOT)


def test_lakeferry_home_names_the_project(tmp_path: Path) -> None:
    assert folders(tmp_path, CODE_ROOT, LAKEFERRY_HOME=str(tmp_path / "home")) == expected(tmp_path / "home")


def test_the_project_of_an_installed_lakeferry_is_the_working_directory(tmp_path: Path) -> None:
    site_packages, project = tmp_path / "site-packages", tmp_path / "project"
    for package in ("connectors", "jobs"):
        shutil.copytree(CODE_ROOT / package, site_packages / package, ignore=shutil.ignore_patterns("__pycache__"))
    project.mkdir()
    assert folders(project, site_packages) == expected(project)
